//! The seam through which the engine gets connectors without knowing them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::{
    DeadLetterWriter, DecodeSpec, Decoder, Notifier, NotifierContext, Options, Result, Sink, SinkContext, Source,
};

/// What a source is built from.
#[derive(Clone, Debug)]
pub struct SourceContext {
    /// Name of the stream or table.
    pub name: String,
    /// No other stream or table has it, of this server or another one.
    pub id: String,
    /// Value of the option `connector`, or the kind of the connection.
    pub connector: String,
    /// The declared columns that are not computed.
    pub schema: SchemaRef,
    /// `WITH` options, those of the connection merged in, secrets resolved.
    pub options: Options,
}

/// Builds connectors by name. Building parses options and connects to nothing.
///
/// # Errors
/// `Option` for an unknown connector, an unknown option or a bad value.
pub trait ConnectorRegistry: Send + Sync {
    fn source(&self, context: &SourceContext) -> Result<Arc<dyn Source>>;
    fn decoder(&self, spec: &DecodeSpec) -> Result<Box<dyn Decoder>>;
    /// `None` where the stream has no `dead_letter_topic`.
    fn dead_letters(&self, context: &SourceContext) -> Result<Option<Box<dyn DeadLetterWriter>>>;
    fn sink(&self, connector: &str, context: &SinkContext) -> Result<Box<dyn Sink>>;
    /// One for each place that the options of an alert name; none where they name none.
    fn notifiers(&self, context: &NotifierContext) -> Result<Vec<Box<dyn Notifier>>>;
}
