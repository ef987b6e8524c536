//! Files of an instance that are no keys.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::RegistryError;

/// Writes a new file, readable by everyone.
///
/// # Errors
/// `File`, also if it is there already: nothing is overwritten.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    let failed = |source| RegistryError::File { path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}
