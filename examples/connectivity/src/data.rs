//! The agencies' registers: the published files, embedded, read once. Nothing is filled in: what is empty stays unknown.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

mod conatel;
mod ine;
mod mec;
mod mitic;
mod mspbs;

pub use conatel::{indicators, programmes};
pub use ine::{boundaries, departments, districts};
pub use mec::schools;
pub use mitic::public_spaces;
pub use mspbs::facilities;

/// Where the files are: those that are embedded, or newer ones of a folder. What the folder has not, is as embedded.
#[derive(Debug, Clone, Default)]
pub struct Published(Option<PathBuf>);

impl Published {
    /// What this program was built with.
    #[must_use]
    pub const fn shipped() -> Self {
        Self(None)
    }

    /// Files of the same names and columns.
    #[must_use]
    pub const fn in_folder(folder: PathBuf) -> Self {
        Self(Some(folder))
    }

    fn text(&self, file: &'static str, shipped: &'static str) -> Result<Cow<'static, str>, DataError> {
        let path = self.0.as_ref().map(|folder| folder.join(file)).filter(|path| path.exists());
        let read = path.map(fs::read_to_string).transpose();
        let read = read.map_err(|source| DataError::File { file, source })?;
        Ok(read.map_or(Cow::Borrowed(shipped), Cow::Owned))
    }

    fn rows<T: DeserializeOwned>(
        &self,
        file: &'static str,
        shipped: &'static str,
    ) -> Result<Vec<T>, DataError> {
        read(file, &self.text(file, shipped)?)
    }
}

/// A file that is not what it promises.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It cannot be read.
    #[error("{file}: {source}")]
    File {
        /// Which file.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A row does not parse.
    #[error("{file}: {source}")]
    Row {
        /// Which file.
        file: &'static str,
        /// Which row, and what is wrong.
        source: csv::Error,
    },
    /// The polygons do not parse.
    #[error("{file}: {source}")]
    Shape {
        /// Which file.
        file: &'static str,
        /// Where, and what is wrong.
        source: serde_json::Error,
    },
}

fn read<T: DeserializeOwned>(file: &'static str, text: &str) -> Result<Vec<T>, DataError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().collect::<Result<_, _>>().map_err(|source| DataError::Row { file, source })
}

/// Degrees in 1/100,000. The files have at most five decimals.
#[allow(clippy::cast_possible_truncation, reason = "degrees are at most 180")]
fn e5(degrees: f64) -> i32 {
    (degrees.clamp(-180.0, 180.0) * 1e5).round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Row {
        #[allow(dead_code, reason = "read, not used")]
        population: u32,
    }

    #[test]
    fn a_bad_row_is_named_by_file_and_line() {
        let error = read::<Row>("districts.csv", "population\nmany\n").unwrap_err().to_string();
        assert!(error.contains("districts.csv") && error.contains("line: 2"), "{error}");
    }

    #[test]
    fn degrees_keep_their_five_decimals() {
        assert_eq!([-25.30826, -57.59593, 0.00001, -54.29].map(e5), [-2_530_826, -5_759_593, 1, -5_429_000]);
    }
}
