//! What Linux tells about a process.

use anyhow::Context;

/// Linux counts in these, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of a process so far, all its threads, those that ended, too.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cpu {
    pub(super) user_seconds: f64,
    pub(super) system_seconds: f64,
}

impl Cpu {
    /// Of a process; `self` is this one.
    pub(super) fn of(process: &str) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/stat");
        let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        parse_stat(&stat).with_context(|| format!("{path} is not as expected"))
    }

    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            user_seconds: self.user_seconds - earlier.user_seconds,
            system_seconds: self.system_seconds - earlier.system_seconds,
        }
    }

    pub(super) fn seconds(self) -> f64 {
        self.user_seconds + self.system_seconds
    }
}

/// Resident memory of a process, in bytes.
pub(super) fn resident_bytes(process: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    parse_status(&status).with_context(|| format!("{path} has no VmRSS"))
}

/// Fields 14 and 15; the second is the name in brackets, which may hold blanks and brackets.
fn parse_stat(stat: &str) -> Option<Cpu> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some(Cpu {
        user_seconds: ticks()? / TICKS_PER_SECOND,
        system_seconds: ticks()? / TICKS_PER_SECOND,
    })
}

fn parse_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a b) (c) d) S 1 7 7 0 -1 4194560 21 0 0 0 1234 567 0 0 20 0 9 0 5";

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let cpu = parse_stat(STAT).unwrap();
        assert_eq!(
            cpu,
            Cpu {
                user_seconds: 12.34,
                system_seconds: 5.67
            }
        );
        assert!((cpu.seconds() - 18.01).abs() < 1e-9);
        assert_eq!(parse_stat("7 (x) S 1 2"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        let status = "Name:\tx\nVmPeak:\t 9 kB\nVmRSS:\t    2048 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(parse_status(status), Some(2_097_152));
        assert_eq!(parse_status("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn this_process_is_told_of() {
        assert!(Cpu::of("self").unwrap().seconds() >= 0.0);
        assert!(resident_bytes("self").unwrap() > 0);
        assert!(Cpu::of("0").is_err());
    }
}
