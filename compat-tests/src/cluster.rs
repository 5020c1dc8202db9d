//! A `chronosdb` process: started, killed, started again on the same ports and folder, stopped when dropped.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::{Context, bail};
use tempfile::TempDir;

/// A broker of one node.
#[derive(Debug)]
pub struct Broker {
    child: Option<Child>,
    dir: TempDir,
    data: PathBuf,
    settings: Vec<String>,
    /// Where Kafka clients connect.
    pub kafka: String,
    /// Where metrics and health are served.
    pub http: String,
    /// Where the gRPC admin API is served.
    pub grpc: String,
}

const CONFIG: &str = "chronos.toml";

/// The binary under test: `CHRONOSDB_BIN`, or the one that cargo built beside the test.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("CHRONOSDB_BIN") {
        return Ok(path.into());
    }
    let me = std::env::current_exe()?;
    // A test lies in deps/, one folder below the binaries; a program lies beside them.
    me.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("chronosdb"))
        .find(|path| path.exists())
        .context("there is no chronosdb beside the test: build the workspace")
}

impl Broker {
    /// Starts one in a new folder.
    pub fn start(settings: &[&str]) -> anyhow::Result<Self> {
        let dir = TempDir::new()?;
        let data = dir.path().join("data");
        Self::start_at(dir, data, settings)
    }

    /// Starts one whose data lies in `data`.
    pub fn start_with_data(data: &Path, settings: &[&str]) -> anyhow::Result<Self> {
        Self::start_at(TempDir::new()?, data.to_path_buf(), settings)
    }

    /// Starts one with a file of settings, which may be changed later.
    pub fn start_with_config(text: &str) -> anyhow::Result<Self> {
        let dir = TempDir::new()?;
        std::fs::write(dir.path().join(CONFIG), text)?;
        let data = dir.path().join("data");
        Self::start_at(dir, data, &[])
    }

    /// That file.
    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join(CONFIG)
    }

    fn start_at(dir: TempDir, data: PathBuf, settings: &[&str]) -> anyhow::Result<Self> {
        let mut broker = Self {
            child: None,
            dir,
            data,
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
            kafka: "127.0.0.1:0".into(),
            http: "127.0.0.1:0".into(),
            grpc: "127.0.0.1:0".into(),
        };
        broker.restart()?;
        Ok(broker)
    }

    fn config_arg(&self) -> String {
        format!("--config={}", self.config_path().display())
    }

    /// Starts it again, on the same ports.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = Command::new(binary()?);
        command
            .args(["--data-dir", &self.data_dir().to_string_lossy()])
            .args(["--listen", &self.kafka, "--http-listen", &self.http])
            .args(["--grpc-listen", &self.grpc])
            .args(self.config_path().exists().then(|| self.config_arg()))
            .args(self.settings.iter().flat_map(|s| ["--set", s]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().context("starting chronosdb")?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut ready = String::new();
        BufReader::new(stdout).read_line(&mut ready)?;
        let field = |name: &str| ready.split_whitespace().find_map(|w| w.strip_prefix(name));
        let addresses = (field("kafka="), field("http="), field("grpc="));
        let (Some(kafka), Some(http), Some(grpc)) = addresses else {
            let status = child.wait()?;
            bail!("chronosdb did not start: {status}\n{}", self.log());
        };
        let owned = (kafka.to_owned(), http.to_owned(), grpc.to_owned());
        (self.kafka, self.http, self.grpc) = owned;
        self.child = Some(child);
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, and the exit status.
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let mut child = self.child.take().context("not running")?;
        Command::new("kill").arg(child.id().to_string()).status()?;
        Ok(child.wait()?)
    }

    /// The process, while it runs.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Its data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.data.clone()
    }

    /// A place for other files of the test, outside the data folder.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let statm =
            std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).unwrap_or_default();
        statm
            .split_whitespace()
            .nth(1)
            .and_then(|p| p.parse::<u64>().ok())
            .unwrap_or(0)
            * 4096
    }

    /// User and system time so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let fields: Vec<f64> = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace()
            .map(|f| f.parse().unwrap_or(0.0))
            .collect();
        (fields.get(11).unwrap_or(&0.0) + fields.get(12).unwrap_or(&0.0)) / 100.0
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("chronosdb.log")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // A test that failed is told by its own error.
        let _ = self.kill();
    }
}
