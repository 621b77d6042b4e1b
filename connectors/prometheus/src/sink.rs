//! The sink itself: rows into samples, samples into requests, and what becomes of one that is refused.

use async_trait::async_trait;
use ebap_connector::{
    ChangeBatch, Epoch, Error, LeftOut, Position, Result, Sink, SinkContext, SinkInput, SinkOpened, time,
};

use crate::{
    client::{Answer, Writer},
    columns::Columns,
    names::{self, Labels},
    options::{self, Bounds, KNOWN_OPTIONS, Receiver},
    samples::{self, SameTime, Samples},
};

/// # Errors
/// `Option` for whatever the user wrote that cannot work; nothing is contacted before `open`.
pub fn sink(context: &SinkContext) -> Result<Box<dyn Sink>> {
    context.options.only(KNOWN_OPTIONS, &[])?;
    if !context.partitions.is_empty() {
        return Err(Error::option("connector", "a prometheus sink has no PARTITIONED BY: labels tell series apart"));
    }
    let writer = Writer::new(Receiver::parse(&context.options)?)?;
    Ok(Box::new(PrometheusSink {
        name: context.name.clone(),
        columns: Columns::resolve(context)?,
        external: options::external_labels(&context.options)?,
        bounds: Bounds::parse(&context.options)?,
        writer,
        pending: Samples::default(),
        not_before_ms: i64::MIN,
        left_out: LeftOut::default(),
    }))
}

struct PrometheusSink {
    name: String,
    columns: Columns,
    external: Labels,
    bounds: Bounds,
    writer: Writer,
    /// At the most what one request holds. It goes out at each checkpoint, about once a second: rows of several
    /// splits are in time order then that would be out of order one by one.
    pending: Samples,
    /// No sample that is timed by writing is older: what was sent before has all times below, and a clock may be set
    /// back.
    not_before_ms: i64,
    left_out: LeftOut,
}

#[async_trait]
impl Sink for PrometheusSink {
    async fn open(&mut self) -> Result<SinkOpened> {
        self.pending.clear();
        // A request without samples says whether somebody is there who lets us write. One may call it empty.
        self.writer.send(Vec::new()).await?;
        Ok(SinkOpened::default())
    }

    async fn write(&mut self, input: SinkInput, _position: &Position) -> Result<()> {
        let batch = match input {
            SinkInput::Rows(rows) => rows,
            // Samples are never taken back: what a row was at its time, it was.
            SinkInput::Changes(ChangeBatch { inserts, .. }) => inserts,
        };
        self.not_before_ms = self.not_before_ms.max(time::now_us().div_euclid(1_000));
        let rows = self.columns.rows(&batch, self.not_before_ms)?;
        for row in 0..batch.num_rows() {
            let labels = rows.labels(row);
            for sample in rows.samples(row) {
                let Some((metric, timestamp, value)) = sample else {
                    self.left_out.skipped += 1;
                    continue;
                };
                let labels = names::series(metric, labels.iter().cloned(), &self.external);
                self.pending.push(labels, timestamp, value);
            }
            if self.pending.len() >= self.bounds.samples || self.pending.bytes() >= self.bounds.bytes {
                self.send().await?;
            }
        }
        Ok(())
    }

    async fn checkpoint(&mut self, _epoch: Epoch, position: &Position, _force: bool) -> Result<Option<Position>> {
        self.send().await?;
        Ok(Some(position.clone()))
    }

    fn holds_position(&self) -> bool {
        false
    }

    fn take_left_out(&mut self) -> LeftOut {
        std::mem::take(&mut self.left_out)
    }
}

impl PrometheusSink {
    /// Sends what waits. A request that is refused is sent again in halves, the older samples of a series first,
    /// until what is refused is alone: the others go in.
    async fn send(&mut self) -> Result<()> {
        let by_writing = self.columns.is_timed_by_writing();
        let (series, conflicts) =
            self.pending.take(if by_writing { SameTime::LastStays } else { SameTime::FirstStays });
        self.not_before_ms = self.not_before_ms.saturating_add(1);
        let (mut refused, mut reason) = (conflicts, None);
        if conflicts > 0 {
            reason = Some("another value at the same time".to_owned());
        }
        let mut parts = vec![series];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let (answer, mut part) = self.writer.send(part).await?;
            let Answer::Refused(message) = answer else { continue };
            match samples::split(&mut part) {
                Some(latter) => parts.extend([latter, part]),
                None => {
                    refused += samples::count(&part);
                    reason = Some(message);
                }
            }
        }
        if let Some(reason) = reason {
            self.left_out.refused += refused;
            let (sink, system) = (&self.name, self.writer.system());
            tracing::warn!(sink, system, refused, reason, "samples are refused and left out");
        }
        Ok(())
    }
}
