//! Where the registry's history is. Today the embedded one, its own ledger.

pub(crate) mod ledger;
