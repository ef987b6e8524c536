//! `peabiru`, the operator's hand.
fn main() {}
