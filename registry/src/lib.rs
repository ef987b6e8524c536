//! Who may say it: members, contracts, snapshots.
