//! The gRPC API: generated from `chronos/**/*.proto`, which say what everything means.

pub mod codec;

/// Managing a node.
pub mod admin {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("chronos.admin.v1");
    }
}

/// The descriptors of all files, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
