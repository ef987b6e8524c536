//! What a machine can hold of the rules in ARCHITECTURE.md and CONTRIBUTING.md.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by failing what went wrong")]

use std::fs;
use std::path::{Path, PathBuf};

/// Files that decide: no waiting, no file, socket, clock or random source of their own.
const DECIDING: &[&str] = &[
    "proto/src",
    "ledger/src/tree.rs",
    "ledger/src/proof.rs",
    "ledger/src/position.rs",
    "ledger/src/checkpoint.rs",
    "ledger/src/seal.rs",
    "ledger/src/committer.rs",
    "ledger/src/record.rs",
    "ledger/src/slot.rs",
    "registry/src/state",
    "node/src/router.rs",
    "node/src/guard",
    "node/src/exchange.rs",
    "node/src/door/authority.rs",
    "node/src/door/http1.rs",
    "node/src/rest",
    "node/src/link/frame.rs",
    "node/src/link/preview.rs",
    "cli/src/doctor/judge.rs",
];
/// The two places that ask the machine.
const SOURCES: &[&str] = &["proto/src/time.rs", "proto/src/random.rs"];
const WAITING: &[&str] = &[
    "async fn",
    ".await",
    "tokio::",
    "std::fs",
    "TcpStream",
    "UdpSocket",
    "Instant::now",
    "SystemTime::now",
    "SystemRandom",
];

/// An engine, and its one home.
const ENGINES: &[(&str, &[&str])] = &[
    ("quinn", &["node/src/link/quic.rs"]),
    ("h2", &["node/src/link/http2.rs", "node/src/link/http2/stream.rs", "node/src/link/http2/drive.rs"]),
    ("sled", &["ledger/src/index.rs"]),
];

/// Parts of a node that hand on the types of `exchange` and know nothing of each other.
const SIBLINGS: &[&str] = &["door", "router", "link", "guard", "dispatcher", "admin"];

#[test]
fn deciding_files_never_wait() {
    for file in DECIDING.iter().flat_map(|path| sources_under(path)) {
        if SOURCES.iter().any(|source| file.ends_with(source)) {
            continue;
        }
        let text = code(&file);
        for word in WAITING {
            assert!(!text.contains(word), "{} decides and has `{word}`", file.display());
        }
    }
}

#[test]
fn an_engine_has_one_home() {
    for (engine, homes) in ENGINES {
        let (path, import) = (format!("{engine}::"), format!("use {engine}"));
        for file in CRATES.iter().flat_map(|path| sources_under(path)) {
            // A test may play a peer with manners of its own.
            let test = file.starts_with(root().join("integration-tests"))
                || file.components().any(|it| it.as_os_str() == "tests");
            if test || homes.iter().any(|home| file.ends_with(home)) {
                continue;
            }
            let text = code(&file);
            let uses = text.contains(&import) || words_before(&text, &path);
            assert!(!uses, "{} uses {engine}, whose home is {}", file.display(), homes[0]);
        }
    }
}

#[test]
fn siblings_in_the_node_do_not_import_each_other() {
    for own in SIBLINGS {
        let file = root().join(format!("node/src/{own}.rs"));
        let files = if file.exists() { vec![file] } else { sources_under(&format!("node/src/{own}")) };
        for file in files {
            let text = code(&file);
            // Operators see everything; the admin API alone looks into its siblings.
            for other in SIBLINGS.iter().filter(|other| *other != own && *own != "admin") {
                let import = format!("crate::{other}::");
                assert!(!text.contains(&import), "{} imports {import}", file.display());
            }
        }
    }
}

#[test]
fn registry_and_node_never_see_each_other() {
    for (own, other) in [("registry", "peabiru-node"), ("node", "peabiru-registry")] {
        let manifest = read(&root().join(own).join("Cargo.toml"));
        assert!(!manifest.contains(other), "{own}/Cargo.toml names {other}");
    }
}

#[test]
fn versions_and_lints_stand_once() {
    for member in CRATES {
        let manifest = read(&root().join(member).join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{member}");
        let dependencies =
            manifest.split("\n[").filter(|table| table.split(']').next().unwrap().ends_with("dependencies"));
        let dependencies = dependencies.collect::<String>();
        let own = dependencies.lines().find(|line| line.contains("version =") || line.ends_with('"'));
        assert_eq!(own, None, "{member} has a version of its own");
    }
}

#[test]
fn every_file_has_one_subject_and_says_which() {
    for file in CRATES.iter().flat_map(|path| sources_under(path)) {
        let text = read(&file);
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines: two subjects?", file.display());
        let named = text.starts_with("//!") || file.file_name().unwrap() == "tests.rs";
        assert!(named, "{} does not begin by saying what it is for", file.display());
    }
}

#[test]
fn nothing_unfinished_and_no_path_of_a_machine() {
    let banned = ["todo!(", "unimplemented!(", "#[ignore", "FIX\u{4d}E", "/ro\u{6f}t/", "/ho\u{6d}e/"];
    for file in CRATES.iter().flat_map(|path| sources_under(path)) {
        let text = code(&file);
        for word in banned {
            assert!(
                !text.contains(word) || file.ends_with("tests/tidy.rs"),
                "{} has `{word}`",
                file.display()
            );
        }
    }
}

/// A test waits for what happens, within a bound; never for time to pass.
#[test]
fn no_test_sleeps() {
    let tests = CRATES.iter().flat_map(|path| sources_under(path));
    for file in tests.filter(|file| file.components().any(|part| part.as_os_str() == "tests")) {
        if !file.ends_with("tests/tidy.rs") {
            assert!(!code(&file).contains("sleep("), "{} sleeps", file.display());
        }
    }
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut documents: Vec<PathBuf> = Vec::new();
    for folder in ["", "docs", "docs/es", "examples/clients", "integration-tests", "fuzz"] {
        let Ok(listed) = fs::read_dir(root().join(folder)) else { continue };
        let files = listed.map(|entry| entry.unwrap().path());
        documents.extend(files.filter(|file| file.extension().is_some_and(|it| it == "md")));
    }
    for document in documents {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link)) {
            let path = target.split('#').next().unwrap();
            let elsewhere = path.is_empty() || path.contains("://");
            let there = elsewhere || document.parent().unwrap().join(path).exists();
            assert!(there, "{} links to {target}", document.display());
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Without comments, and without the unit tests at its end.
fn code(file: &Path) -> String {
    let text = read(file);
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Whether a path begins with this word, which is not the end of a longer one.
fn words_before(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        !text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
    })
}

/// All Rust files of a file or folder, relative to the root.
fn sources_under(path: &str) -> Vec<PathBuf> {
    let path = root().join(path);
    if path.is_file() {
        return vec![path];
    }
    let (mut found, mut folders) = (Vec::new(), vec![path]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

const CRATES: &[&str] =
    &["proto", "certs", "ledger", "registry", "node", "cli", "integration-tests", "examples/connectivity"];
/// Past 400 lines a file is a question; past this it has two subjects.
const FILE_LINES_MAX: usize = 550;
