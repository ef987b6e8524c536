//! The container: a tar with one canonical form, so that no byte of it is without meaning.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;

use bytes::Bytes;
use peabiru_proto::hash::Digest;

use super::words::{self, Words, Wrong};
use super::{Evidence, EvidenceError, MANIFEST, README};

impl Evidence {
    /// Adds note and manifest to the files.
    pub(super) fn complete(mut files: BTreeMap<String, Bytes>) -> Self {
        files.insert(README.to_owned(), Bytes::from_static(README_TEXT.as_bytes()));
        let manifest = manifest(&files);
        files.insert(MANIFEST.to_owned(), manifest.into());
        Self { files }
    }

    /// The canonical tar: names ascending, no times, no owners.
    #[must_use]
    pub fn to_tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in &self.files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_entry_type(tar::EntryType::Regular);
            tar.append_data(&mut header, name, content.as_ref())
                .expect("names are short, and memory takes all");
        }
        tar.into_inner().expect("memory takes all")
    }

    /// Reads a tar; what it holds is not judged yet, nor whether it is in canonical form.
    ///
    /// # Errors
    /// `Archive` for what is no tar, is too large, or holds anything but files with names of ours.
    pub fn from_tar(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let mut last = "the beginning".to_owned();
        let refuse = |file: &str, what: String| EvidenceError::Archive { file: file.to_owned(), what };
        if bytes.len() > EVIDENCE_BYTES_MAX {
            return Err(refuse(&last, format!("more than {EVIDENCE_BYTES_MAX} bytes")));
        }
        let mut files = BTreeMap::new();
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().map_err(|error| refuse(&last, error.to_string()))?;
        for entry in entries {
            let mut entry = entry.map_err(|error| refuse(&format!("after {last}"), error.to_string()))?;
            let name = entry.path().ok().and_then(|path| path.to_str().map(str::to_owned));
            let name = name.filter(|name| is_name(name));
            let name = name
                .ok_or_else(|| refuse(&format!("after {last}"), "a name that is none of ours".to_owned()))?;
            if entry.header().entry_type() != tar::EntryType::Regular {
                return Err(refuse(&name, "it is no regular file".to_owned()));
            }
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(|error| refuse(&name, error.to_string()))?;
            if files.insert(name.clone(), Bytes::from(content)).is_some() {
                return Err(refuse(&name, "it is there twice".to_owned()));
            }
            if files.len() > FILES_MAX {
                return Err(refuse(&name, format!("more than {FILES_MAX} files")));
            }
            last = name;
        }
        Ok(Self { files })
    }

    /// Files whose content is not what the manifest says, and others that are not as we write them.
    pub(super) fn misfits(&self, tar: &[u8]) -> Vec<(String, Words)> {
        let mut misfits: Vec<(String, Words)> = Vec::new();
        if self.files.get(README).is_none_or(|note| note != README_TEXT.as_bytes()) {
            misfits.push((README.to_owned(), Wrong::OtherNote.into()));
        }
        let listed = self.files.get(MANIFEST).map(|manifest| String::from_utf8_lossy(manifest).into_owned());
        let listed = listed.unwrap_or_default();
        let listed: BTreeMap<&str, &str> = listed
            .lines()
            .filter_map(|line| line.split_once("  "))
            .map(|(digest, name)| (name, digest))
            .collect();
        for (name, content) in self.files.iter().filter(|(name, _)| *name != MANIFEST) {
            match listed.get(name.as_str()) {
                Some(digest) if *digest == Digest::of(content).to_string() => {}
                Some(_) => {
                    misfits.push((name.clone(), Wrong::OtherDigest.into()));
                }
                None => misfits.push((name.clone(), Wrong::NotListed.into())),
            }
        }
        for name in listed.keys().filter(|name| !self.files.contains_key(**name)) {
            misfits.push(((*name).to_owned(), Wrong::ListedOnly.into()));
        }
        let mut others = self.files.clone();
        let given = others.remove(MANIFEST).unwrap_or_default();
        if misfits.is_empty() && given != manifest(&others).as_bytes() {
            misfits.push((MANIFEST.to_owned(), Wrong::NotCanonical.into()));
        }
        let canonical = self.to_tar();
        if canonical != tar {
            let same = canonical.iter().zip(tar).take_while(|(ours, theirs)| ours == theirs).count();
            misfits.push((self.at(same), words::differs(same)));
        }
        misfits
    }

    /// The file whose header, content or padding holds this byte of the canonical tar.
    fn at(&self, byte: usize) -> String {
        let mut end = 0;
        for (name, content) in &self.files {
            end += TAR_BLOCK + content.len().next_multiple_of(TAR_BLOCK);
            if byte < end {
                return name.clone();
            }
        }
        "the end of the tar".to_owned()
    }
}

fn manifest(files: &BTreeMap<String, Bytes>) -> String {
    let mut text = String::new();
    for (name, content) in files {
        let _ = writeln!(text, "{}  {name}", Digest::of(content));
    }
    text
}

/// Relative, without surprises.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let bytes = part.bytes();
        !part.is_empty()
            && part != "."
            && part != ".."
            && bytes.clone().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    name.len() <= NAME_BYTES_MAX && name.split('/').all(is_part)
}

const README_TEXT: &str = include_str!("readme.txt");
/// Longest evidence file that is read, in bytes: two payloads or a long stream, and the parts of a large instance.
const EVIDENCE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Most files in it: seven for each batch of a stream.
const FILES_MAX: usize = 200_000;
/// Longest name: a ustar header takes 100 bytes.
const NAME_BYTES_MAX: usize = 100;
/// Headers and contents of a tar lie in blocks of this length.
const TAR_BLOCK: usize = 512;
