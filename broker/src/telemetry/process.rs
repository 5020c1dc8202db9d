//! What the process has used. Source: proc(5).

/// What the process has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Memory that is resident, in bytes.
    pub resident_bytes: i64,
}

/// Of `/proc/self/stat`.
const TICKS_PER_SECOND: f64 = 100.0;
/// Of `/proc/self/statm`.
const PAGE_BYTES: i64 = 4096;

impl Usage {
    /// Until now; zeros where the kernel does not tell.
    pub fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // After the name in parentheses: utime is field 14, stime 15.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: f64 = ticks.filter_map(|t| t.parse::<f64>().ok()).sum();
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split_whitespace().nth(1);
        let pages: i64 = pages.and_then(|p| p.parse().ok()).unwrap_or(0);
        Self {
            cpu_seconds: ticks / TICKS_PER_SECOND,
            resident_bytes: pages * PAGE_BYTES,
        }
    }
}
