//! Streams whose messages are sealed and delivered while they go on, as their contract says (design §5).
//!
//! ```text
//! consumer's node                                                  provider's node
//! door ─ pieces ─▶ Outgoing ─ BATCH…, CLOSE ─▶ link ══════▶ link ─▶ Incoming ─ pieces ─▶ dispatcher
//! door ◀─ pieces ─ Incoming ◀──────────────── link ◀══════ link ◀─ Outgoing ◀─ pieces ─ dispatcher
//! ```
//!
//! Both halves of both nodes are the same two: [`outgoing`] seals what an application sends, [`incoming`] judges what a
//! peer sent and lets it go on. Every channel between them is bounded, so a slow reader slows the writer. A
//! [`session`] ends both halves of a node together.

pub(crate) mod incoming;
pub(crate) mod local;
pub(crate) mod outgoing;
mod pace;
pub(crate) mod session;
