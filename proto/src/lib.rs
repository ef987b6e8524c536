//! What can be said on the road: identifiers, entries, contracts, faults, limits.
