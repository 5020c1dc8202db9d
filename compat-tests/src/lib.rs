//! Black-box tests: they start the real binary on free ports, in a folder of their own, and drive it with real clients.

pub mod client;
pub mod cluster;
pub mod ctl;
pub mod ledger;
pub mod tool;
pub mod wire;
