//! What somebody who helps wants to see of a node, in one archive. No record, key or header of a client is in it.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{api::Broker, build, health, http, metadata::Image, partition::Partition};

/// A piece of it, as it is sent.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Its folder in the archive.
const FOLDER: &str = "chronosdb-support";
/// Partitions and groups that are told of one by one.
const LISTED_MAX: usize = 10_000;

/// A .tar.gz. Blocks on the disk.
pub fn pack(broker: &Broker) -> io::Result<Bytes> {
    let gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut archive = Archive {
        tar: tar::Builder::new(gzip),
        seconds: u64::try_from(broker.clock.wall().0 / 1_000).unwrap_or(0),
    };
    let image = broker.metadata.image();
    archive.json("version.json", &version(broker))?;
    archive.json("settings.json", &settings(broker))?;
    archive.json(
        "metadata.json",
        &metadata(&image).map_err(io::Error::other)?,
    )?;
    archive.json("quorum.json", &quorum(broker))?;
    archive.json("health.json", &problems(broker))?;
    archive.json("partitions.json", &partitions(broker))?;
    archive.json("groups.json", &groups(broker))?;
    let metrics = http::scrape(broker).map_err(io::Error::other)?;
    archive.add("metrics.txt", &metrics)?;
    archive.add("log.txt", &broker.loggers.recent_lines())?;
    for (name, path) in [
        ("process/status.txt", "/proc/self/status"),
        ("process/limits.txt", "/proc/self/limits"),
        ("process/io.txt", "/proc/self/io"),
        ("machine/meminfo.txt", "/proc/meminfo"),
        ("machine/cpuinfo.txt", "/proc/cpuinfo"),
        ("machine/kernel.txt", "/proc/version"),
        ("machine/pressure-io.txt", "/proc/pressure/io"),
    ] {
        // What this kernel does not tell is not there.
        if let Ok(text) = std::fs::read(path) {
            archive.add(name, &text)?;
        }
    }
    let packed = archive.tar.into_inner()?.finish()?;
    Ok(packed.into())
}

struct Archive<W: Write> {
    tar: tar::Builder<W>,
    seconds: u64,
}

impl<W: Write> Archive<W> {
    fn json(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(value).map_err(io::Error::other)?;
        self.add(name, &text)
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(self.seconds);
        let path = format!("{FOLDER}/{name}");
        self.tar.append_data(&mut header, path, bytes)
    }
}

fn version(broker: &Broker) -> Value {
    json!({
        "version": build::VERSION,
        "commit": build::COMMIT,
        "rustc": build::RUSTC,
        "profile": build::PROFILE,
        "node_id": broker.node_id,
        "uptime_seconds": broker.metrics.uptime().as_secs(),
        "wall_ms": broker.clock.wall().0,
    })
}

fn settings(broker: &Broker) -> Value {
    let config = broker.config.get();
    let all = config.effective().iter();
    let told = all.map(|(name, value, layer)| {
        let told = json!({ "value": value, "from": layer.to_string() });
        (name.to_owned(), told)
    });
    Value::Object(told.collect())
}

/// Without what a replay job looks for and sets: those are keys and headers of records.
fn metadata(image: &Image) -> serde_json::Result<Value> {
    let mut told = serde_json::to_value(image)?;
    let jobs = told.get_mut("replay_jobs").and_then(Value::as_object_mut);
    for job in jobs.into_iter().flat_map(serde_json::Map::values_mut) {
        let mut spec = job.get_mut("spec").and_then(Value::as_object_mut);
        for field in ["key", "header", "message_id", "set_headers"] {
            let value = spec.as_deref_mut().and_then(|spec| spec.get_mut(field));
            if let Some(value) = value.filter(|value| !value.is_null()) {
                *value = "left out".into();
            }
        }
    }
    Ok(told)
}

fn quorum(broker: &Broker) -> Value {
    let quorum = broker.metadata.quorum();
    json!({
        "leader": quorum.leader,
        "term": quorum.term,
        "log_end": quorum.log_end,
        "applied": quorum.applied,
        "voters": quorum.voters,
    })
}

fn problems(broker: &Broker) -> Value {
    let problems = health::problems(broker).into_iter().map(|problem| {
        json!({
            "reason": problem.reason.name(),
            "subject": problem.subject,
            "message": problem.message,
        })
    });
    problems.collect()
}

fn partitions(broker: &Broker) -> Value {
    let online = broker.registry.online();
    let told = online.iter().take(LISTED_MAX).map(|p| told(p));
    told.collect()
}

fn told(partition: &Partition) -> Value {
    let offsets = partition.offsets();
    let pending = partition.pending_size();
    json!({
        "topic": &*partition.topic,
        "partition": partition.key.index,
        "leader_epoch": partition.leader_epoch().0,
        "log_start": offsets.log_start.0,
        "visible_end": offsets.visible_end.0,
        "high_watermark": offsets.high_watermark.0,
        "last_stable": offsets.last_stable.0,
        "log_end": offsets.log_end.0,
        "bytes": partition.log().size_bytes(),
        "pinned_bytes": partition.pinned_bytes(),
        "damaged": partition.log().damaged(),
        "held": pending.records,
        "held_bytes": pending.bytes,
        "dedup_window_ms": partition.dedup_window_ms(),
    })
}

fn groups(broker: &Broker) -> Value {
    match broker.groups.list() {
        Ok(groups) => {
            let told = groups.into_iter().take(LISTED_MAX).map(|group| {
                json!({
                    "group": group.group,
                    "state": group.state,
                    "type": group.kind,
                    "protocol_type": group.protocol_type,
                })
            });
            told.collect()
        }
        Err(error) => json!({ "error": error.to_string() }),
    }
}
