//! The Kafka wire: frames, headers, versions, decode and encode, the connection loop, and what a broker refuses of records.
//!
//! One seam: a [`service::Service`] answers [`request::Request`]s. Nothing here outlives a connection. Bytes from outside are
//! walked against Kafka's own message schemas ([`guard`]) before the codec, which believes announced lengths, sees them.

mod answers;
pub mod api_table;
mod api_versions;
mod complaints;
pub mod compress;
mod connection;
pub mod features;
pub mod fetch_response;
mod flexible;
pub mod frame;
pub mod guard;
pub mod header;
mod log_dirs_response;
pub mod marker_request;
pub mod message_ids;
mod offset_requests;
pub mod record_headers;
pub mod records;
pub mod request;
pub mod response;
mod schema;
pub mod server;
pub mod service;
pub mod split;
mod walk;

pub use kafka_protocol as protocol;
