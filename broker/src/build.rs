//! Which release this is, and how it was built.

/// The release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit; "unknown" in a debug build, and outside of a repository.
pub const COMMIT: &str = env!("CHRONOS_COMMIT");
/// The compiler.
pub const RUSTC: &str = env!("CHRONOS_RUSTC");
/// debug or release.
pub const PROFILE: &str = if cfg!(debug_assertions) {
    "debug"
} else {
    "release"
};
/// Kafka's release whose answers it gives.
pub const KAFKA: &str = "4.3";
