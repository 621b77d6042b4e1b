//! Every bound and interval of the engine, named.

use std::time::Duration;

use crate::memory::MemoryBudget;

/// More decoders than this cost more memory than they bring.
const LANES_MAX: usize = 16;

#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// How often an epoch is made durable.
    pub checkpoint_interval: Duration,
    /// The loop waits until an epoch is durable, as for `FLUSH`. What readers see at that moment is then exactly
    /// the epoch, which is how the simulation compares them.
    pub checkpoint_waits: bool,
    /// Time that a manifest stays, at the least: a process that slept for less finds its number taken.
    pub manifests_kept: Duration,
    /// Time that a file of state stays which no newer manifest names: a reader of an older one finds it.
    pub files_kept: Duration,
    /// Cores on which the splits of one step are decoded, at the most.
    pub lanes: usize,
    /// Records of one step, at the most.
    pub step_rows_max: usize,
    /// How long a step waits for records when there are none.
    pub step_wait: Duration,
    /// The same, where nothing has come for long and nothing waits for the loop.
    pub idle_wait_max: Duration,
    /// Views that read a stream again at once to catch up, at the most. Each has a consumer and decoded rows of its own.
    pub view_catch_ups_max: usize,
    /// The same of sinks, which also wait for what is outside.
    pub sink_catch_ups_max: usize,
    /// How often new splits are looked for.
    pub discover_interval: Duration,
    /// How far one split may be read ahead of another in event time, so that reading old records
    /// does not make the slower split's rows late.
    pub drift_max: Duration,
    /// Rows of one view, at the most; beyond it the job stops with 53200.
    pub view_rows_max: usize,
    /// Bytes of state and rows of one view, at the most, where the view has no `memory_limit` of its own;
    /// beyond it the job stops with 53200.
    pub state_bytes_max: usize,
    /// What all jobs and queries of the process may take together.
    pub memory: MemoryBudget,
    /// Rejected records kept for `stream$dlq`.
    pub dead_letters_max: usize,
    /// Deltas after which a job writes a base snapshot.
    pub deltas_max: usize,
    /// First and longest wait before something that failed is tried again.
    pub backoff_first: Duration,
    pub backoff_max: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            checkpoint_interval: Duration::from_secs(1),
            checkpoint_waits: false,
            manifests_kept: Duration::from_secs(600),
            files_kept: Duration::from_secs(60),
            lanes: std::thread::available_parallelism().map_or(1, usize::from).min(LANES_MAX),
            step_rows_max: 32_768,
            step_wait: Duration::from_millis(10),
            idle_wait_max: Duration::from_millis(500),
            view_catch_ups_max: 4,
            sink_catch_ups_max: 16,
            discover_interval: Duration::from_secs(5),
            drift_max: Duration::from_secs(60),
            view_rows_max: 10_000_000,
            state_bytes_max: 4 << 30,
            memory: MemoryBudget::unlimited(),
            dead_letters_max: 1_000,
            deltas_max: 120,
            backoff_first: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
        }
    }
}
