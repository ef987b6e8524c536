//! A sandbox for a test.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `peabiru sandbox up`, in this folder; stopped at the end.
pub(crate) struct Sandbox(Child);

impl Sandbox {
    /// Ready when its road is open.
    pub(crate) fn up(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_peabiru"))
            .args(["sandbox", "up"])
            .current_dir(folder)
            .env("LC_ALL", "C")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let open = lines.by_ref().any(|line| line.unwrap().contains("The road is open"));
        let sandbox = Self(child);
        assert!(open, "the sandbox ended before the road was open");
        // Somebody must read on, or the sandbox blocks when it says more.
        std::thread::spawn(move || lines.count());
        sandbox
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // SIGINT, as Ctrl-C: it stops its nodes itself.
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let _ = self.0.wait();
    }
}
