//! The benchmark's other processes: this program again, with a role. And what the kernel says of them.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use peabiru_certs::SecretKey;
use peabiru_certs::peer::TlsIdentity;
use peabiru_certs::pem::read_certificate;
use peabiru_integration_tests::federation::passphrase;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Killed when it is dropped.
pub struct Process {
    _child: Child,
    id: u32,
    /// What it said when it was ready: addresses.
    pub ready: Vec<String>,
}

impl Process {
    /// Starts this program in a role and waits until it is ready.
    pub async fn start(role: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(ROLE)
            .arg(role)
            .args(arguments)
            .env("PEABIRU_PASSPHRASE", PASSPHRASE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(READY_WAIT, lines.next_line()).await.expect("it starts in time");
        let line = line.unwrap().unwrap_or_else(|| panic!("the {role} ended without a word"));
        let ready = line.split(' ').map(str::to_owned).collect();
        Self { id: child.id().unwrap(), _child: child, ready }
    }

    /// As the kernel numbers it.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Resident memory in MiB.
    pub fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap();
        kib / 1024.0
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Duration {
        cpu_of(&self.id.to_string())
    }
}

/// CPU time of a process so far, in user and system mode. `self` is this one.
pub fn cpu_of(id: &str) -> Duration {
    ticks(&fs::read_to_string(format!("/proc/{id}/stat")).unwrap())
}

/// CPU time in the kernel's `stat` of a process or thread.
pub fn ticks(stat: &str) -> Duration {
    // After the name, which may hold anything but a last `)`: state is field 3, utime and stime are 14 and 15.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// What a process in a role prints once it serves.
pub fn say_ready(addresses: &[String]) {
    println!("{}", addresses.join(" "));
    std::io::stdout().flush().unwrap();
}

/// The authentication key and certificate in a node's folder.
pub fn identity(site: &Path) -> TlsIdentity {
    TlsIdentity {
        certificate: read_certificate(&site.join("keys/authentication.crt")).unwrap(),
        key: SecretKey::read_encrypted(&site.join("keys/authentication.key"), &passphrase()).unwrap(),
    }
}

/// A value on a node's metrics page.
pub async fn metric(address: &str, name: &str) -> f64 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(0.0)
}

/// First argument of a process in a role.
pub const ROLE: &str = "--role";
/// Whose application asks, and whose service answers.
pub const CONSUMER: &str = "MITIC";
pub const PROVIDER: &str = "MEC";
/// What the application shows at the door.
pub const TOKEN: &str = "token of the benchmark";
pub const PURPOSE: &str = "testing";
/// Of the federation's key files.
const PASSPHRASE: &str = "of the tests";
const READY_WAIT: Duration = Duration::from_secs(60);
/// `USER_HZ`, on every Linux.
const TICKS_PER_SECOND: u64 = 100;
