//! On a view whose rows do not change any more: each of them once, when its window is closed and that is durable.
//!
//! All rows of one window end come in one step, so they are in one epoch and go out in one transaction, whose mark says
//! the last window end there is. What is written again, after a restart or when the sink was behind, is known by that.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, TimeUnit, TimestampMicrosecondType},
};
use async_trait::async_trait;
use ebap_connector::{ChangeBatch, Epoch, Error, Position, Result, Sink, SinkInput, SinkOpened};

use super::{
    TRANSACTION_ROWS_MAX,
    encode::{Encoder, time_ms},
    link::{Link, Mark, blocking, not_open},
    options::SinkOptions,
};
use crate::transactions::Outgoing;

/// A row that waits, by the end of its window.
type Waiting = (i64, Arc<RecordBatch>, usize);

pub(super) struct FinalSink {
    options: Arc<SinkOptions>,
    encoder: Encoder,
    window_end: usize,
    link: Option<Link>,
    pending: Vec<Waiting>,
    sealed: Option<(Epoch, Position, Vec<Waiting>)>,
    /// Rows of windows that end up to here are outside, or are sealed to get there.
    written_to: Option<i64>,
    /// All rows of the view are being written: those of windows that are outside already are left out.
    all: bool,
}

impl FinalSink {
    pub(super) fn new(options: Arc<SinkOptions>, encoder: Encoder, window_end: usize) -> Self {
        Self {
            options,
            encoder,
            window_end,
            link: None,
            pending: Vec::new(),
            sealed: None,
            written_to: None,
            all: false,
        }
    }
}

#[async_trait]
impl Sink for FinalSink {
    async fn open(&mut self) -> Result<SinkOpened> {
        (self.link, self.sealed, self.all) = (None, None, false);
        self.pending.clear();
        self.encoder.open().await?;
        let link = Link::open(&self.options).await?;
        self.written_to = link.mark.window_end_us;
        self.link = Some(link);
        // Nothing outside is newer than the epoch that the view starts from.
        Ok(SinkOpened::default())
    }

    async fn begin_all(&mut self) -> Result<()> {
        self.pending.clear();
        self.all = true;
        Ok(())
    }

    async fn write(&mut self, input: SinkInput, _position: &Position) -> Result<()> {
        // A row that goes was kept as long as the view keeps rows; it stays where it was written.
        let SinkInput::Changes(ChangeBatch { inserts, .. }) = input else {
            return Err(Error::internal("a kafka sink on a view was given rows of a stream"));
        };
        let ends = cast(inserts.column(self.window_end), &DataType::Timestamp(TimeUnit::Microsecond, None));
        let ends = ends.map_err(Error::internal)?;
        let ends = ends.as_primitive::<TimestampMicrosecondType>();
        let inserts = Arc::new(inserts);
        for row in 0..inserts.num_rows() {
            let of = |what: &str| {
                let key = self.encoder.value(&inserts, row)?;
                let row = String::from_utf8_lossy(&key);
                Err(Error::schema(format!("{what}, so it cannot be appended: {row}; use type = 'upsert'")))
            };
            if ends.is_null(row) {
                return of("a row of the view has no window_end");
            }
            let end = ends.value(row);
            match self.written_to {
                Some(written_to) if end <= written_to && self.all => {}
                Some(written_to) if end <= written_to => {
                    return of("a row came for a window that was written before");
                }
                _ => self.pending.push((end, Arc::clone(&inserts), row)),
            }
        }
        Ok(())
    }

    async fn sweep(&mut self, _position: &Position) -> Result<()> {
        self.all = false;
        Ok(())
    }

    async fn seal(&mut self, epoch: Epoch, position: &Position) -> Result<()> {
        self.written_to = self.written_to.max(self.pending.iter().map(|row| row.0).max());
        let mut rows = self.sealed.take().map(|(_, _, rows)| rows).unwrap_or_default();
        rows.append(&mut self.pending);
        self.sealed = Some((epoch, position.clone(), rows));
        Ok(())
    }

    async fn durable(&mut self, epoch: Epoch) -> Result<Option<Position>> {
        let Some((_, position, mut rows)) = self.sealed.take_if(|(sealed, ..)| *sealed <= epoch) else {
            return Ok(None);
        };
        rows.sort_by_key(|(end, ..)| *end);
        let (mut link, encoder) = (self.link.take().ok_or_else(not_open)?, self.encoder.clone());
        let sent = move || {
            for (from, to) in transactions(&rows.iter().map(|row| row.0).collect::<Vec<_>>(), TRANSACTION_ROWS_MAX) {
                send(&mut link, &encoder, &rows[from..to])?;
            }
            Ok(link)
        };
        self.link = Some(blocking(sent).await?);
        Ok(Some(position))
    }

    async fn checkpoint(&mut self, _epoch: Epoch, position: &Position, _force: bool) -> Result<Option<Position>> {
        Ok((self.pending.is_empty() && self.sealed.is_none()).then(|| position.clone()))
    }
}

/// From and to of each: at least so many rows where there are more, and all of a window end.
fn transactions(ends: &[i64], rows: usize) -> Vec<(usize, usize)> {
    let (mut parts, mut from) = (Vec::new(), 0);
    for to in 1..=ends.len() {
        let last = to == ends.len();
        if last || (to - from >= rows && ends[to - 1] != ends[to]) {
            parts.push((from, to));
            from = to;
        }
    }
    parts
}

fn send(link: &mut Link, encoder: &Encoder, rows: &[Waiting]) -> Result<()> {
    let options = Arc::clone(&link.options);
    for (_, batch, row) in rows {
        let (key, value) = (encoder.key(batch, &options.key, *row)?, encoder.value(batch, *row)?);
        let (key, value) = (key.as_deref(), Some(value.as_slice()));
        let timestamp_ms = time_ms(batch, options.time_column, *row);
        link.send(&Outgoing { topic: &options.topic, key, value, timestamp_ms, headers: &[] })?;
    }
    let window_end_us = rows.last().map(|row| row.0).max(link.mark.window_end_us);
    link.commit(Mark { window_end_us, ..link.mark.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_ends_between_two_window_ends() {
        assert_eq!(transactions(&[], 2), []);
        assert_eq!(transactions(&[1, 1, 1, 2, 3], 2), [(0, 3), (3, 5)]);
        assert_eq!(transactions(&[1, 2, 3], 1), [(0, 1), (1, 2), (2, 3)]);
        assert_eq!(transactions(&[1, 1], 9), [(0, 2)]);
    }
}
