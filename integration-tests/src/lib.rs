//! Whole federations over real sockets, with faults and benches.
