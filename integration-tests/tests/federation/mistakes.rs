//! What an operator is told who starts the wrong thing, at the wrong place, or on damaged files: spawned processes,
//! their exit codes and what they say on stderr.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use peabiru_integration_tests::echo::wire::{NoteRequest, SayRequest};
use peabiru_integration_tests::evidence::{exchange_of, export};
use peabiru_integration_tests::federation::{Agency, Federation, PASSPHRASE, free_port, ledger_folder};
use peabiru_integration_tests::process::{Ended, run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_peabiru-spawned");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named_with_its_key() {
    let mut federation = Federation::start().await;
    let mitic = federation.enrol("MITIC").await;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let _taken = TcpListener::bind(taken).unwrap();
    let door = format!("[door]\nlisten = \"{taken}\"");
    let ended = start_changed(&mitic, "[door]\nlisten = \"127.0.0.1:0\"", &door).await;
    says(&ended, "node.door", &[&taken.to_string(), "in use"]);
    let metrics = format!("[metrics]\nlisten = \"{taken}\"");
    let ended = start_changed(&mitic, "[metrics]\nlisten = \"127.0.0.1:0\"", &metrics).await;
    says(&ended, "node.listen", &[&taken.to_string(), "[metrics] listen", "in use"]);
    let udp = UdpSocket::bind(mitic.site.link).unwrap();
    says(&start(&mitic.site.config()).await, "link.listen", &[&mitic.site.link.to_string(), "UDP", "in use"]);
    drop(udp);
    // The federation's own registry runs.
    let registry =
        run(PROGRAM, PASSPHRASE, &["registry", "run", "--config"], &federation.instance.registry_config);
    says(&registry.await, "registry.listen", &["registry.listen_admin", "in use"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_serves_one_process_and_the_one_that_has_it_goes_on() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    // The same node once more, on other ports.
    let config = fs::read_to_string(mec.agency.site.config()).unwrap();
    let other = format!("127.0.0.1:{}", free_port());
    let config = config.replace(&mec.agency.site.link.to_string(), &other).replace("door.sock", "other.sock");
    let second = mec.agency.site.folder.join("second.toml");
    fs::write(&second, config).unwrap();
    let ledger = ledger_folder(&mec.agency.site).display().to_string();
    says(&start(&second).await, "ledger.locked", &[&ledger, "another node runs on it"]);
    let mut caller = mitic.caller("MEC").await;
    caller.note(NoteRequest { text: "still here".to_owned() }).await.unwrap();
    assert_eq!(mec.agency.echo.noted()["still here"], 1);
    // Nor is it checked while somebody writes in it.
    let ended = run(PROGRAM, PASSPHRASE, &["ledger", "verify"], Path::new(&ledger)).await;
    says(&ended, "ledger.locked", &[&ledger]);

    let registry = fs::read_to_string(&federation.instance.registry_config).unwrap();
    let line = |line: &str| line.starts_with("listen_").then(|| line.to_owned());
    let mut changed = registry.clone();
    for old in registry.lines().filter_map(line) {
        let (key, _) = old.split_once(" = ").unwrap();
        changed = changed.replace(&old, &format!("{key} = \"127.0.0.1:{}\"", free_port()));
    }
    let second = federation.instance.registry_config.with_file_name("second.toml");
    fs::write(&second, changed).unwrap();
    let ended = run(PROGRAM, PASSPHRASE, &["registry", "run", "--config"], &second).await;
    says(&ended, "ledger.locked", &["another"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_passphrase_names_the_key_file_and_is_never_repeated() {
    let mut federation = Federation::start().await;
    let mitic = federation.enrol("MITIC").await;
    let config = mitic.site.config();
    let ended = run(PROGRAM, "a wrong guess", &["node", "run", "--config"], &config).await;
    says(&ended, "certs.wrong_passphrase", &["keys/authentication.key"]);
    assert!(!ended.stderr.contains("a wrong guess"), "{}", ended.stderr);
    let ended = run(PROGRAM, "", &["node", "run", "--config"], &config).await;
    says(&ended, "certs.passphrase", &["the node's keys", "empty"]);
    federation.stop_registry().await;
    let registry = &federation.instance.registry_config;
    let ended = run(PROGRAM, "a wrong guess", &["registry", "run", "--config"], registry).await;
    says(&ended, "certs.wrong_passphrase", &["registry/tls.key"]);
    // A key file under the name of another, and none at all.
    let keys = mitic.site.folder.join("keys");
    fs::rename(keys.join("storage.key"), keys.join("kept.key")).unwrap();
    says(&start(&config).await, "certs.file", &["keys/storage.key"]);
    fs::copy(keys.join("sealing.key"), keys.join("storage.key")).unwrap();
    says(&start(&config).await, "certs.key_file", &["keys/storage.key", "no storage key"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_in_a_file_is_named_by_file_line_and_key() {
    let mut federation = Federation::start().await;
    let mitic = federation.enrol("MITIC").await;
    let text = fs::read_to_string(mitic.site.config()).unwrap();
    let line = text.lines().position(|line| line.starts_with("folder")).unwrap() + 1;
    let ended = start_changed(&mitic, "folder = ", "foldr = ").await;
    says(&ended, "config.mistake", &[&format!("changed.toml:{line}: [node] foldr"), "unknown field `foldr`"]);
    let nowhere = mitic.site.folder.join("nowhere.toml");
    says(&start(&nowhere).await, "config.unreadable", &["nowhere.toml"]);
    let anchor = mitic.site.folder.join("anchor.toml");
    let good = fs::read_to_string(&anchor).unwrap();
    fs::write(&anchor, good.replace("threshold = 1", "threshold = 2")).unwrap();
    says(&start(&mitic.site.config()).await, "node.anchor", &["anchor.toml", "threshold"]);
    fs::write(&anchor, good).unwrap();

    let registry = fs::read_to_string(&federation.instance.registry_config).unwrap();
    let changed = federation.instance.registry_config.with_file_name("changed.toml");
    fs::write(&changed, registry.replace("[snapshot]\n", "[snapshot]\nvalid_days = 3\n")).unwrap();
    let ended = run(PROGRAM, PASSPHRASE, &["registry", "run", "--config"], &changed).await;
    says(&ended, "registry.config", &["changed.toml", "valid_days"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_that_does_not_parse_is_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let add = ["contract", "add", "PY/GOV/MEC/app/road.test.v1.EchoService"];
    let proto = folder.path().join("echo.proto");
    fs::write(
        &proto,
        "syntax = \"proto3\";\npackage road.test.v1;\n\nservice EchoService {\n  rpc Say(\n}\n",
    )
    .unwrap();
    let ended = run(PROGRAM, PASSPHRASE, &add, &proto).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("cli.usage") && ended.stderr.contains("echo.proto"), "{}", ended.stderr);
    let set = folder.path().join("echo.bin");
    fs::write(&set, b"\x0a\x05hello").unwrap();
    let ended = run(PROGRAM, PASSPHRASE, &add, &set).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("cli.usage") && ended.stderr.contains("echo.bin"), "{}", ended.stderr);
    let ended = run(PROGRAM, PASSPHRASE, &add, &folder.path().join("none.bin")).await;
    says(&ended, "cli.file", &["none.bin"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_ledger_is_refused_and_the_place_named() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let mut caller = mitic.caller("MEC").await;
    for _ in 0..3 {
        caller.say(SayRequest { body: "?".into(), ..SayRequest::default() }).await.unwrap();
    }
    let mec = mec.stop().await;
    let folder = ledger_folder(&mec.site);
    let verify = async || run(PROGRAM, PASSPHRASE, &["ledger", "verify"], &folder).await;
    let ended = verify().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stdout.contains(mec.site.origin.as_str()) && ended.stdout.contains("clean"),
        "{}",
        ended.stdout
    );

    let segment = folder.join("segments/0000000000000000.seg");
    let whole = fs::read(&segment).unwrap();
    let pages: Vec<_> =
        (0..whole.len()).step_by(4096).take_while(|page| whole[*page..page + 8] != [0; 8]).collect();
    assert!(pages.len() >= 4, "a record for each exchange");
    for page in &pages {
        let mut damaged = whole.clone();
        damaged[page + 100] ^= 1;
        fs::write(&segment, &damaged).unwrap();
        let ended = verify().await;
        assert_eq!(ended.code, Some(4), "{}{}", ended.stdout, ended.stderr);
        names_place(&ended.stdout, *page);
    }
    // The node does not start on it either, and changes nothing.
    let mut damaged = whole.clone();
    damaged[pages[1] + 100] ^= 1;
    fs::write(&segment, &damaged).unwrap();
    let ended = start(&mec.site.config()).await;
    says(&ended, "ledger.corrupt", &["0000000000000000.seg"]);
    names_place(&ended.stderr, pages[1]);
    assert!(fs::read(&segment).unwrap() == damaged, "the file is as it was");
    fs::write(&segment, &whole).unwrap();
    let mec = mec.start().await;
    caller.say(SayRequest::default()).await.unwrap();
    mec.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_global_configuration_is_refused_and_named() {
    let mut federation = Federation::start().await;
    let [mitic] = federation.members(["MITIC"]).await;
    let mitic = mitic.stop().await;
    let current = mitic.site.folder.join("data/globalconf/current");
    let whole = fs::read(&current).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for bytes in [&damaged[..], &whole[..whole.len() / 2], b"", b"something else"] {
        fs::write(&current, bytes).unwrap();
        says(&start(&mitic.site.config()).await, "globalconf.kept", &["globalconf/current", "backup"]);
    }
    fs::write(&current, &whole).unwrap();
    mitic.start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exit_code_says_whether_evidence_holds() {
    let mut federation = Federation::start().await;
    let [mitic, mec] = federation.members(["MITIC", "MEC"]).await;
    mec.grant("MITIC").await;
    let answer = mitic.caller("MEC").await.say(SayRequest::default()).await.unwrap();
    let mut tar = export(&mut mitic.admin().await, &exchange_of(answer.metadata())).await.unwrap();
    let file = federation.folder.path().join("evidence.tar");
    let anchor = federation.instance.anchor_file.display().to_string();
    let verify = async |tar: &[u8], trust: &[&str]| {
        fs::write(&file, tar).unwrap();
        run(PROGRAM, PASSPHRASE, &[&["evidence", "verify"], trust].concat(), &file).await
    };
    let trust = ["--trust", anchor.as_str()];
    let ended = verify(&tar, &trust).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("asserted, not proven"), "{}", ended.stdout);
    assert_eq!(verify(&tar, &[]).await.code, Some(5));
    let entry = tar.windows(7).position(|window| window == b"testing").unwrap();
    tar[entry] ^= 1;
    let ended = verify(&tar, &trust).await;
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stdout.contains("entries/"), "{}", ended.stdout);
}

/// Starts a node that cannot start.
async fn start(config: &Path) -> Ended {
    run(PROGRAM, PASSPHRASE, &["node", "run", "--config"], config).await
}

/// The same with a configuration in which something was replaced.
async fn start_changed(agency: &Agency, old: &str, new: &str) -> Ended {
    let config = fs::read_to_string(agency.site.config()).unwrap();
    assert!(config.contains(old), "{config}");
    let changed: PathBuf = agency.site.folder.join("changed.toml");
    fs::write(&changed, config.replace(old, new)).unwrap();
    start(&changed).await
}

/// On stderr: the program, the stable code, and what the operator needs.
fn says(ended: &Ended, code: &str, parts: &[&str]) {
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
    let line = ended.stderr.lines().find(|line| line.starts_with("peabiru: "));
    let line = line.unwrap_or_else(|| panic!("no word of it: {}", ended.stderr));
    assert!(line.starts_with(&format!("peabiru: {code}: ")), "not {code}: {line}");
    for part in parts {
        assert!(ended.stderr.contains(part), "no `{part}`: {}", ended.stderr);
    }
}

/// The file, and a byte of the page that was changed or of the record's first.
fn names_place(text: &str, page: usize) {
    assert!(text.contains("0000000000000000.seg, byte "), "{text}");
    let (_, rest) = text.split_once(".seg, byte ").unwrap();
    let offset: usize = rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap();
    assert!(offset <= page + 4095, "byte {offset} is beyond page {page}: {text}");
}
