//! README and `docs/`, as a newcomer types them: every fenced command is run, in a folder that holds nothing but the
//! repository's. A block exits with 0, or with the code that the comment before it says, and says what that comment says; one
//! that "runs on" is a terminal of its own, which goes on until the page ends. `sh` blocks need nothing but Peabiru. `bash`
//! blocks need what their page says, and are run if `PEABIRU_BOOK_WITH_OTHERS` is set, as `.ci/peers.d/audit`, `developer` and
//! `registry` do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by failing what went wrong")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Each page in English and in Spanish.
const PAGES: [(&str, &str); 7] = [
    ("README.md", "README.es.md"),
    ("docs/what-it-is.md", "docs/es/que-es.md"),
    ("docs/registry.md", "docs/es/registro.md"),
    ("docs/operator.md", "docs/es/operacion.md"),
    ("docs/developer.md", "docs/es/desarrollo.md"),
    ("docs/audit.md", "docs/es/auditoria.md"),
    ("docs/roadmap.md", "docs/es/escenario.md"),
];

#[test]
fn a_page_has_the_same_commands_in_both_languages() {
    for (english, spanish) in PAGES {
        let [ours, theirs] = [english, spanish].map(|page| blocks(&read(page)));
        assert_eq!(ours, theirs, "{english} and {spanish}");
    }
}

#[test]
fn the_tour_does_what_it_says() {
    let readme = read("README.md");
    let (_, tour) = readme.split_once("\n## A tour\n").unwrap();
    let (tour, _) = tour.split_once("\n## From your own program\n").unwrap();
    run(tour);
}

#[test]
fn a_country_of_its_own_is_founded_as_its_page_says() {
    run(&read("docs/registry.md"));
}

#[test]
fn the_operators_guide_does_what_it_says() {
    run(&read("docs/operator.md"));
}

#[test]
fn the_developers_guide_does_what_it_says() {
    run(&read("docs/developer.md"));
}

#[test]
fn the_scenario_does_what_its_page_says() {
    run(&read("docs/roadmap.md"));
}

#[test]
fn the_auditors_guide_does_what_it_says() {
    run(&read("docs/audit.md"));
}

/// A fenced block of commands.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    shell: &'static str,
    script: String,
    exits: i32,
    /// Among other things.
    says: String,
    /// It goes on, and is ready when it says this.
    runs_on: Option<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    let (mut exits, mut says, mut runs_on) = (0, String::new(), None);
    while let Some(line) = lines.next() {
        let mark = line.strip_prefix("<!-- ").and_then(|mark| mark.strip_suffix(" -->"));
        if let Some(code) = mark.and_then(|mark| mark.strip_prefix("exits ")) {
            exits = code.parse().unwrap();
        } else if let Some(text) = mark.and_then(|mark| mark.strip_prefix("says: ")) {
            text.clone_into(&mut says);
        } else if let Some(text) = mark.and_then(|mark| mark.strip_prefix("runs on: ")) {
            runs_on = Some(text.to_owned());
        } else if let Some(shell) = ["sh", "bash"].into_iter().find(|it| line.strip_prefix("```") == Some(it))
        {
            let script = lines.by_ref().take_while(|line| *line != "```");
            let script = script.flat_map(|line| [line, "\n"]).collect();
            let says = std::mem::take(&mut says);
            blocks.push(Block { shell, script, exits, says, runs_on: runs_on.take() });
            exits = 0;
        }
    }
    blocks
}

fn run(page: &str) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["examples", "integration-tests", "proto"] {
        symlink(root().join(name), folder.path().join(name)).unwrap();
    }
    let with_others = std::env::var_os("PEABIRU_BOOK_WITH_OTHERS").is_some();
    let blocks = blocks(page).into_iter().filter(|block| with_others || block.shell == "sh");
    let mut terminals = Vec::new();
    let mut blocks_run = 0;
    for block in blocks {
        match &block.runs_on {
            Some(ready) => terminals.push(Terminal::open(&block, ready, folder.path())),
            None => block.run(folder.path()),
        }
        blocks_run += 1;
    }
    assert!(blocks_run > 3, "{blocks_run}");
}

impl Block {
    /// A new shell for each block: the reader has one, which has read env.sh.
    fn command(&self, folder: &Path) -> Command {
        // What cargo would build is built, and where the shell finds it.
        let programs = Path::new(env!("CARGO_BIN_EXE_peabiru")).parent().unwrap().display();
        let script = format!("PATH={programs}:$PATH\n{WORDS}\n{}", self.script);
        let mut command = Command::new(self.shell);
        command.args(["-e", "-c", &script]).current_dir(folder);
        // The pages show what is said in English; a block may ask for another language.
        for variable in ["LANG", "LC_ALL", "LC_MESSAGES"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, folder: &Path) {
        let run = self.command(folder).output().unwrap();
        let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(self.exits), "{}\n{said}", self.script);
        assert!(said.contains(&self.says), "it does not say `{}`: {}\n{said}", self.says, self.script);
    }
}

/// What a block finds: `cargo`, and what env.sh says if there is a sandbox.
const WORDS: &str = r#"
cargo() { [ "$1" = build ] || { shift 3; peabiru "$@"; }; }
[ ! -e peabiru-sandbox/env.sh ] || . peabiru-sandbox/env.sh
"#;

/// A block that runs on; stopped at the end, as by Ctrl-C.
struct Terminal(Child);

impl Terminal {
    fn open(block: &Block, ready: &str, folder: &Path) -> Self {
        let mut command = block.command(folder);
        let log = folder.join("terminal.log");
        let errors = fs::File::create(&log).unwrap();
        // Ctrl-C is for all processes of a terminal.
        let mut child = command.process_group(0).stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let is_ready = lines.by_ref().any(|line| line.unwrap().contains(ready));
        let terminal = Self(child);
        let said = fs::read_to_string(log).unwrap();
        assert!(is_ready, "it ended before it said `{ready}`: {}\n{said}", block.script);
        // Somebody must read on, or it blocks when it says more.
        std::thread::spawn(move || lines.count());
        terminal
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-INT", "--", &group]).status();
        let _ = self.0.wait();
    }
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
