//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures the jobs that are named, in their order, and prints JSON lines.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// [default: ceiling catch-up latency t1 t3 d1]
    #[arg(value_enum)]
    jobs: Vec<Job>,
    /// Events of a topic that is full before a job begins; users of `cdc` [default: 5000000, nexmark 1000000, cdc 100000].
    #[arg(long)]
    pub(crate) rows: Option<u64>,
    #[arg(long, default_value_t = 4)]
    pub(crate) partitions: i32,
    /// Times each job is run; the first finds a server that has just started, the later ones a warm one.
    #[arg(long, alias = "repeats", default_value_t = 2)]
    pub(crate) runs: usize,
    /// Events a second of jobs with a producer [default: latency 10000, redis 10000 and 50000, cdc 5000, l1 20000, soak 50000].
    #[arg(long)]
    pub(crate) rate: Option<u64>,
    /// Seconds of measuring `latency`, `cdc` and `l1`, after `--warm-up`.
    #[arg(long, default_value_t = 30)]
    pub(crate) seconds: u64,
    /// Seconds before measuring begins, of `latency`, `cdc`, `l1` and `soak`.
    #[arg(long, default_value_t = 15)]
    pub(crate) warm_up: u64,
    /// Minutes of `soak`.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) minutes: f64,
    /// Keys of state that `recovery` kills.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) keys: u64,
    /// A broker that runs already; without it one is started and stopped.
    #[arg(long)]
    pub(crate) bootstrap: Option<String>,
    /// Those of `nexmark` [default: all].
    #[arg(long, value_delimiter = ',')]
    pub(crate) queries: Vec<String>,
    /// The topic of t1, t3, d1 and ceiling.
    #[arg(long, default_value = "bench-events")]
    pub(crate) topic: String,
    /// Where the right answers to t1, t3 and d1 are kept; made where the file is not there.
    #[arg(long)]
    pub(crate) expected: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Job {
    /// Plain consumers of the topic: counting only, and decoding with arrow-json.
    Ceiling,
    /// `activity` over a full topic of `ebap generate`.
    CatchUp,
    /// From producing to visible over pgwire.
    Latency,
    /// From producing to readable in Redis, at 10,000 and at 50,000 changed keys a second.
    Redis,
    /// The same of five views, each over the one before.
    Levels,
    /// From a change of a table to an event that has met it.
    Freshness,
    /// Rows of PostgreSQL by way of Debezium: the snapshot, then 2,000 changes a second while events meet them.
    Cdc,
    /// One minute by region and action: count, sum.
    T1,
    /// The same at one minute, five minutes and one hour at once.
    T3,
    /// One minute by region: distinct users.
    D1,
    /// From the end of a one-second window to its result, at a steady rate.
    L1,
    /// Ten views on one stream against one.
    Views10,
    /// A declaration of 30 columns against one of the three that a view needs.
    Wide,
    /// 54 finished file streams and 284 views: what they cost at rest, and one more `CREATE`.
    Idle,
    /// 200 plain views over a stream of 100 events a second: what they cost, and the 1,000th `CREATE`.
    ManyViews,
    /// A steady rate for minutes: lag, latency, memory, checkpoints.
    Soak,
    /// `kill -9` with keys of state: until it serves, until it has caught up.
    Recovery,
    /// Queries of Nexmark over a full topic, each as a view of its own.
    Nexmark,
    /// Only fills the topic of `nexmark`.
    NexmarkTopic,
    /// Only fills the topic of t1, t3, d1 and writes the right answers.
    Topic,
    /// Only produces what `l1` reads, into TOPIC-live.
    Live,
}

impl Job {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Args {
    pub(crate) fn jobs(&self) -> Vec<Job> {
        if self.jobs.is_empty() {
            return vec![Job::Ceiling, Job::CatchUp, Job::Latency, Job::T1, Job::T3, Job::D1];
        }
        self.jobs.clone()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows.unwrap_or(5_000_000)
    }

    pub(crate) fn nexmark_rows(&self) -> u64 {
        self.rows.unwrap_or(1_000_000)
    }

    /// The topic of `l1`.
    pub(crate) fn live_topic(&self) -> String {
        format!("{}-live", self.topic)
    }
}
