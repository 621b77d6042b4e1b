//! The simulated connectors by name, as the engine asks for them.

use std::sync::Arc;

use ebap_connector::{
    ConnectorRegistry, DeadLetterWriter, DecodeSpec, Decoder, Notifier, NotifierContext, Result, Sink, SinkContext,
    Source, SourceContext,
};

use super::{
    cases::RECEIVERS,
    receivers::Receiver,
    sinks::{RowsSink, SimDeadLetters, ViewSink},
    source::SimSource,
    topic::TopicSink,
    world::Process,
};
use crate::testing::connectors::JsonLines;

#[derive(Debug)]
pub(super) struct SimConnectors(pub(super) Arc<Process>);

impl ConnectorRegistry for SimConnectors {
    fn source(&self, context: &SourceContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(SimSource { process: Arc::clone(&self.0), name: context.name.clone() }))
    }

    fn decoder(&self, spec: &DecodeSpec) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(JsonLines(spec.clone())))
    }

    fn dead_letters(&self, context: &SourceContext) -> Result<Option<Box<dyn DeadLetterWriter>>> {
        let kept = context.name == "events";
        Ok(kept.then(|| Box::new(SimDeadLetters::new(Arc::clone(&self.0))) as Box<dyn DeadLetterWriter>))
    }

    fn notifiers(&self, _: &NotifierContext) -> Result<Vec<Box<dyn Notifier>>> {
        Ok(RECEIVERS.iter().map(|name| Box::new(Receiver::new(&self.0, name)) as Box<dyn Notifier>).collect())
    }

    fn sink(&self, _: &str, context: &SinkContext) -> Result<Box<dyn Sink>> {
        let process = Arc::clone(&self.0);
        Ok(match context.on_view {
            true if context.options.get("keeps").is_some() => Box::new(TopicSink::new(process, context)),
            true => Box::new(ViewSink::new(process, context)),
            false => Box::new(RowsSink::new(process, context)),
        })
    }
}
