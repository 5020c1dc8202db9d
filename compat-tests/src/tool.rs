//! Other programs: clients from Debian, `PyPI` and Maven.

use std::process::{Command, Output, Stdio};

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
