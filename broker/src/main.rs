//! chronosdb
fn main() {}
