//! The words and traits shared by every connector and by the engine.
//!
//! A *source* gives records, split by split; a *decoder* turns records into rows; a *sink* takes
//! rows or changes out. The engine in `sql/stream` sees nothing but these traits; a connector
//! sees nothing but this crate. Only the server names concrete connectors.
//!
//! ```text
//! Source -> SourceReader -> Records -> Decoder -> Decoded (RecordBatch + rejected records)
//!                                                   |                |
//!                                                 Sink        DeadLetterWriter
//! ```

mod alert;
pub mod csv;
mod dead_letter;
mod decode;
mod error;
mod ids;
pub mod json;
pub mod numeric;
mod options;
mod record;
mod registry;
mod sink;
mod source;
pub mod text;
pub mod time;

pub use alert::{AlertEvent, AlertStatus, Notifier, NotifierContext};
pub use dead_letter::{DeadLetter, DeadLetterWriter};
pub use decode::{DecodeSpec, Decoded, Decoder, Delete, Rejected, Wanted};
pub use error::{Blame, Error, Result, Retry, chain};
pub use ids::{Epoch, EventTime, Offset, Position, SplitId};
pub use options::{Options, parse_duration, parse_size};
pub use record::{ByteColumn, Headers, Records};
pub use registry::{ConnectorRegistry, SourceContext};
pub use sink::{ChangeBatch, LeftOut, Sink, SinkContext, SinkInput, SinkOpened, SinkPartition};
pub use source::{Source, SourceReader, SplitBounds, SplitState, SplitStatus};
