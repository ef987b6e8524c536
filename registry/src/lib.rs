//! Who may say it: members, contracts, snapshots.
//!
//! ```text
//! operator ─mTLS─▶ api/admin ─▶ state: command ─▶ events ─▶ own ledger (NOTICE) ─▶ state
//!                                                                │
//! node ◀── api/distribution ◀── publish: parts, snapshot ◀───────┘
//! ```

pub mod state;
