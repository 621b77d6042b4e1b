//! Reads the assigned files in turn.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use ebap_connector::{Error, Offset, Records, Result, SourceReader, SplitId, SplitState, SplitStatus, time};
use tokio::task::spawn_blocking;

use crate::{
    files::Files,
    lines::{ANSWER_BYTES_MAX, Job, Lines},
};

/// How often followed files are looked at while none has more.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(crate) struct FileReader {
    files: Arc<Files>,
    follow: bool,
    assigned: BTreeMap<SplitId, Reading>,
    /// Which of the wanted splits comes first, so that none starves when there are more of them than rows.
    turn: usize,
}

struct Reading {
    partition: i32,
    next: Offset,
    end: Option<Offset>,
    state: SplitState,
}

impl FileReader {
    pub(crate) fn new(files: Arc<Files>, follow: bool) -> Self {
        Self { files, follow, assigned: BTreeMap::new(), turn: 0 }
    }

    /// One round over the wanted splits. Nothing is moved before the last file has been read, so
    /// that a round given up in the middle has lost nothing.
    async fn round(&mut self, wanted: &[SplitId], rows_max: usize) -> Result<Vec<Records>> {
        self.turn = self.turn.wrapping_add(1);
        let (mut left, mut bytes) = (rows_max, 0);
        let mut answers = Vec::new();
        for index in 0..wanted.len() {
            let split = &wanted[(index + self.turn) % wanted.len()];
            let share = left.div_ceil(wanted.len() - index);
            let reading = self.assigned.get(split);
            let reading =
                reading.ok_or_else(|| Error::internal(format!("split \"{split}\" is read before it is assigned")))?;
            if share == 0 || bytes >= ANSWER_BYTES_MAX || reading.state == SplitState::Finished {
                continue;
            }
            let answer = self.lines(split.clone(), reading.partition, reading.next, share).await;
            if let Ok(lines) = &answer {
                left -= lines.records.len();
                bytes += lines.records.values.bytes();
            }
            answers.push((split, answer));
        }
        answers.into_iter().filter_map(|(split, answer)| self.accept(split, answer).transpose()).collect()
    }

    async fn lines(&self, split: SplitId, partition: i32, from: Offset, rows_max: usize) -> Result<Lines> {
        let (path, follow) = (self.files.path(&split), self.follow);
        let read = move || Job { path: &path, split, partition, from, rows_max, follow }.read();
        spawn_blocking(read).await.map_err(Error::internal)?
    }

    /// Moves the split behind what was read, or notes that its file is away.
    fn accept(&mut self, split: &SplitId, answer: Result<Lines>) -> Result<Option<Records>> {
        let Some(reading) = self.assigned.get_mut(split) else { return Ok(None) };
        let lines = match answer {
            Ok(lines) => lines,
            Err(error @ Error::Unreachable { .. }) => {
                reading.state = SplitState::Retrying(error.to_string());
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let moved = lines.records.next_offset > reading.next;
        reading.next = lines.records.next_offset;
        reading.end = Some(lines.end);
        let finished = lines.at_end && !self.follow;
        reading.state = if finished { SplitState::Finished } else { SplitState::Running };
        Ok(moved.then_some(lines.records))
    }

    fn done(&self, wanted: &[SplitId]) -> bool {
        let done = |split| self.assigned.get(split).is_some_and(|reading| reading.state == SplitState::Finished);
        wanted.iter().all(done)
    }
}

#[async_trait]
impl SourceReader for FileReader {
    async fn assign(&mut self, split: SplitId, offset: Offset) -> Result<()> {
        let partition = self.files.index(&split);
        self.assigned.insert(split, Reading { partition, next: offset, end: None, state: SplitState::Running });
        Ok(())
    }

    async fn poll(&mut self, wanted: &[SplitId], rows_max: usize, wait: Duration) -> Result<Vec<Records>> {
        let began = time::instant();
        loop {
            let records = self.round(wanted, rows_max).await?;
            let left = wait.saturating_sub(began.elapsed());
            if !records.is_empty() || left.is_zero() {
                return Ok(records);
            }
            time::sleep(if self.done(wanted) { left } else { left.min(LOOK_AGAIN) }).await;
        }
    }

    fn status(&self) -> Vec<SplitStatus> {
        let status = |(split, reading): (&SplitId, &Reading)| SplitStatus {
            split: split.clone(),
            end: reading.end,
            state: reading.state.clone(),
        };
        self.assigned.iter().map(status).collect()
    }
}
