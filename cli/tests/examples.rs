//! The examples of `--help`, run as they stand, one after the other, in a sandbox that is thrown away.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by failing what went wrong")]

mod sandbox;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use sandbox::Sandbox;

const PEABIRU: &str = env!("CARGO_BIN_EXE_peabiru");

/// Why an example is not run here.
const NOT_RUN: &[(&str, &str)] = &[
    (
        "grant share",
        "needs a second node of the member: integration-tests/tests/federation/failover.rs has one",
    ),
    ("node run", "runs until it is stopped: the sandbox starts its nodes so"),
    ("registry run", "runs until it is stopped: the sandbox starts its registry so"),
    ("sandbox connectivity", "a sandbox of its own: .ci/sandbox"),
    ("sandbox up", "this very sandbox"),
];

/// Verbs in an order in which their examples make sense. Before each: what must be there, and how the names of the example
/// are written here, as `sed` replaces them.
const RUN: &[(&str, &str, &str)] = &[
    ("completions", "", ""),
    ("call", "", ""),
    (
        "ledger list",
        "for number in 1 2 3 4 5 6 7 8 9; do CALL; done",
        "s/00112233445566778899aabbccddeeff/$(EXCHANGE)/",
    ),
    ("ledger show", "", ""),
    // A node holds the lock of its own.
    ("ledger verify", "cp -r MEC/data/ledger copy", "s:MEC/data/ledger:copy:"),
    ("ledger export", "", ""),
    ("exchange status", "", "s/00112233445566778899aabbccddeeff/$(EXCHANGE)/"),
    ("evidence export", "", "s/00112233445566778899aabbccddeeff/$(EXCHANGE)/"),
    ("evidence verify", "mkdir evidence; mv evidence.tar evidence; cp PY/anchor.toml .", ""),
    ("evidence keys", "", ""),
    (
        "evidence figure",
        r#"exchange=$(peabiru evidence verify evidence --trust anchor.toml | sed -n 's/^  exchange *//p')
        printf '{"gap": {"country": {"girls": {"value": 1, "from": 0, "rows": 0}}}, "provenance": [["%s"]]}' "$exchange" > roadmap.json"#,
        "",
    ),
    ("globalconf show", "", ""),
    (
        "contract add",
        "cp \"$SCHEMAS/proto/py/mec/v1/school.proto\" .; cp -r \"$SCHEMAS/proto\" proto; cp \"$SCHEMAS/openapi/schools.json\" openapi.yaml",
        "",
    ),
    ("contract list", "", ""),
    ("contract show", "", ""),
    ("node status", "", ""),
    ("node reload", "", ""),
    ("doctor", "", ""),
    ("grant give", "export PEABIRU_ADMIN_SOCKET=$PWD/MEC/data/admin.sock", ""),
    ("grant list", "export PEABIRU_ADMIN_SOCKET=$PWD/MEC/data/admin.sock", ""),
    ("grant revoke", "export PEABIRU_ADMIN_SOCKET=$PWD/MEC/data/admin.sock", ""),
    ("instance create", "mkdir -p other; cd other", ""),
    ("instance renew", "", ""),
    ("instance sign", "", ""),
    ("registry show", "", ""),
    ("registry history", "", ""),
    // MEC is there already: another member enrols.
    ("member add", "", "s:GOV/MEC:GOV/MSP:"),
    ("approval list", "", ""),
    ("approval show", "", "s/ 7/ $(OPEN)/"),
    ("approval approve", "peabiru member add PY/GOV/MOPC --name Obras", "s/ 7 8/ $(OPEN)/"),
    ("approval reject", "peabiru member add PY/GOV/MTESS --name Trabajo", "s/ 7/ $(OPEN)/"),
    ("member list", "", ""),
    ("subsystem add", "", "s:GOV/MEC:GOV/MSP:"),
    ("node init", "", "s: MEC : MSP :; s:GOV/MEC:GOV/MSP:g"),
    ("node add", "", "s: MEC/: MSP/:; s:GOV/MEC:GOV/MSP:"),
    ("node address", "APPROVE", "s:GOV/MEC:GOV/MSP:"),
    ("ledger register", "", "s: MEC/: MSP/:; s:GOV/MEC:GOV/MSP:g; s:py.peabiru.example/a*/1:$(ORIGIN):"),
    (
        "ledger add-certificate",
        "APPROVE; mkdir -p keys; peabiru certificate request keys/sealing-next --kind sealing --name PY/GOV/MSP; \
         peabiru certificate issue keys/sealing-next.csr --instance-folder PY --kind sealing --node PY/GOV/MSP/node1 \
         --member PY/GOV/MSP; cp keys/sealing-next.crt MSP/keys/",
        "s: MEC/: MSP/:; s:py.peabiru.example/a*/1:$(ORIGIN):",
    ),
    ("ledger remove-certificate", "APPROVE", "s: MEC/: MSP/:; s:py.peabiru.example/a*/1:$(ORIGIN):"),
    ("ledger withdraw", "APPROVE", "s:py.peabiru.example/a*/1:$(ORIGIN):"),
    ("certificate request", "mkdir -p keys", "s:GOV/MEC:GOV/MSP:"),
    (
        "certificate issue",
        "peabiru certificate request keys/sealing --kind sealing --name PY/GOV/MSP",
        "s:GOV/MEC:GOV/MSP:g",
    ),
    (
        "certificate passphrase",
        "mkdir roots; cp PY/roots/root-1.key roots; echo another > another; exec 4< another",
        "",
    ),
    ("certificate show", "", ""),
    (
        "node certificate",
        "cp keys/authentication.crt new.crt; cp MSP/keys/authentication.crt old.crt",
        "s:GOV/MEC:GOV/MSP:",
    ),
    ("certificate trust", "APPROVE; cp other/PY/ca/pilot-ca.crt ca.crt; SECURITY", ""),
    ("certificate distrust", "peabiru approval approve $(OPEN); SECURITY", ""),
];

/// What the preparations above call.
const WORDS: &str = r#"
CALL() { peabiru call py.mec.v1.SchoolService ListSchools --data '{"pageSize": 1}' --purpose connectivity-planning; }
EXCHANGE() { peabiru ledger list --limit 1 --output json | grep -oE '[0-9a-f]{32}' | head -n 1; }
OPEN() { peabiru approval list | sed -n 's/^\([0-9][0-9]*\) .*/\1/p' | tr '\n' ' '; }
APPROVE() { peabiru approval approve $(OPEN) --operator PY/operators/security-officer; }
SECURITY() { export PEABIRU_OPERATOR=$PWD/PY/operators/security-officer; }
ORIGIN() { peabiru certificate show MSP/keys/sealing.crt | sed -n 's/^ledger *//p'; }
"#;

#[test]
fn every_example_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let _road = Sandbox::up(folder.path());
    let examples = examples(&[]);
    let known: BTreeSet<_> =
        RUN.iter().map(|(verb, ..)| *verb).chain(NOT_RUN.iter().map(|(verb, _)| *verb)).collect();
    assert_eq!(
        examples.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        known,
        "each is run, or it is said why not"
    );
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/connectivity");
    for (verb, before, names) in RUN {
        let each = examples[*verb].iter().map(|example| {
            format!("example=$(sed \"{names}\" <<'END'\n{example}\nEND\n)\necho \"$example\" >&2\neval \"$example\"\n")
        });
        let script = format!("set -eu\n. ./env.sh\n{WORDS}\n{before}\n{}", each.collect::<String>());
        let run = Command::new("bash")
            .args(["-c", &script])
            .env("SCHEMAS", &schemas)
            // What it says is taken apart below.
            .env("LC_ALL", "C")
            .current_dir(folder.path().join("peabiru-sandbox"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{verb}: {said}");
        assert!(!run.stdout.is_empty(), "{verb} says what it did: {said}");
    }
}

/// The examples of each verb below these words, as its help has them.
fn examples(words: &[&str]) -> BTreeMap<String, Vec<String>> {
    let help = Command::new(PEABIRU).args(words).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let Some((_, commands)) = help.split_once("\nCommands:\n") else {
        let (_, lines) = help.split_once("Example:\n").unwrap_or_else(|| panic!("{words:?} has no example"));
        return BTreeMap::from([(words.join(" "), unwrapped(lines))]);
    };
    let names = commands.lines().take_while(|line| !line.is_empty());
    // A description goes on further to the right.
    let names =
        names.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").flat_map(|name| examples(&[words, &[name]].concat())).collect()
}

/// A long example stands on several lines.
fn unwrapped(lines: &str) -> Vec<String> {
    let mut examples: Vec<String> = Vec::new();
    for line in lines.lines().map(str::trim).take_while(|line| !line.is_empty()) {
        match examples.last_mut() {
            Some(example) if !line.starts_with("peabiru ") => *example = format!("{example} {line}"),
            _ => examples.push(line.to_owned()),
        }
    }
    examples
}
