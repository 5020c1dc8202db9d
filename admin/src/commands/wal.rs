//! `chronosctl wal`: hands over to `chronosdb wal`, whose files they are.

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::Context;

use crate::output::Format;

pub(super) fn run(format: Format, args: &[String]) -> anyhow::Result<ExitCode> {
    let chronosdb = binary()?;
    let status = Command::new(&chronosdb)
        .arg("wal")
        .args((!format.is_for_people()).then_some("--output=json"))
        .args(args)
        .status()
        .with_context(|| format!("running {}", chronosdb.display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

/// `CHRONOSDB_BIN`, or `chronosdb` beside this binary, or on the path.
fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os("CHRONOSDB_BIN") {
        return Ok(path.into());
    }
    let beside = env::current_exe()?.with_file_name("chronosdb");
    Ok(if beside.exists() {
        beside
    } else {
        "chronosdb".into()
    })
}
