//! gRPC over HTTP/2 as door and dispatcher both read and write it: bodies, the five bytes before a message, headers.

pub mod body;
pub mod framing;
pub mod metadata;
pub mod unpack;
