//! What the loop of a stream shares with whoever else reads it: catch-ups, `SELECT`s, `FLUSH`.

use std::{collections::VecDeque, sync::Arc};

use ebap_connector::{
    ConnectorRegistry, DeadLetter, DeadLetterWriter, DecodeSpec, Decoder, Options, Position, Source, SourceContext,
    Wanted, time::Clock,
};
use ebap_sql::SourcePlan;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::{EngineConfig, Result, late_log::LateLog, prepare::RowPreparer, status::Status};

pub(crate) struct SourceRuntime {
    pub(crate) plan: Arc<SourcePlan>,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) connectors: Arc<dyn ConnectorRegistry>,
    pub(crate) context: SourceContext,
    pub(crate) config: EngineConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) late_log: RwLock<LateLog>,
    /// Where each split was read from first.
    pub(crate) start: RwLock<Position>,
    /// The position behind the last step.
    pub(crate) published: watch::Sender<Position>,
    /// The newest rejected records.
    pub(crate) dead_letters: Mutex<VecDeque<DeadLetter>>,
    pub(crate) status: Status,
}

impl SourceRuntime {
    pub(crate) fn new(
        plan: Arc<SourcePlan>,
        connectors: Arc<dyn ConnectorRegistry>,
        config: EngineConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let context = SourceContext {
            name: plan.name.clone(),
            connector: plan.connector.clone(),
            schema: Arc::clone(&plan.decoded),
            options: Options(plan.options.clone()),
        };
        let source = connectors.source(&context)?;
        Ok(Self {
            plan,
            source,
            connectors,
            context,
            config,
            clock,
            late_log: RwLock::default(),
            start: RwLock::default(),
            published: watch::Sender::new(Position::default()),
            dead_letters: Mutex::default(),
            status: Status::default(),
        })
    }

    /// Makes the columns that are wanted; checks all of them.
    pub(crate) fn decoder(&self, wanted: &Wanted) -> Result<Box<dyn Decoder>> {
        let format = self.context.options.get("format").unwrap_or("json").to_owned();
        let (schema, options) = (Arc::clone(&self.plan.decoded), self.context.options.clone());
        let spec = DecodeSpec { format, schema, options, wanted: wanted.clone() };
        Ok(self.connectors.decoder(&spec)?)
    }

    /// For what such a decoder gives.
    pub(crate) fn preparer(&self, wanted: &Wanted) -> Result<RowPreparer> {
        RowPreparer::new(Arc::clone(&self.plan), wanted)
    }

    pub(crate) fn dead_letter_writer(&self) -> Result<Option<Box<dyn DeadLetterWriter>>> {
        Ok(self.connectors.dead_letters(&self.context)?)
    }

    /// Where reading all of the stream again starts: its start, or what the source still holds.
    pub(crate) async fn first_position(&self) -> Result<Position> {
        let mut first = Position::default();
        for split in self.source.splits().await? {
            let bounds = self.source.bounds(&split).await?;
            let known = self.start.read().get(&split);
            let start = match known {
                Some(start) => start,
                None => self.source.start(&split, false).await?,
            };
            first.set(split, start.max(bounds.earliest));
        }
        Ok(first)
    }

    /// The end of every split now.
    pub(crate) async fn end_position(&self) -> Result<Position> {
        let mut end = Position::default();
        for split in self.source.splits().await? {
            let bounds = self.source.bounds(&split).await?;
            end.set(split, bounds.end);
        }
        Ok(end)
    }
}
