//! On a stream: rows go out as they come, and become visible with the position behind them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use ebap_connector::{Epoch, Error, Position, Result, Sink, SinkInput, SinkOpened, time};

use super::{
    TRANSACTION_ROWS_MAX,
    encode::{Encoder, time_ms},
    link::{Link, Mark, blocking, not_open},
    options::SinkOptions,
};
use crate::transactions::Outgoing;

pub(super) struct RowSink {
    options: Arc<SinkOptions>,
    encoder: Encoder,
    link: Option<Link>,
    /// What was sent and is not visible: how many rows, the position behind them, and since when the oldest waits.
    sent: usize,
    waiting: Option<(Position, Instant)>,
}

impl RowSink {
    pub(super) fn new(options: Arc<SinkOptions>, encoder: Encoder) -> Self {
        Self { options, encoder, link: None, sent: 0, waiting: None }
    }

    async fn commit(&mut self, position: &Position) -> Result<()> {
        let mut link = self.link.take().ok_or_else(not_open)?;
        let mark = Mark { position: Some(position.clone()), ..link.mark.clone() };
        let committed = blocking(move || link.commit(mark).map(|()| link)).await?;
        (self.link, self.sent, self.waiting) = (Some(committed), 0, None);
        Ok(())
    }
}

#[async_trait]
impl Sink for RowSink {
    async fn open(&mut self) -> Result<SinkOpened> {
        (self.link, self.sent, self.waiting) = (None, 0, None);
        self.encoder.open().await?;
        let link = Link::open(&self.options).await?;
        let position = link.mark.position.clone();
        self.link = Some(link);
        Ok(SinkOpened { position })
    }

    async fn write(&mut self, input: SinkInput, position: &Position) -> Result<()> {
        let SinkInput::Rows(rows) = input else {
            return Err(Error::internal("a kafka sink on a stream was given changes of a view"));
        };
        let (mut link, encoder) = (self.link.take().ok_or_else(not_open)?, self.encoder.clone());
        self.sent += rows.num_rows();
        let since = self.waiting.take().map_or_else(time::instant, |(_, since)| since);
        self.waiting = Some((position.clone(), since));
        self.link = Some(blocking(move || send(&mut link, &encoder, &rows).map(|()| link)).await?);
        if self.sent >= TRANSACTION_ROWS_MAX {
            self.commit(position).await?;
        }
        Ok(())
    }

    fn flush_due(&self) -> Option<Duration> {
        let (_, since) = self.waiting.as_ref()?;
        Some(self.options.commit_interval.saturating_sub(since.elapsed()))
    }

    async fn flush(&mut self) -> Result<Option<Position>> {
        let Some((position, _)) = self.waiting.clone() else { return Ok(None) };
        self.commit(&position).await?;
        Ok(Some(position))
    }

    async fn checkpoint(&mut self, _epoch: Epoch, position: &Position, force: bool) -> Result<Option<Position>> {
        // Nothing waits: all up to here is visible.
        let Some(due) = self.flush_due() else { return Ok(Some(position.clone())) };
        if !force && !due.is_zero() {
            return Ok(None);
        }
        self.commit(position).await?;
        Ok(Some(position.clone()))
    }
}

fn send(link: &mut Link, encoder: &Encoder, rows: &RecordBatch) -> Result<()> {
    let options = Arc::clone(&link.options);
    for row in 0..rows.num_rows() {
        let (key, value) = (encoder.key(rows, &options.key, row)?, encoder.value(rows, row)?);
        let timestamp_ms = time_ms(rows, options.time_column, row);
        link.send(&Outgoing {
            topic: &options.topic,
            key: key.as_deref(),
            value: Some(&value),
            timestamp_ms,
            headers: &[],
        })?;
    }
    Ok(())
}
