//! The agencies' registers: the published files, embedded, read once. Nothing is filled in: what is empty stays unknown.

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

/// A file that is not what it promises.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
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

fn read<T: DeserializeOwned>(file: &'static str, text: &'static str) -> Result<Vec<T>, DataError> {
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
