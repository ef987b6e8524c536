//! The README's tour, as a newcomer types it: every `sh` block after `## A tour` is run in a folder where a sandbox
//! runs. A block exits with 0, or with the code that the comment before it says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by failing what went wrong")]

mod sandbox;

use std::process::Command;

use sandbox::Sandbox;

const README: &str = include_str!("../../README.md");

#[test]
fn every_command_of_the_tour_does_what_the_readme_says() {
    let folder = tempfile::tempdir().unwrap();
    let _road = Sandbox::up(folder.path());
    let blocks = blocks(README.split_once("## A tour").unwrap().1);
    assert!(blocks.len() > 8, "{}", blocks.len());
    for (expected, script) in blocks {
        if script.starts_with("cargo run") {
            assert_eq!(script.trim(), "cargo run --release -- sandbox up", "what Sandbox::up does");
            continue;
        }
        // A new shell for each block: the reader has one shell, which has read env.sh.
        let script = format!(". peabiru-sandbox/env.sh\n{script}");
        let run = Command::new("sh").args(["-e", "-c", &script]).current_dir(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(expected), "{script}\n{said}");
        assert!(!said.trim().is_empty(), "it says what it did: {script}");
    }
}

/// Code and commands of each `sh` block.
fn blocks(text: &str) -> Vec<(i32, String)> {
    let mut blocks = Vec::new();
    let mut before = "";
    for part in text.split("```sh\n") {
        if let Some((script, after)) = part.split_once("```") {
            let said = before.rsplit_once("<!-- exits ").map(|(_, code)| code.trim());
            let code = said.and_then(|code| code.strip_suffix(" -->")?.parse().ok());
            blocks.push((code.unwrap_or_default(), script.to_owned()));
            before = after;
        } else {
            before = part;
        }
    }
    blocks
}
