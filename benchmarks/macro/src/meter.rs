//! Time, CPU and memory between two moments, the same for every job.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use ebap_connector::time;
use serde_json::{Value, json};

use crate::machine;

const MEMORY_PERIOD: Duration = Duration::from_millis(100);

/// CPU seconds so far.
#[derive(Clone, Copy)]
struct Cpu {
    engine: f64,
    broker: f64,
    own: f64,
    machine: f64,
}

/// Runs until [`Meter::finish`].
pub(crate) struct Meter {
    engine: u32,
    broker: Option<u32>,
    began: Instant,
    before: Cpu,
    load_before: Option<f64>,
    stopped: Arc<AtomicBool>,
    memory: thread::JoinHandle<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) seconds: f64,
    /// Of the measured process.
    pub(crate) cpu_seconds: f64,
    broker_cpu_seconds: f64,
    /// Of this process, where it is not the measured one: producer and polling.
    own_cpu_seconds: f64,
    /// Of whatever else ran on the machine.
    others_cpu_seconds: f64,
    pub(crate) peak_rss_mib: u64,
    load_before: Option<f64>,
}

impl Cpu {
    fn now(engine: u32, broker: Option<u32>) -> Self {
        let of = |pid: u32| machine::cpu_seconds(pid).unwrap_or_default();
        let own = std::process::id();
        Self {
            engine: of(engine),
            broker: broker.map(of).unwrap_or_default(),
            own: if own == engine { 0.0 } else { of(own) },
            machine: machine::busy_seconds().unwrap_or_default(),
        }
    }
}

impl Meter {
    pub(crate) fn start(engine: u32, broker: Option<u32>) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let memory = {
            let stopped = Arc::clone(&stopped);
            thread::spawn(move || {
                let mut peak = 0;
                while !stopped.load(Ordering::Relaxed) {
                    peak = peak.max(machine::rss_mib(engine).unwrap_or_default());
                    thread::park_timeout(MEMORY_PERIOD);
                }
                peak.max(machine::rss_mib(engine).unwrap_or_default())
            })
        };
        let load_before = machine::load();
        Self { engine, broker, began: time::instant(), before: Cpu::now(engine, broker), load_before, stopped, memory }
    }

    pub(crate) fn finish(self) -> anyhow::Result<Figures> {
        let (seconds, now) = (self.began.elapsed().as_secs_f64(), Cpu::now(self.engine, self.broker));
        self.stopped.store(true, Ordering::Relaxed);
        self.memory.thread().unpark();
        let peak_rss_mib = self.memory.join().map_err(|_| anyhow!("the memory sampler panicked"))?;
        let (engine, broker) = (now.engine - self.before.engine, now.broker - self.before.broker);
        let own = now.own - self.before.own;
        let others = now.machine - self.before.machine - engine - broker - own;
        Ok(Figures {
            seconds,
            cpu_seconds: engine,
            broker_cpu_seconds: broker,
            own_cpu_seconds: own,
            others_cpu_seconds: others.max(0.0),
            peak_rss_mib,
            load_before: self.load_before,
        })
    }
}

impl Figures {
    pub(crate) fn json(&self, events: u64) -> Value {
        json!({
            "events": events,
            "seconds": round(self.seconds, 3),
            "events_per_second": (events as f64 / self.seconds).round(),
            "cpu_seconds": round(self.cpu_seconds, 2),
            "cpu_seconds_per_million": round(self.cpu_seconds / (events as f64 / 1e6), 3),
            "events_per_cpu_second": (events as f64 / self.cpu_seconds).round(),
            "peak_rss_mib": self.peak_rss_mib,
            "broker_cpu_seconds": round(self.broker_cpu_seconds, 2),
            "bench_cpu_seconds": round(self.own_cpu_seconds, 2),
            "others_cpu_seconds": round(self.others_cpu_seconds, 2),
            "load_before": self.load_before,
        })
    }
}

pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// The fields of both; those of the second win.
pub(crate) fn merge(mut first: Value, second: Value) -> Value {
    if let (Value::Object(into), Value::Object(from)) = (&mut first, second) {
        into.extend(from);
    }
    first
}
