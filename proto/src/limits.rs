//! Every limit that two crates share: name, unit, reason. Where limits relate, the build breaks if they drift apart.

use std::time::Duration;

/// Longest entry, in bytes. Buffered before its seal is checked, so it stays small.
pub const MAX_ENTRY_BYTES: usize = 16 * 1024;
/// Bytes of every body chunk but the last.
pub const CHUNK_BYTES: usize = 65_536;
/// Longest context (chunk 0), in bytes.
pub const MAX_CONTEXT_BYTES: usize = 64 * 1024;
/// Most headers, trailers and other fields of a context.
pub const MAX_CONTEXT_FIELDS: usize = 1024;
/// Longest body of an exchange, gRPC framing included, in bytes. Larger ones come with streams.
pub const MAX_BODY_BYTES: usize = CHUNK_BYTES;
/// Most chunks of one BATCH of a stream.
pub const MAX_BATCH_CHUNKS: u32 = 64;
/// What AES-256-GCM adds to each chunk, in bytes.
pub const TAG_BYTES: usize = 16;
/// Longest payload in clear of the registry's ledger (a contract's document, a snapshot), in bytes.
pub const MAX_CLEAR_BYTES: usize = 1024 * 1024;
/// Longest signed note (checkpoint), in bytes.
pub const MAX_NOTE_BYTES: usize = 4096;
/// Most hashes in a proof: a tree of 2^63 entries needs no more.
pub const MAX_PROOF_HASHES: usize = 63;
/// Longest frame between nodes, in bytes: an entry, a proof and a small payload, with room for framing.
pub const MAX_FRAME_BYTES: usize = 256 * 1024;
/// Most checkpoints that a `Hello` may name.
pub const MAX_HELLO_CHECKPOINTS: usize = 256;
/// Most entries that a node gives about one exchange.
pub const MAX_FETCH_ENTRIES: usize = 16;
/// Most messages that the replay window remembers.
pub const MAX_REPLAY_KEYS: usize = 2_000_000;
/// How long a request is valid if nobody says less.
pub const DEFAULT_EXPIRY: Duration = Duration::from_secs(60);
/// How long it may be valid at most.
pub const MAX_EXPIRY: Duration = Duration::from_secs(300);
/// How far two clocks may differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// How long a message waits for the checkpoint that seals it.
pub const CHECKPOINT_WAIT: Duration = Duration::from_secs(2);
/// How much longer than the provider's deadline a consumer waits, so that the provider's own word about it arrives.
pub const ANSWER_GRACE: Duration = Duration::from_secs(2);
/// After this long a read's RECEIVED is committed alone, without its RESPONSE.
pub const HELD_RECEIPT_WAIT: Duration = Duration::from_secs(1);
/// Longest part of an identifier, in characters.
pub const MAX_ID_PART_CHARS: usize = 100;
/// Longest identifier in canonical text, in bytes.
pub const MAX_ID_BYTES: usize = 1024;
/// Longest method name or path template, in bytes.
pub const MAX_METHOD_BYTES: usize = 512;
/// Longest path of a REST call below its service, in bytes.
pub const MAX_PATH_BYTES: usize = 4096;
/// Most segments of such a path.
pub const MAX_PATH_SEGMENTS: usize = 64;
/// Longest request target of a REST call, query included, in bytes.
pub const MAX_TARGET_BYTES: usize = 8192;
/// Most operations of an OpenAPI document.
pub const MAX_OPERATIONS: usize = 1000;
/// Longest purpose, notice code, notice subject or grant id, in bytes.
pub const MAX_CODE_BYTES: usize = 256;
/// Longest part of a global configuration, in bytes.
pub const MAX_PART_BYTES: usize = MAX_CLEAR_BYTES;
/// Most parts that a snapshot lists.
pub const MAX_SNAPSHOT_PARTS: usize = 10_000;
/// How long a snapshot may be valid.
pub const MAX_SNAPSHOT_VALIDITY: Duration = Duration::from_secs(72 * 3600);
/// How often the registry signs a status note.
pub const STATUS_NOTE_EVERY: Duration = Duration::from_secs(60);
/// After this long without one a node's global configuration is stale: it works, and the administrator is told.
pub const STALE_AFTER: Duration = Duration::from_secs(15 * 60);
/// How long a delegation may be valid.
pub const MAX_DELEGATION_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);

const _: () = assert!(MAX_ENTRY_BYTES < CHUNK_BYTES, "an entry fits the buffer of a chunk");
const _: () = assert!(MAX_CONTEXT_BYTES <= CHUNK_BYTES, "a context is one chunk");
const _: () = assert!(
    MAX_ENTRY_BYTES + MAX_PROOF_HASHES * 32 + MAX_CONTEXT_BYTES + MAX_BODY_BYTES + 3 * TAG_BYTES + 1024
        <= MAX_FRAME_BYTES,
    "a small message fits one frame"
);
const _: () = assert!(DEFAULT_EXPIRY.as_secs() <= MAX_EXPIRY.as_secs(), "the default is allowed");
