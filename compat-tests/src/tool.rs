//! Other programs: clients from Debian, `PyPI` and Maven.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use tokio::time::Instant;

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

/// What `scripts/clients.sh` made: buf.
pub fn buf() -> anyhow::Result<PathBuf> {
    clients("buf/node_modules/.bin/buf")
}

/// Something that `scripts/clients.sh` makes. An error says what to run; in CI it fails the test, on a desk the test names what it skips.
pub fn clients(path: &str) -> anyhow::Result<PathBuf> {
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

/// Asks for a page: status and body.
pub fn http_get(address: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// Tries until it holds; the error is the last one.
pub async fn eventually<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt() {
            Ok(held) => return Ok(held),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_not_yet) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Whether this user may mount and trace: a step that needs it says what it skips where not.
pub fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t"))
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
