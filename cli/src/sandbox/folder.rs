//! The folder of a sandbox: one country at a time runs in it, and nothing is erased that no sandbox made.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use peabiru_example_connectivity::report::ROADMAP;
use peabiru_proto::language::Language;

use crate::CliError;
use crate::output::line;

/// A folder that is this process's alone until it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    /// Absolute.
    pub(super) path: PathBuf,
    /// Of the marker file. The system lets go of it when the process ends, however it ends.
    _lock: File,
}

impl Folder {
    /// A folder for a new country. What a country of before left in it is erased, but for its report.
    pub(super) fn renewed(folder: &Path, language: Language) -> Result<Self, CliError> {
        let there = folder.exists() && fs::read_dir(folder).map_err(CliError::file(folder))?.next().is_some();
        if there && !folder.join(MARKER).exists() {
            return Err(CliError::NoSandbox { folder: folder.to_owned() });
        }
        fs::create_dir_all(folder).map_err(CliError::file(folder))?;
        let own = Self::locked(folder)?;
        if there {
            let kept = own.empty()?;
            line(&replaced(&own.path, kept.as_deref(), language));
        }
        Ok(own)
    }

    /// The folder of an earlier run, as it is.
    pub(super) fn again(folder: &Path) -> Result<Self, CliError> {
        if !folder.join(MARKER).exists() || !folder.join(REPORT).join(ROADMAP).exists() {
            return Err(CliError::NoEarlierRun { folder: folder.to_owned() });
        }
        Self::locked(folder)
    }

    fn locked(folder: &Path) -> Result<Self, CliError> {
        let marker = folder.join(MARKER);
        let file = OpenOptions::new().append(true).create(true).open(&marker);
        let mut file = file.map_err(CliError::file(&marker))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CliError::SandboxRuns { folder: folder.to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(CliError::file(&marker)(error)),
        }
        if file.metadata().map_err(CliError::file(&marker))?.len() == 0 {
            file.write_all(NOTE.as_bytes()).map_err(CliError::file(&marker))?;
        }
        let path = folder.canonicalize().map_err(CliError::file(folder))?;
        Ok(Self { path, _lock: file })
    }

    /// Erases everything but the marker and the last report, which can still be verified: its anchor goes with it.
    fn empty(&self) -> Result<Option<PathBuf>, CliError> {
        let (report, kept) = (self.path.join(REPORT), self.path.join(KEPT));
        let is_kept = report.join(ROADMAP).exists();
        if is_kept {
            remove(&kept)?;
            fs::rename(&report, &kept).map_err(CliError::file(&report))?;
            let anchor = self.path.join("PY").join(ANCHOR);
            fs::copy(&anchor, kept.join(ANCHOR)).map_err(CliError::file(&anchor))?;
        }
        for entry in fs::read_dir(&self.path).map_err(CliError::file(&self.path))? {
            let path = entry.map_err(CliError::file(&self.path))?.path();
            if path != kept && path != self.path.join(MARKER) {
                remove(&path)?;
            }
        }
        Ok(is_kept.then_some(kept))
    }
}

/// What became of the country of before.
fn replaced(folder: &Path, kept: Option<&Path>, language: Language) -> String {
    let folder = folder.display();
    match kept.map(Path::display) {
        None => language.of_both(
            format!("Un país nuevo reemplaza al anterior en {folder}."),
            format!("A new country replaces the one of before in {folder}."),
        ),
        Some(kept) => language.of_both(
            format!(
                "Un país nuevo reemplaza al anterior en {folder}; su informe queda en {kept}. Para seguir con \
                 el mismo país en vez de uno nuevo: `sandbox connectivity --update`."
            ),
            format!(
                "A new country replaces the one of before in {folder}; its report is kept in {kept}. To go on \
                 with the same country instead of a new one: `sandbox connectivity --update`."
            ),
        ),
    }
}

/// Takes a file or a folder away, if it is there. A link is taken away, and not what it leads to.
fn remove(path: &Path) -> Result<(), CliError> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.map_err(CliError::file(path))
}

/// What a sandbox made, and nobody else.
const MARKER: &str = ".peabiru-sandbox";
const NOTE: &str = "A sandbox of Peabiru. The next one erases what is here, but for the last report.\n";
/// Of the last run.
pub(super) const REPORT: &str = "report";
/// Of the run before it.
pub(super) const KEPT: &str = "report-before";
const ANCHOR: &str = "anchor.toml";

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: Language = Language::English;

    fn write(folder: &Path, files: &[&str]) {
        for file in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, *file).unwrap();
        }
    }

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("papers");
        write(&folder, &["thesis.txt"]);
        let refused = Folder::renewed(&folder, ENGLISH).unwrap_err();
        assert_eq!((refused.code(), refused.exit_code()), ("cli.no_sandbox", 2));
        assert!(folder.join("thesis.txt").exists());
    }

    #[test]
    fn a_folder_is_one_countrys_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("sandbox");
        let running = Folder::renewed(&folder, ENGLISH).unwrap();
        write(&folder, &["PY/anchor.toml", "MEC/data/ledger", "report/roadmap.json"]);
        for refused in [Folder::renewed(&folder, ENGLISH), Folder::again(&folder)] {
            assert_eq!(refused.unwrap_err().code(), "cli.sandbox_runs");
        }
        assert!(folder.join("MEC/data/ledger").exists(), "nothing was erased");
        drop(running);
        Folder::again(&folder).unwrap();
    }

    #[test]
    fn a_new_country_keeps_the_last_report_with_its_anchor() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("sandbox");
        drop(Folder::renewed(&folder, ENGLISH).unwrap());
        write(&folder, &["PY/anchor.toml", "MEC/data/ledger", "env.sh", "report/roadmap.json"]);
        drop(Folder::renewed(&folder, ENGLISH).unwrap());
        let files = |folder: &Path| {
            let listed =
                fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
            listed.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(files(&folder), [MARKER, KEPT]);
        assert_eq!(files(&folder.join(KEPT)), ["anchor.toml", "roadmap.json"]);
        // Without a report of its own the next country leaves that of before.
        write(&folder, &["PY/anchor.toml", "env.sh"]);
        drop(Folder::renewed(&folder, ENGLISH).unwrap());
        assert_eq!(files(&folder), [MARKER, KEPT]);
        assert_eq!(Folder::again(&folder).unwrap_err().code(), "cli.no_earlier_run");
    }

    #[test]
    fn what_a_link_leads_to_stays() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, papers) = (parent.path().join("sandbox"), parent.path().join("papers"));
        write(&papers, &["thesis.txt"]);
        drop(Folder::renewed(&folder, ENGLISH).unwrap());
        std::os::unix::fs::symlink(&papers, folder.join("link")).unwrap();
        drop(Folder::renewed(&folder, ENGLISH).unwrap());
        assert!(papers.join("thesis.txt").exists() && !folder.join("link").exists());
    }
}
