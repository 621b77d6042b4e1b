//! Reads the assigned files in turn.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use ebap_connector::{Error, Offset, Records, Result, SourceReader, SplitId, SplitState, SplitStatus, time};
use tokio::task::spawn_blocking;

use crate::{
    files::{Files, shown},
    framing::Framing,
    job::{ANSWER_BYTES_MAX, Answer, Job},
};

/// How often followed files are looked at while none has more.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(250);

pub(crate) struct FileReader {
    files: Arc<Files>,
    framing: Arc<Framing>,
    follow: bool,
    assigned: BTreeMap<SplitId, Reading>,
    /// Which of the wanted splits comes first, so that none starves when there are more of them than rows.
    turn: usize,
}

struct Reading {
    partition: i32,
    next: Offset,
    end: Option<Offset>,
    header: Option<Arc<[u8]>>,
    /// Bytes of the file when it had nothing behind `next`.
    nothing_at: Option<i64>,
    state: SplitState,
}

impl FileReader {
    pub(crate) fn new(files: Arc<Files>, framing: Arc<Framing>, follow: bool) -> Self {
        Self { files, framing, follow, assigned: BTreeMap::new(), turn: 0 }
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
            let answer = self.read(split.clone(), reading, share).await;
            if let Ok(Some(answer)) = &answer {
                left -= answer.records.len();
                bytes += answer.records.values.bytes();
            }
            answers.push((split, answer));
        }
        answers.into_iter().filter_map(|(split, answer)| self.accept(split, answer).transpose()).collect()
    }

    async fn read(&self, split: SplitId, reading: &Reading, rows_max: usize) -> Result<Option<Answer>> {
        let (path, framing, follow) = (self.files.path(&split), Arc::clone(&self.framing), self.follow);
        let (partition, from, nothing_at) = (reading.partition, reading.next, reading.nothing_at);
        let header = reading.header.clone();
        let read = move || {
            let framing = framing.as_ref();
            Job { path: &path, framing, split, partition, from, header, nothing_at, rows_max, follow }.read()
        };
        spawn_blocking(read).await.map_err(Error::internal)?
    }

    /// Moves the split behind what was read, or notes that its file is away.
    fn accept(&mut self, split: &SplitId, answer: Result<Option<Answer>>) -> Result<Option<Records>> {
        let Some(reading) = self.assigned.get_mut(split) else { return Ok(None) };
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(None),
            Err(error @ Error::Unreachable { .. }) => {
                reading.state = SplitState::Retrying(error.to_string());
                reading.nothing_at = None;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let moved = answer.records.next_offset > reading.next;
        reading.next = answer.records.next_offset;
        reading.end = Some(answer.end);
        reading.header.clone_from(&answer.records.header);
        reading.nothing_at = answer.at_end.then_some(answer.bytes);
        reading.state = if answer.at_end && !self.follow {
            SplitState::Finished
        } else if answer.open {
            let path = self.files.path(split);
            SplitState::Retrying(format!("{}: the quote behind byte {} is not closed yet", shown(&path), reading.next))
        } else {
            SplitState::Running
        };
        self.files.note_end(split, reading.next);
        Ok(moved.then_some(answer.records))
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
        let (end, header, nothing_at, state) = (None, None, None, SplitState::Running);
        self.assigned.insert(split, Reading { partition, next: offset, end, header, nothing_at, state });
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
            let look_again = (began.elapsed() / 2).clamp(LOOK_AGAIN, LOOK_AGAIN_MAX);
            time::sleep(if self.done(wanted) { left } else { left.min(look_again) }).await;
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
