//! Time and CPU of what is measured.

use serde::Serialize;

use crate::commands::bench::{
    clock::Clock,
    numbers::{float, per, round},
    proc::Cpu,
};

/// Began with what is measured.
#[derive(Debug)]
pub(in crate::commands::bench) struct Watch {
    clock: Clock,
    broker: Option<(String, Cpu)>,
    client: Cpu,
}

/// What it took.
#[derive(Debug, Serialize)]
pub(in crate::commands::bench) struct Cost {
    pub(in crate::commands::bench) elapsed_seconds: f64,
    per_second: Option<f64>,
    client_cpu_seconds: f64,
    broker_cpu_seconds: Option<f64>,
    /// Of the broker.
    cpu_seconds_per_100k: Option<f64>,
}

impl Watch {
    /// Begins.
    pub(in crate::commands::bench) fn start(broker_pid: Option<u32>) -> anyhow::Result<Self> {
        let broker = match broker_pid {
            None => None,
            Some(pid) => {
                let pid = pid.to_string();
                let cpu = Cpu::of(&pid)?;
                Some((pid, cpu))
            }
        };
        Ok(Self {
            clock: Clock::start(),
            broker,
            client: Cpu::of("self")?,
        })
    }

    /// Ends, after so many operations.
    pub(in crate::commands::bench) fn end(self, operations: u64) -> anyhow::Result<Cost> {
        let seconds = self.clock.seconds();
        let client = Cpu::of("self")?.since(self.client).seconds();
        let broker = match self.broker {
            None => None,
            Some((pid, before)) => Some(Cpu::of(&pid)?.since(before).seconds()),
        };
        Ok(Cost {
            elapsed_seconds: round(seconds),
            per_second: per(float(operations), seconds),
            client_cpu_seconds: round(client),
            broker_cpu_seconds: broker.map(round),
            cpu_seconds_per_100k: broker.and_then(|cpu| per(cpu * 1e5, float(operations))),
        })
    }
}
