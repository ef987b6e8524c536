//! A node as a process of its own, which a test may kill.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use peabiru_cli::client::{self, NodeClient};
use peabiru_cli::site::Site;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::federation::{Agency, Caller, PASSPHRASE, caller_at, free_port, service};

/// An agency whose node is a process.
pub struct Spawned {
    /// Folder and service.
    pub agency: Agency,
    /// Where its door listens, over all its restarts.
    pub door: SocketAddr,
    program: PathBuf,
    child: Option<Child>,
}

impl Spawned {
    /// Starts `PROGRAM node run`, its door on a port that stays the same.
    pub async fn start(agency: Agency, program: &Path) -> Self {
        let door = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let config = fs::read_to_string(agency.site.config()).unwrap();
        let fixed = config.replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"{door}\""), 1);
        fs::write(agency.site.config(), fixed).unwrap();
        let mut spawned = Self { agency, door, program: program.to_owned(), child: None };
        spawned.relaunch().await;
        spawned
    }

    /// Starts it again, as it was started first, and waits until it is ready.
    pub async fn relaunch(&mut self) {
        let log = File::options().create(true).append(true).open(log(&self.agency.site)).unwrap();
        let mut child = Command::new(&self.program)
            .args(["node", "run", "--config"])
            .arg(self.agency.site.config())
            .env("PEABIRU_PASSPHRASE", PASSPHRASE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready =
            tokio::time::timeout(READY_WAIT, lines.next_line()).await.expect("ready in time").unwrap();
        assert!(ready.is_some_and(|line| line.contains("is ready")), "{}", self.log());
        self.child = Some(child);
    }

    /// SIGKILL, and waits until the process is gone.
    pub async fn kill(&mut self) {
        self.child.as_mut().unwrap().kill().await.unwrap();
        self.child = None;
    }

    /// Of the node that runs.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).unwrap()
    }

    /// Most that its process had in memory since its start, or since that was forgotten.
    #[must_use]
    pub fn most_resident_kibibytes(&self) -> u64 {
        self.kibibytes("VmHWM:")
    }

    /// What its process has in memory now.
    #[must_use]
    pub fn resident_kibibytes(&self) -> u64 {
        self.kibibytes("VmRSS:")
    }

    /// From now on the most is counted anew (proc(5), `clear_refs`).
    pub fn forget_most_resident(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.process_id()), "5").unwrap();
    }

    fn kibibytes(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process_id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// An application of this agency that calls the service of another; it connects when it first calls, and again
    /// whenever the node is back.
    #[must_use]
    pub fn caller(&self, provider: &str) -> Caller {
        caller_at(
            self.door,
            &[
                ("x-peabiru-token", &self.agency.token),
                ("x-peabiru-purpose", "testing"),
                ("x-road-service", service(provider).as_str()),
            ],
        )
    }

    /// The admin API of the node.
    pub async fn admin(&self) -> NodeClient {
        client::node(&self.agency.site.admin_socket()).await.unwrap()
    }

    /// What the node wrote so far, over all its restarts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(log(&self.agency.site)).unwrap_or_default()
    }
}

fn log(site: &Site) -> PathBuf {
    site.folder.join("node.log")
}

/// For keys, recovery and the first answer of the registry.
const READY_WAIT: Duration = Duration::from_secs(60);

/// A process that came to its end.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

/// Runs a command to its end, the path as its last argument.
pub async fn run(program: &str, passphrase: &str, arguments: &[&str], path: &Path) -> Ended {
    let command = Command::new(program)
        .args(arguments)
        .arg(path)
        .env("PEABIRU_PASSPHRASE", passphrase)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(READY_WAIT, command).await.expect("the command ends in time").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
