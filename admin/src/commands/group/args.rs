//! The words of `chronosctl group`.

use clap::{Args, Subcommand};

/// How lag is computed, for `--help`.
const LAG: &str = "Lag is the end offset of a partition, as ListOffsets tells it, minus the offset that the group committed; never \
    below 0. It counts offsets, not records: offsets below the end that hold nothing to read (of held records, of transactions' \
    markers, of what compaction removed) count until the group has passed them. A held record that waits moves no end: a group that \
    has read everything has no lag, however much is held. A partition without a commit shows '-', and is in no sum. A group's lag \
    is the sum over its partitions.";

/// A command about consumer groups.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List groups with their members and lag
    #[command(after_help = LAG)]
    List {
        /// Only groups in this state, as Stable or Empty; may be given several times
        #[arg(long)]
        state: Vec<String>,
    },
    /// Describe groups: what was committed and is left to read, members, state
    #[command(after_help = LAG)]
    Describe {
        /// Their ids
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
        /// Each partition: committed offset, end, lag, and who reads it (this is shown when nothing else is asked for)
        #[arg(long)]
        offsets: bool,
        /// Each member, and what it is assigned
        #[arg(long)]
        members: bool,
        /// State, coordinator, assignor
        #[arg(long)]
        state: bool,
    },
    /// Let a group go on from elsewhere; refused while it has members
    Seek(SeekArgs),
    /// Delete groups with all that they committed; refused while they have members
    Delete {
        /// Their ids
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
    },
}

/// Where a group is to go on.
#[derive(Debug, Args)]
pub struct SeekArgs {
    /// Its id; a group that is not there yet is made
    pub group: String,
    /// earliest, latest, or an offset; what lies outside of a partition becomes its first or end offset
    #[arg(long, value_name = "PLACE", value_parser = target, required_unless_present_any = ["to_time", "shift"])]
    pub to: Option<Target>,
    /// The first record of that time or later: epoch milliseconds, RFC 3339 with offset, or -1h30m from now
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        conflicts_with = "to"
    )]
    pub to_time: Option<String>,
    /// So many offsets on, or back: -100
    #[arg(long, value_name = "N", allow_hyphen_values = true, conflicts_with_all = ["to", "to_time"])]
    pub shift: Option<i64>,
    /// A topic; may be given several times [default: all that the group committed offsets of]
    #[arg(short, long)]
    pub topic: Vec<String>,
    /// Partitions of that one topic, as 0,3,4 [default: all]
    #[arg(short, long, value_delimiter = ',', value_name = "LIST")]
    pub partitions: Vec<i32>,
    /// Only show what would be committed
    #[arg(long)]
    pub dry_run: bool,
}

/// A place in every partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The first offset that is there.
    Earliest,
    /// One past the last record that can be read.
    Latest,
    /// This one.
    Offset(i64),
}

fn target(text: &str) -> Result<Target, String> {
    match text {
        "earliest" => Ok(Target::Earliest),
        "latest" => Ok(Target::Latest),
        number => number
            .parse()
            .ok()
            .filter(|offset: &i64| *offset >= 0)
            .map(Target::Offset)
            .ok_or_else(|| format!("'{text}' is not earliest, latest or an offset")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_understood_or_refused() {
        assert_eq!(target("earliest"), Ok(Target::Earliest));
        assert_eq!(target("latest"), Ok(Target::Latest));
        assert_eq!(target("7"), Ok(Target::Offset(7)));
        assert!(target("-7").is_err() && target("first").is_err());
    }
}
