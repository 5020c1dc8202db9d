//! The last log lines, kept for who asks what happened: a support bundle has them.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::Arc,
};

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that are kept.
const KEPT: usize = 256 << 10;

/// Writes to standard error, and keeps what was written last. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentLines(Arc<Mutex<VecDeque<u8>>>);

impl RecentLines {
    /// What is kept, from the first whole line on.
    pub(super) fn text(&self) -> Vec<u8> {
        let kept = self.0.lock();
        let is_cut = kept.len() == KEPT;
        let first = kept.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
        let from = if is_cut { first } else { 0 };
        kept.iter().skip(from).copied().collect()
    }

    fn keep(&self, bytes: &[u8]) {
        let mut kept = self.0.lock();
        let bytes = bytes.get(bytes.len().saturating_sub(KEPT)..);
        kept.extend(bytes.unwrap_or_default());
        let over = kept.len().saturating_sub(KEPT);
        kept.drain(..over);
    }
}

impl<'a> MakeWriter<'a> for RecentLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A line is one write.
impl Write for RecentLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.keep(line);
        io::stderr().write_all(line).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_lines_are_kept() {
        let recent = RecentLines::default();
        recent.keep(b"one\n");
        assert_eq!(recent.text(), b"one\n");
        for i in 0..KEPT / 8 {
            recent.keep(format!("{i:07}\n").as_bytes());
        }
        let text = String::from_utf8(recent.text()).unwrap();
        assert!(
            text.len() <= KEPT && text.len() > KEPT - 16,
            "{}",
            text.len()
        );
        let last = KEPT / 8 - 1;
        assert!(text.ends_with(&format!("{last:07}\n")));
        assert!(text.lines().all(|line| line.len() == 7));
        recent.keep(&vec![b'x'; KEPT * 2]);
        assert!(recent.text().len() <= KEPT);
    }
}
