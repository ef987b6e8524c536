//! What reading key files leaves behind. A test of its own process: others would change its memory meanwhile.
#![allow(clippy::unwrap_used, reason = "a test says by failing what went wrong")]

use peabiru_certs::key::Algorithm;
use peabiru_certs::{Passphrase, SecretKey};
use zeroize::Zeroizing;

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn key_files_are_read_without_keeping_the_memory_that_it_takes() {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = Passphrase::new(Zeroizing::new("of the test".to_owned())).unwrap();
    let path = folder.path().join("a.key");
    SecretKey::generate(Algorithm::P256).write_encrypted(&path, &passphrase).unwrap();
    let before = resident_mebibytes();
    // On a thread that lives on, as a node's runtime has them; four files, as a node has them.
    let reading = std::thread::spawn(move || {
        let keys = [(); 4].map(|()| SecretKey::read_encrypted(&path, &passphrase).unwrap());
        (keys, resident_mebibytes())
    });
    let (keys, after) = reading.join().unwrap();
    let kept = after.saturating_sub(before);
    assert!(kept < 8, "{kept} MiB are kept for {} keys", keys.len());
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn resident_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
