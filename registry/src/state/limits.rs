//! How much may be registered: name, unit, reason.

use std::time::Duration;

use peabiru_proto::limits::{MAX_CLEAR_BYTES, MAX_PART_BYTES, MAX_SNAPSHOT_PARTS};

/// Most members; each is one part of a snapshot.
pub const MEMBERS_MAX: usize = 5_000;
/// Most subsystems of a member.
pub const SUBSYSTEMS_MAX: usize = 1_000;
/// Most nodes that a member owns.
pub const NODES_MAX: usize = 64;
/// Most addresses of a node.
pub const ADDRESSES_MAX: usize = 8;
/// Most authentication certificates of a node: the one in use and the next.
pub const CERTIFICATES_MAX: usize = 2;
/// Most ledgers of a member, all epochs together.
pub const LEDGERS_MAX: usize = 256;
/// Most authorities that an instance trusts.
pub const AUTHORITIES_MAX: usize = 64;
/// Most versions of one service's contract.
pub const VERSIONS_MAX: u32 = 1_000;
/// Longest document of a contract, in bytes: its event still fits a payload of the registry's ledger.
pub const DOCUMENT_BYTES_MAX: usize = MAX_CLEAR_BYTES - 4096;
/// Longest name for people, in characters.
pub const NAME_CHARS_MAX: usize = 200;
/// Longest host name, as in DNS, in bytes.
pub const HOST_BYTES_MAX: usize = 253;
/// How long a second officer has to approve.
pub const PROPOSAL_VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most open proposals of one person.
pub const OPEN_PROPOSALS_MAX: usize = 200;
/// How many decided proposals are listed; the ledger has them all.
pub const CLOSED_KEPT_MAX: usize = 200;

const _: () = assert!(MEMBERS_MAX < MAX_SNAPSHOT_PARTS, "a snapshot lists every member and some contracts");
const _: () = assert!(SUBSYSTEMS_MAX * 1024 <= MAX_PART_BYTES, "a part takes all subsystems of usual length");
