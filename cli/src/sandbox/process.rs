//! A registry or a node as a process of its own: this very program, started again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::CliError;

/// Runs until it is stopped; killed if it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    what: String,
    child: Child,
}

impl Process {
    /// Starts `peabiru NOUN run --config FILE` and waits for the line that says it is ready. Gives that line.
    pub(crate) async fn start(
        noun: &str,
        config: &Path,
        log: &Path,
        passphrase: &str,
    ) -> Result<(Self, String), CliError> {
        let what = format!("{noun} {}", config.display());
        let failed = |reason: String| CliError::Process { what: what.clone(), reason };
        let program = own_program()?;
        let stderr = File::create(log).map_err(CliError::file(log))?;
        let child = Command::new(program)
            .args([noun, "run", "--config"])
            .arg(config)
            .env("PEABIRU_PASSPHRASE", passphrase)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn();
        let mut child = child.map_err(|error| failed(error.to_string()))?;
        let stdout = child.stdout.take().ok_or_else(|| failed("it has no output".to_owned()))?;
        let mut lines = BufReader::new(stdout).lines();
        match timeout(READY_WAIT, lines.next_line()).await {
            Ok(Ok(Some(line))) if line.contains("is ready") => Ok((Self { what, child }, line)),
            Ok(Ok(Some(line))) => Err(failed(line)),
            Ok(Ok(None)) => Err(failed(last_line(log))),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!(
                "it was not ready after {} s, see {}",
                READY_WAIT.as_secs(),
                log.display()
            ))),
        }
    }

    /// Asks it to stop, and waits.
    pub(crate) async fn stop(mut self) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(STOP_WAIT, self.child.wait()).await.is_err() {
            tracing::warn!(what = self.what, "killed: it did not stop");
            let _ = self.child.kill().await;
        }
    }
}

/// The program that runs.
pub(super) fn own_program() -> Result<PathBuf, CliError> {
    let failed = |reason: std::io::Error| CliError::Process {
        what: "this program".to_owned(),
        reason: reason.to_string(),
    };
    std::env::current_exe().map_err(failed)
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it ended without a word").to_owned()
}

const READY_WAIT: Duration = Duration::from_secs(60);
const STOP_WAIT: Duration = Duration::from_secs(15);
