//! The command line `chronosctl`, and what the node's own command line shares with it.
//!
//! *Architecture Invariant*: nothing here reads a data folder. What concerns files (`chronosctl wal`) is handed to the
//! `chronosdb` binary, which owns their formats.

pub mod cli;
pub mod commands;
pub mod contexts;
pub mod grpc;
pub mod kafka;
pub mod output;
pub mod time;
pub mod wire;
