//! What the operators of a job have done since it started to run here, for `EXPLAIN ANALYZE`.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Operator {
    rows_in: u64,
    rows_out: u64,
    time: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Steps that had rows for the job.
    pub(crate) steps: u64,
    /// Of a stream: records decoded, checked and given their columns. Of a view: its filters and projections.
    pub(crate) input: Operator,
    /// Rows in, partial rows out.
    pub(crate) partial: Operator,
    /// Partial rows in, changed groups out.
    pub(crate) window: Operator,
    /// Groups, or rows where there are none, in; rows of the view out.
    pub(crate) output: Operator,
    /// As they were last measured.
    pub(crate) state_bytes: Option<usize>,
    pub(crate) view_bytes: Option<usize>,
}

impl Operator {
    /// It took these rows, gave these, and began then.
    pub(crate) fn ran(&mut self, rows_in: usize, rows_out: usize, begun: Instant) {
        self.took(rows_in, rows_out, begun.elapsed());
    }

    /// On several cores: their times together.
    pub(crate) fn took(&mut self, rows_in: usize, rows_out: usize, time: Duration) {
        self.rows_in += rows_in as u64;
        self.rows_out += rows_out as u64;
        self.time += time;
    }
}

impl std::fmt::Display for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows_in, rows_out, time } = self;
        write!(f, "(rows in={rows_in} out={rows_out}, time={:.3} ms)", time.as_secs_f64() * 1e3)
    }
}
