//! Tells the code which commit it is and what compiles it.

use std::{path::Path, process::Command};

fn main() {
    // Who develops commits often: that is no reason to compile again.
    let commit = if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        // A commit moves one of them.
        for file in ["../.git/HEAD", "../.git/logs/HEAD"] {
            if Path::new(file).exists() {
                println!("cargo:rerun-if-changed={file}");
            }
        }
        said("git", &["rev-parse", "--short=12", "HEAD"])
    } else {
        None
    };
    let commit = commit.unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=CHRONOS_COMMIT={commit}");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let rustc = said(&rustc, &["--version"]).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=CHRONOS_RUSTC={rustc}");
    println!("cargo:rerun-if-changed=build.rs");
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
