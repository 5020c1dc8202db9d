//! Watches a run: time, CPU, memory, and a line for people at a terminal.

use std::{
    io::{IsTerminal, Write, stderr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context;

use super::{
    clock::Clock,
    numbers::float,
    proc::{Cpu, resident_bytes},
};

/// How often memory is looked at and the line is drawn.
const TURN: Duration = Duration::from_millis(100);
const BAR: usize = 24;

/// How many records are done; copies count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Done(Arc<AtomicU64>);

impl Done {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where a run ends, so that its line can say how far it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Records(u64),
    Seconds(f64),
    Unknown,
}

/// Watches one run.
#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) name: &'static str,
    pub(super) done: Done,
    pub(super) end: End,
    pub(super) broker_pid: Option<u32>,
}

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) seconds: f64,
    pub(super) client: Cpu,
    pub(super) broker: Option<BrokerUsage>,
}

/// What it took of the broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct BrokerUsage {
    pub(super) cpu: Cpu,
    pub(super) rss_start: u64,
    pub(super) rss_peak: u64,
    pub(super) rss_end: u64,
}

impl Monitor {
    /// Runs it under watch.
    pub(super) fn watch<T>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Usage)> {
        let pid = self.broker_pid.map(|pid| pid.to_string());
        let rss_start = pid.as_deref().map(resident_bytes).transpose()?;
        let (running, peak) = (
            AtomicBool::new(true),
            AtomicU64::new(rss_start.unwrap_or(0)),
        );
        let clock = Clock::start();
        thread::scope(|scope| {
            let watcher = scope.spawn(|| self.turns(clock, pid.as_deref(), &running, &peak));
            let client = Cpu::of("self")?;
            let broker = pid.as_deref().map(Cpu::of).transpose()?;
            let started = clock.seconds();
            let result = work();
            let seconds = clock.seconds() - started;
            let broker = match (pid.as_deref(), broker) {
                (Some(pid), Some(earlier)) => Some(Cpu::of(pid).map(|cpu| cpu.since(earlier))),
                _ => None,
            };
            let client = Cpu::of("self").map(|cpu| cpu.since(client));
            running.store(false, Ordering::Relaxed);
            watcher.thread().unpark();
            watcher.join().ok().context("a thread failed")?;
            let result = result?;
            let broker = match (pid.as_deref(), broker.transpose()?) {
                (Some(pid), Some(cpu)) => {
                    let rss_end = resident_bytes(pid)?;
                    Some(BrokerUsage {
                        cpu,
                        rss_start: rss_start.unwrap_or(0),
                        rss_peak: peak.load(Ordering::Relaxed).max(rss_end),
                        rss_end,
                    })
                }
                _ => None,
            };
            let usage = Usage {
                seconds,
                client: client?,
                broker,
            };
            Ok((result, usage))
        })
    }

    fn turns(&self, clock: Clock, pid: Option<&str>, running: &AtomicBool, peak: &AtomicU64) {
        let people = stderr().is_terminal();
        while running.load(Ordering::Relaxed) {
            thread::park_timeout(TURN);
            if let Some(Ok(rss)) = pid.map(resident_bytes) {
                peak.fetch_max(rss, Ordering::Relaxed);
            }
            if people {
                draw(&self.line(self.done.get(), clock.seconds()));
            }
        }
        if people {
            draw("");
        }
    }

    fn line(&self, done: u64, seconds: f64) -> String {
        let part = match self.end {
            End::Records(all) if all > 0 => Some(float(done) / float(all)),
            End::Seconds(all) => Some(seconds / all),
            _ => None,
        };
        let rate = float(done) / seconds.max(0.001);
        let bar = part.map_or_else(String::new, |part| {
            let part = part.clamp(0.0, 1.0);
            let full: String = (1..=BAR)
                .map(|step| {
                    let reached = part * 24.0 + 1e-9 >= float(step as u64);
                    if reached { '#' } else { '.' }
                })
                .collect();
            format!("[{full}] {:3.0} %  ", part * 100.0)
        });
        format!(
            "{:8} {bar}{done} records, {rate:.0}/s, {seconds:.0} s",
            self.name
        )
    }
}

/// Over the line that is there.
fn draw(line: &str) {
    // A terminal that went away is no reason to stop measuring.
    let _ = write!(stderr(), "\r\x1b[2K{line}");
    let _ = stderr().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(end: End) -> Monitor {
        Monitor {
            name: "produce",
            done: Done::default(),
            end,
            broker_pid: Some(std::process::id()),
        }
    }

    #[test]
    fn the_line_says_how_far_it_is() {
        let line = monitor(End::Records(200)).line(100, 2.0);
        assert!(line.contains("[############............]  50 %"), "{line}");
        assert!(line.contains("100 records, 50/s"), "{line}");
        let line = monitor(End::Seconds(1.0)).line(1, 3.0);
        assert!(line.contains("100 %"), "{line}");
        assert!(!monitor(End::Unknown).line(1, 1.0).contains('%'));
    }

    #[test]
    fn a_run_is_accounted_for() {
        let watched = monitor(End::Unknown);
        let (number, usage) = watched.watch(|| Ok(7)).unwrap();
        let broker = usage.broker.unwrap();
        assert_eq!(number, 7);
        assert!(broker.rss_peak >= broker.rss_end && broker.rss_start > 0);
        assert!(usage.seconds >= 0.0 && broker.cpu.seconds() >= 0.0);
        assert!(
            watched
                .watch(|| anyhow::bail!("no"))
                .map(|((), _)| ())
                .is_err()
        );
    }
}
