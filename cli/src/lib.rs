//! The operator's hand: one command for instance, registry, node and evidence.
