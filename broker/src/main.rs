//! `chronosdb`: reads the settings, starts the node, waits for a signal.

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use broker::{
    cli::{Cli, Command, ConfigCommand, Settings},
    config::{Config, ConfigError, LiveConfig, Sources},
    node::Node,
    reference,
    telemetry::Loggers,
    wal,
};
use clap::Parser;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code for settings that do not hold.
const EXIT_CONFIG: u8 = 2;
/// Where settings are read from when nobody says.
const DEFAULT_FILE: &str = "/etc/chronos/chronos.toml";

fn main() -> ExitCode {
    spare_memory();
    let cli = Cli::parse();
    if let Some(Command::Wal { command, output }) = &cli.command {
        return wal::run(command, *output).unwrap_or_else(|error| {
            say_error(&format!("{error:#}"));
            ExitCode::FAILURE
        });
    }
    if let Some(Command::Docs { folder }) = &cli.command {
        return reference::write(folder).map_or_else(
            |error| {
                say_error(&format!("{error:#}"));
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        );
    }
    let config = match read_config(&cli.settings) {
        Ok(config) => config,
        Err(error) => {
            say_error(&error.to_string());
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match cli.command {
        Some(Command::Config {
            command: ConfigCommand::Print,
        }) => print_config(&config.get()),
        // What there was to do for them is done: the settings hold, the files were read.
        Some(
            Command::Config {
                command: ConfigCommand::Validate,
            }
            | Command::Docs { .. }
            | Command::Wal { .. },
        ) => ExitCode::SUCCESS,
        Some(Command::Start) | None => match run(&config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say_error(&format!("{error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

fn read_config(settings: &Settings) -> Result<LiveConfig, ConfigError> {
    let default = std::path::Path::new(DEFAULT_FILE);
    let file = settings
        .config
        .clone()
        .or_else(|| default.exists().then(|| default.to_path_buf()));
    let sources = Sources {
        file,
        set: settings.overrides(),
    };
    Ok(LiveConfig::of(Config::new(sources.read()?)?, sources))
}

fn run(config: &LiveConfig) -> anyhow::Result<()> {
    let loggers = Loggers::start(config.get().text("log.format").0 == "json");
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Before anybody is told that it is ready: who stops it at once stops it in order.
        let mut terminate = signal(SignalKind::terminate()).context("hearing SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("hearing SIGINT")?;
        let mut hangup = signal(SignalKind::hangup()).context("hearing SIGHUP")?;
        let node = Node::start(config.clone(), loggers).await?;
        announce(&node);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {
                    let config = config.clone();
                    let reload = tokio::task::spawn_blocking(move || config.reload(false));
                    if let Ok(Err(error)) = reload.await {
                        tracing::error!(%error, "the settings were not read again: nothing changed");
                    }
                }
            }
        }
        node.stop().await;
        Ok(())
    })
}

/// The allocator asks for huge pages: a page of 2 MB for each of its arenas, where an idle node needs 3 MB in all.
fn spare_memory() {
    // Where the kernel does not know it, there is nothing to switch off.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Each connection and each segment is an open file; the soft limit is for programs that use `select`.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
}

/// Tells where clients connect, in one write: a script may close our standard output after the first line, and that is no
/// reason to stop.
fn announce(node: &Node) {
    let (kafka, http, grpc) = (node.kafka, node.http, node.grpc);
    let text = format!(
        "ready kafka={kafka} http={http} grpc={grpc} version={}
  write:        echo hello | kcat -P -b {kafka} -t t1
  read:         kcat -C -b {kafka} -t t1 -o beginning -e -q
  write later:  echo later | kcat -P -b {kafka} -t t1 -H chronos-deliver-after=5s
",
        env!("CARGO_PKG_VERSION")
    );
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        tracing::warn!(%error, "nobody reads standard output");
    }
}

#[expect(clippy::print_stdout, reason = "printing is what the command is for")]
fn print_config(config: &Config) -> ExitCode {
    for (key, value, layer) in config.effective().iter() {
        println!("{key} = {value:?}  # {layer}");
    }
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "logs may not be started yet")]
fn say_error(error: &str) {
    eprintln!("chronosdb: {error}");
}
