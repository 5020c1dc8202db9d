//! `chronosdb wal dump`.

use std::process::ExitCode;

use admin::{
    output::{self, Format},
    time,
};
use anyhow::bail;
use kafka_compat::records;
use serde::Serialize;
use storage::{
    batch::BatchView,
    frame::{CancelAction, CancelFrame, ForgetFrame, HoldFrame},
    log::ScanStop,
    record::Record,
};

use super::{DumpArgs, SegmentFile, kind, segments};

#[derive(Serialize)]
struct FrameRow {
    segment: String,
    position: u64,
    kind: &'static str,
    base_offset: i64,
    last_offset: i64,
    bytes: usize,
    records: i32,
    codec: u8,
    leader_epoch: i32,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    max_timestamp: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entries: Vec<EntryRow>,
}

/// A record, a held record, or what a CANCEL says of one.
#[derive(Default, Serialize)]
struct EntryRow {
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<String>,
}

pub(super) fn run(args: &DumpArgs, format: Format) -> anyhow::Result<ExitCode> {
    let mut left = args.limit.unwrap_or(usize::MAX);
    for segment in segments(&args.folder)? {
        let mut scanner = segment.scanner();
        while let Some(unit) = scanner.next_unit() {
            let unit = match unit {
                Ok(unit) => unit,
                Err(ScanStop::Io(error)) => return Err(error.into()),
                Err(ScanStop::Bad(why)) => {
                    bail!(
                        "{} at {}: {why}",
                        segment.path.display(),
                        scanner.position()
                    )
                }
            };
            let mut position = unit.position;
            for (i, frame) in unit.frames.iter().enumerate() {
                if left == 0 {
                    return Ok(ExitCode::SUCCESS);
                }
                if frame.header.last_offset() >= args.from {
                    let row = row(&segment, position, frame, i == 0, args.records)?;
                    output::row(format, &row, &row.text())?;
                    left -= 1;
                }
                position += frame.bytes.len() as u64;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(
    segment: &SegmentFile,
    position: u64,
    frame: &BatchView,
    first: bool,
    with_records: bool,
) -> anyhow::Result<FrameRow> {
    let header = &frame.header;
    let opens_unit = first && HoldFrame::parse(frame).is_ok_and(|hold| hold.is_some());
    let name = segment.path.file_name().unwrap_or_default();
    Ok(FrameRow {
        segment: name.to_string_lossy().into_owned(),
        position,
        kind: kind(frame, opens_unit),
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        bytes: frame.bytes.len(),
        records: header.records_count,
        codec: header.compression(),
        leader_epoch: header.leader_epoch,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        max_timestamp: header.max_timestamp,
        entries: if with_records {
            entries(frame)?
        } else {
            Vec::new()
        },
    })
}

fn entries(frame: &BatchView) -> anyhow::Result<Vec<EntryRow>> {
    if let Some(hold) = HoldFrame::parse(frame)? {
        let entries = hold.entries.iter().enumerate();
        return entries
            .map(|(i, entry)| {
                Ok(EntryRow {
                    due: Some(entry.due.0),
                    timestamp: Some(entry.created.0),
                    ..record_row(entry.id.0, &hold.record(i)?)
                })
            })
            .collect();
    }
    if let Some(cancel) = CancelFrame::parse(frame)? {
        let entries = cancel.entries.iter().map(|entry| EntryRow {
            offset: entry.id.0,
            due: entry.due.map(|due| due.0),
            action: Some(match entry.action {
                CancelAction::Cancelled => "cancelled".into(),
                CancelAction::Rescheduled(due) => format!("rescheduled to {due}"),
                CancelAction::Replaced => "replaced".into(),
            }),
            ..EntryRow::default()
        });
        return Ok(entries.collect());
    }
    if let Some(forget) = ForgetFrame::parse(frame)? {
        let entries = forget.message_ids.iter().map(|id| EntryRow {
            offset: frame.header.base_offset,
            action: Some(format!("forgotten {}", String::from_utf8_lossy(id))),
            ..EntryRow::default()
        });
        return Ok(entries.collect());
    }
    let header = &frame.header;
    let records = records::decode(frame)?;
    Ok(records
        .iter()
        .map(|record| EntryRow {
            timestamp: Some(header.base_timestamp.saturating_add(record.timestamp_delta)),
            ..record_row(header.base_offset + i64::from(record.offset_delta), record)
        })
        .collect())
}

fn record_row(offset: i64, record: &Record) -> EntryRow {
    let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    EntryRow {
        offset,
        key: record.key.as_ref().map(text),
        value: record.value.as_ref().map(text),
        headers: record
            .headers
            .iter()
            .map(|(name, value)| {
                let value = value.as_ref().map_or_else(|| "(null)".into(), text);
                format!("{}={value}", text(name))
            })
            .collect(),
        ..EntryRow::default()
    }
}

impl FrameRow {
    fn text(&self) -> String {
        let mut text = format!(
            "{} @{:<10} {:<7} {:>10}..{:<10} {:>8} B  {:>5} records  codec {}  epoch {}  producer {}/{} seq {}",
            self.segment.trim_start_matches('0'),
            self.position,
            self.kind,
            self.base_offset,
            self.last_offset,
            self.bytes,
            self.records,
            self.codec,
            self.leader_epoch,
            self.producer_id,
            self.producer_epoch,
            self.base_sequence,
        );
        for entry in &self.entries {
            text.push_str("\n    ");
            text.push_str(&entry.text());
        }
        text
    }
}

impl EntryRow {
    fn text(&self) -> String {
        let parts = [
            Some(format!("{:>10}", self.offset)),
            self.due
                .map(|due| format!("due {due} ({})", time::local(due))),
            self.action.clone(),
            self.key.as_ref().map(|key| format!("{key}:")),
            self.value.clone(),
            (!self.headers.is_empty()).then(|| format!("[{}]", self.headers.join(" "))),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        parts.join("  ")
    }
}
