//! What must hold is written once, where the ordinary tests use it too; the targets call it.

#[path = "../../integration-tests/src/parsers/mod.rs"]
pub mod parsers;
