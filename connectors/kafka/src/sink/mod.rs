//! A topic as a sink: one transactional producer for each, and a mark beside its rows of what it has written.
//!
//! ```text
//! options    what the user wrote                     rows       of a stream: sent as they come
//! link       the producer and the mark, `open`       finals     of a view whose rows do not change: once, by window
//! scan       a topic as a reader of it sees it       upserts    of any view: what differs from what the topic has
//!                                                    encode     rows as bytes; avro: by the schemas of a registry
//! ```
//!
//! # Invariants
//! - Whatever is outside was committed in a transaction that holds its mark. What a crash leaves open is aborted when the
//!   sink is opened again, or by the broker after `transaction.timeout.ms`.
//! - Of a view only what is in a durable epoch is sent: no crash can undo a record, and none is sent to be taken back.
//!   What waits until then are places in batches of the view, so no more rows than it has and those that went meanwhile.

mod avro;
mod encode;
mod finals;
mod link;
mod options;
mod rows;
mod scan;
mod upserts;

use std::sync::Arc;

use ebap_connector::{Result, Sink, SinkContext};

use avro::AvroEncoder;
use encode::Encoder;
use options::{Format, Kind, SinkOptions};

/// Rows of one transaction, about at the most: it is to end long before it times out.
const TRANSACTION_ROWS_MAX: usize = 200_000;

/// # Errors
/// `Option` and `Schema` for whatever the user wrote that cannot work; nothing is contacted before `open`.
pub fn sink(context: &SinkContext) -> Result<Box<dyn Sink>> {
    let options = Arc::new(SinkOptions::parse(context)?);
    let encoder = match options.format {
        Format::Json => Encoder::Json,
        Format::Avro => Encoder::Avro(Arc::new(AvroEncoder::new(context, &options)?)),
    };
    Ok(match options.kind {
        Kind::Row => Box::new(rows::RowSink::new(options, encoder)),
        Kind::Final { window_end } => Box::new(finals::FinalSink::new(options, encoder, window_end)),
        Kind::Upsert => Box::new(upserts::UpsertSink::new(options, encoder)),
    })
}
