//! X-Road's REST message protocol (`r1`) as door, guard and dispatcher read it: targets, headers, the request hash.

pub mod hash;
pub mod headers;
pub mod listing;
pub mod target;
