//! Evidence: everything that proves one exchange to a third party, offline, in one file (design §7).
//!
//! ```text
//! README.txt                                  what this is, how to check it by hand
//! MANIFEST.txt                                as sha256sum writes and checks it
//! entries/1-request.{entry,tlog-proof}        what was asked, sealed by the consumer
//!         2-received-by-provider.…            that it arrived, and under which grant
//!         3-answer.…                          what was answered, sealed by the provider
//!         4-received-by-consumer.…            that it arrived
//! stream/{request,answer}/{CHUNK,close}.…      what followed, if they opened a stream: entry, RECEIVED, payload
//! payloads/{request,answer}.{salt,0,1…}       context and body in clear, with the salt of the content root
//! snapshots/VERSION/snapshot.bin              the global configuration in force, signed
//!                   notice.{entry,tlog-proof} its place in the registry's ledger
//! parts/SHA256                                its parts: members, trust, contracts
//! ```
//!
//! The file is a tar in one canonical form: whoever changes a byte is found, and the byte's file is named.

mod archive;
mod facts;
mod gather;
mod parts;
mod report;
mod stream;
mod verify;
mod words;

use std::collections::BTreeMap;

use bytes::Bytes;
use peabiru_proto::hash::Digest;

pub use facts::Facts;
pub use gather::Gathered;
pub use parts::{Part, compare};
pub use report::{Failure, Outcome, Report};
pub use verify::{verify, verify_in};

/// The files of an evidence file, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    files: BTreeMap<String, Bytes>,
}

/// Why there is no evidence, or why a file is none.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// Nothing to prove.
    #[error("no REQUEST of the exchange is held")]
    NoRequest,
    /// Not a tar, or not as we write it.
    #[error("{file}: {what}")]
    Archive {
        /// Near which file of it.
        file: String,
        /// What is wrong.
        what: String,
    },
}

/// One of the four entries of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Request,
    ReceivedByProvider,
    Answer,
    ReceivedByConsumer,
}

impl Role {
    const ALL: [Self; 4] = [Self::Request, Self::ReceivedByProvider, Self::Answer, Self::ReceivedByConsumer];

    /// Path of its files, without suffix. FROZEN.
    const fn path(self) -> &'static str {
        match self {
            Self::Request => "entries/1-request",
            Self::ReceivedByProvider => "entries/2-received-by-provider",
            Self::Answer => "entries/3-answer",
            Self::ReceivedByConsumer => "entries/4-received-by-consumer",
        }
    }

    fn entry_file(self) -> String {
        format!("{}.entry", self.path())
    }

    fn proof_file(self) -> String {
        format!("{}.tlog-proof", self.path())
    }
}

/// One of the two payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Request,
    Answer,
}

impl Side {
    const fn path(self) -> &'static str {
        match self {
            Self::Request => "payloads/request",
            Self::Answer => "payloads/answer",
        }
    }
}

/// Of the payload whose files begin with this path.
fn salt_file(path: &str) -> String {
    format!("{path}.salt")
}

fn chunk_file(path: &str, index: usize) -> String {
    format!("{path}.{index}")
}

impl Evidence {
    /// A file by its name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&Bytes> {
        self.files.get(name)
    }

    /// Names of all files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}

fn part_file(digest: &Digest) -> String {
    format!("{PARTS}{digest}")
}

fn snapshot_file(version: u64, name: &str) -> String {
    format!("{SNAPSHOTS}{version}/{name}")
}

const README: &str = "README.txt";
const MANIFEST: &str = "MANIFEST.txt";
const PARTS: &str = "parts/";
const SNAPSHOTS: &str = "snapshots/";
const SNAPSHOT: &str = "snapshot.bin";
const NOTICE_ENTRY: &str = "notice.entry";
const NOTICE_PROOF: &str = "notice.tlog-proof";
