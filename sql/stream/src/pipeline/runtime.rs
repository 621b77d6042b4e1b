//! What the loop of a stream shares with whoever else reads it: catch-ups, `SELECT`s, `FLUSH`.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicBool},
};

use ebap_connector::{
    ConnectorRegistry, DeadLetter, DeadLetterWriter, DecodeSpec, Decoder, Options, Position, Source, SourceContext,
    SplitId, Wanted, time::Clock,
};
use ebap_sql::{SourceKind, SourcePlan};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::gaps::Gaps;
use super::group::{GroupDecoder, GroupSource, Member, member_of};
use crate::{
    EngineConfig, Error, Result,
    catch_up::CatchUpTurns,
    late_log::LateLog,
    prepare::{Preparers, RowPreparer},
    status::Status,
};

/// Shared by all pipelines of an engine.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    /// See `SourceRuntime::gate`.
    pub(crate) gate: Arc<RwLock<()>>,
    pub(crate) turns: Arc<CatchUpTurns>,
}

pub(crate) struct SourceRuntime {
    /// Of a group a plan that stands for it, without columns.
    pub(crate) plan: Arc<SourcePlan>,
    /// Streams and tables of a group; empty where there is one.
    pub(crate) members: Vec<Arc<SourcePlan>>,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) connectors: Arc<dyn ConnectorRegistry>,
    pub(crate) context: SourceContext,
    pub(crate) config: EngineConfig,
    pub(crate) clock: Arc<dyn Clock>,
    /// Held shared while a step brings views up to date; alone by whoever wants several of them at one step.
    pub(crate) gate: Arc<RwLock<()>>,
    pub(crate) turns: Arc<CatchUpTurns>,
    pub(crate) late_log: RwLock<LateLog>,
    /// Where each split was read from first.
    pub(crate) start: RwLock<Position>,
    /// The position behind the last step.
    pub(crate) published: watch::Sender<Position>,
    /// The newest rejected records.
    pub(crate) dead_letters: Mutex<VecDeque<DeadLetter>>,
    pub(crate) status: Status,
    /// For readers of the stream, where another process runs it.
    pub(crate) elsewhere: RwLock<Option<Error>>,
    /// It has stopped, as what it was to read next is not there any more.
    pub(crate) gone: AtomicBool,
    /// Records that were passed over.
    pub(crate) gaps: RwLock<Gaps>,
}

impl SourceRuntime {
    pub(crate) fn new(
        plan: Arc<SourcePlan>,
        connectors: Arc<dyn ConnectorRegistry>,
        config: EngineConfig,
        shared: Shared,
    ) -> Result<Self> {
        let context = context_of(&plan);
        let source = connectors.source(&context)?;
        Ok(Self::over(plan, Vec::new(), source, context, (connectors, config), shared))
    }

    /// Several read as one.
    pub(crate) fn group(
        plan: Arc<SourcePlan>,
        members: Vec<Arc<SourcePlan>>,
        connectors: Arc<dyn ConnectorRegistry>,
        config: EngineConfig,
        shared: Shared,
    ) -> Result<Self> {
        let member = |plan: &Arc<SourcePlan>| -> Result<Member> {
            let source = connectors.source(&context_of(plan))?;
            Ok(Member { source, is_table: plan.kind == SourceKind::Table })
        };
        let sources = members.iter().map(member).collect::<Result<Vec<_>>>()?;
        let context = context_of(&plan);
        let source = Arc::new(GroupSource(Arc::new(sources)));
        Ok(Self::over(plan, members, source, context, (connectors, config), shared))
    }

    fn over(
        plan: Arc<SourcePlan>,
        members: Vec<Arc<SourcePlan>>,
        source: Arc<dyn Source>,
        context: SourceContext,
        (connectors, config): (Arc<dyn ConnectorRegistry>, EngineConfig),
        shared: Shared,
    ) -> Self {
        let Shared { clock, gate, turns } = shared;
        Self {
            plan,
            members,
            source,
            connectors,
            context,
            config,
            clock,
            gate,
            turns,
            late_log: RwLock::default(),
            start: RwLock::default(),
            published: watch::Sender::new(Position::default()),
            dead_letters: Mutex::default(),
            status: Status::default(),
            elsewhere: RwLock::default(),
            gone: AtomicBool::new(false),
            gaps: RwLock::default(),
        }
    }

    /// # Errors
    /// 55000 where another process runs the stream: what was late, and what was rejected, is known there.
    pub(crate) fn refuse_elsewhere(&self) -> Result<()> {
        self.elsewhere.read().clone().map_or(Ok(()), Err)
    }

    /// As `ebap.jobs` calls it.
    pub(crate) fn kind(&self) -> &'static str {
        if self.members.is_empty() { super::kind_text(self.plan.kind) } else { "join" }
    }

    /// Whether the split moves the watermark, and holds it back.
    pub(crate) fn has_event_time(&self, split: &SplitId) -> bool {
        self.members.is_empty() || self.members[member_of(split).0].watermark.is_some()
    }

    /// Whether anything moves the watermark.
    pub(crate) fn is_timed(&self) -> bool {
        self.plans().iter().any(|plan| plan.watermark.is_some())
    }

    /// The streams and tables that are read.
    pub(crate) fn plans(&self) -> &[Arc<SourcePlan>] {
        if self.members.is_empty() { std::slice::from_ref(&self.plan) } else { &self.members }
    }

    /// Of each of `plans` all columns.
    pub(crate) fn everything(&self) -> Vec<Wanted> {
        vec![Wanted::All; self.plans().len()]
    }

    /// Makes the columns that are wanted of each of `plans`; checks all of them.
    pub(crate) fn decoder(&self, wanted: &[Wanted]) -> Result<Box<dyn Decoder>> {
        let one = |plan: &SourcePlan, wanted: &Wanted| {
            let options = Options(plan.options.clone());
            let format = options.get("format").unwrap_or("json").to_owned();
            let schema = Arc::clone(&plan.decoded);
            let (key, wanted) = (plan.decoded_key(), wanted.clone());
            self.connectors.decoder(&DecodeSpec { format, schema, key, options, wanted })
        };
        if let ([], [wanted]) = (self.members.as_slice(), wanted) {
            return Ok(one(&self.plan, wanted)?);
        }
        let each = self.members.iter().zip(wanted).map(|(plan, wanted)| one(plan, wanted));
        Ok(Box::new(GroupDecoder(each.collect::<Result<_, ebap_connector::Error>>()?)))
    }

    /// For what such a decoder gives.
    pub(crate) fn preparer(&self, wanted: &[Wanted]) -> Result<Preparers> {
        if let ([], [wanted]) = (self.members.as_slice(), wanted) {
            return Ok(Preparers::One(Box::new(RowPreparer::new(Arc::clone(&self.plan), wanted)?)));
        }
        let each = self.members.iter().zip(wanted).map(|(plan, wanted)| RowPreparer::new(Arc::clone(plan), wanted));
        Ok(Preparers::Group(each.collect::<Result<_>>()?))
    }

    pub(crate) fn dead_letter_writer(&self) -> Result<Option<Box<dyn DeadLetterWriter>>> {
        // The pipeline of each member has written them.
        Ok(if self.members.is_empty() { self.connectors.dead_letters(&self.context)? } else { None })
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

fn context_of(plan: &SourcePlan) -> SourceContext {
    SourceContext {
        name: plan.name.clone(),
        id: plan.name_outside.clone(),
        connector: plan.connector.clone(),
        schema: Arc::clone(&plan.decoded),
        options: Options(plan.options.clone()),
    }
}
