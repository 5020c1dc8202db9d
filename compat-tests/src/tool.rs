//! Other programs: clients from Debian, `PyPI` and Maven.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, ensure};

/// Whether a program is there; a suite that needs one says what it skipped.
pub fn is_there(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// Runs a program to its end and returns what it printed; a failure shows both of its streams.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(Stdio::null())
        .output()
        .context("starting it")?;
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    ensure!(
        status.success(),
        "{command:?}: {status}\n{stdout}\n{}",
        String::from_utf8_lossy(&stderr)
    );
    Ok(stdout)
}

/// A number from the environment, so that one test serves short runs and long ones.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// What `scripts/clients.sh` made: the Python of the Python suite.
pub fn python() -> anyhow::Result<PathBuf> {
    clients("python/bin/python")
}

/// What `scripts/clients.sh` made: the classes and jars of the Java suite.
pub fn java_class_path() -> anyhow::Result<String> {
    let java = clients("java")?;
    Ok(format!("{0}/classes:{0}/deps/*", java.display()))
}

/// An error says what to run; in CI it fails the test, on a desk the test names what it skips.
fn clients(path: &str) -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"),
        PathBuf::from,
    );
    let found = cache.join("chronosdb/clients").join(path);
    ensure!(
        found.exists(),
        "{} is missing: run scripts/clients.sh",
        found.display()
    );
    Ok(found)
}

/// Wall time in milliseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "a black-box test has no other clock than the machine's"
)]
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
