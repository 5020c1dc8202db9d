//! Which records: the words that all replays share.

use clap::Args;
use proto::admin::v1 as pb;

use crate::time::{self, moment};

/// Records of a topic.
#[derive(Debug, Args)]
pub struct Range {
    /// The topic
    pub(super) topic: String,
    /// A partition; may be given several times [default: all]
    #[arg(short, long)]
    pub(super) partition: Vec<i32>,
    /// With this time or a later one: epoch milliseconds, RFC 3339 with offset, or -1h30m from now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// With a time before this one
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// Appended then or later, whatever their times say
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    appended_from: Option<String>,
    /// Appended before that time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    appended_to: Option<String>,
    /// These offsets of a partition, the last one excluded: 0:100..200, or 0:100.. ; may be given several times
    #[arg(long, value_name = "P:FROM..TO", value_parser = offsets)]
    offsets: Vec<pb::OffsetRange>,
    /// With this key
    #[arg(short, long)]
    key: Option<String>,
    /// With this header, and this value of it if one is given
    #[arg(short = 'H', long, value_name = "NAME[=VALUE]")]
    header: Option<String>,
    /// With this chronos-message-id
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
}

fn offsets(text: &str) -> Result<pb::OffsetRange, String> {
    let parse = || {
        let (partition, range) = text.split_once(':')?;
        let (start, end) = range.split_once("..")?;
        let end_offset = match end {
            "" => None,
            end => Some(end.parse().ok()?),
        };
        Some(pb::OffsetRange {
            partition: partition.parse().ok()?,
            start_offset: start.parse().ok()?,
            end_offset,
        })
    };
    parse().ok_or_else(|| "it is not like 0:100..200".to_owned())
}

/// A header, with its value if one is given.
pub(super) fn header(text: String) -> pb::Header {
    match text.split_once('=') {
        Some((key, value)) => pb::Header {
            key: key.to_owned(),
            value: Some(value.to_owned().into()),
        },
        None => pb::Header {
            key: text,
            value: None,
        },
    }
}

impl Range {
    pub(super) fn range(&self) -> anyhow::Result<pb::ReplayRange> {
        let at = |text: &Option<String>| {
            let at = text.as_ref().map(|text| moment(text).map(time::timestamp));
            at.transpose()
        };
        Ok(pb::ReplayRange {
            start_time: at(&self.from)?,
            end_time: at(&self.to)?,
            offsets: self.offsets.clone(),
            append_start_time: at(&self.appended_from)?,
            append_end_time: at(&self.appended_to)?,
        })
    }

    pub(super) fn filter(&self) -> pb::ReplayFilter {
        pb::ReplayFilter {
            key: self.key.clone().map(Into::into),
            header: self.header.clone().map(header),
            message_id: self.message_id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read() {
        let range = |partition, start_offset, end_offset| pb::OffsetRange {
            partition,
            start_offset,
            end_offset,
        };
        assert_eq!(offsets("0:100..200"), Ok(range(0, 100, Some(200))));
        assert_eq!(offsets("12:7.."), Ok(range(12, 7, None)));
        for wrong in ["", "1", "1:2", "x:1..2", "1:..2", "1:2..x"] {
            assert!(offsets(wrong).is_err(), "{wrong}");
        }
    }
}
