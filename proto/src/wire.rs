//! Generated from `proto/peabiru/v1/*.proto`: wire types only. The other modules parse them into types that hold
//! what they say.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::disallowed_methods
)]

tonic::include_proto!("peabiru.v1");

/// All schemas as a serialised `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/peabiru.bin"));

/// Schema of the options that a contract may carry, for the build scripts of agencies.
pub const OPTIONS_PROTO: &str = include_str!("../peabiru/v1/options.proto");
