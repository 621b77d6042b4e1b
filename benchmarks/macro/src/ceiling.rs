//! What consuming alone costs, and consuming and decoding: the bounds that every engine stands under.
//!
//! One thread, beside the threads of the client library. The decoder is arrow-json with the four
//! columns that t1 needs; a faster decoder may well go above that line.

use std::sync::Arc;

use anyhow::Context;
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
};
use arrow_json::{ReaderBuilder, reader::Decoder};
use serde_json::json;

use crate::{
    bench::Bench,
    consumer::Pass,
    meter::{Meter, merge},
    topic,
};

const BATCH_ROWS: usize = 8_192;

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let (rows, topic) = (topic::ensure_events(bench).await?, &bench.args.topic);
    for run in 1..=bench.args.runs {
        for decode in [false, true] {
            let pass = Pass::open(&bench.bootstrap, topic)?;
            let meter = Meter::start(std::process::id(), bench.broker);
            let mut bytes = 0;
            let read = if decode {
                let mut decoder = JsonDecoder::new(needed_by_t1())?;
                let read = pass.read(|value| decoder.push(value, drop))?;
                decoder.finish(drop)?;
                read
            } else {
                pass.read(|value| {
                    bytes += value.len();
                    Ok(())
                })?
            };
            let figures = meter.finish()?.json(read);
            let more = json!({ "run": run, "topic_rows": rows, "bytes": (!decode).then_some(bytes) });
            let engine = if decode { "plain consumer and arrow-json" } else { "plain consumer" };
            bench.report(engine, "ceiling", merge(figures, more))?;
        }
    }
    Ok(())
}

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn timestamp() -> Field {
    field("timestamp", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())))
}

fn metadata() -> Field {
    let inner = vec![field("amount", DataType::Float64), field("region", DataType::Utf8)];
    field("metadata", DataType::Struct(Fields::from(inner)))
}

fn needed_by_t1() -> SchemaRef {
    Arc::new(Schema::new(vec![field("action", DataType::Utf8), metadata(), timestamp()]))
}

/// For the batch answers: what t1, t3 and d1 need.
pub(crate) fn needed_by_all() -> SchemaRef {
    let fields = vec![field("user_id", DataType::Utf8), field("action", DataType::Utf8), metadata(), timestamp()];
    Arc::new(Schema::new(fields))
}

/// Values one after the other, batches out.
pub(crate) struct JsonDecoder {
    decoder: Decoder,
    rows: usize,
}

impl JsonDecoder {
    pub(crate) fn new(schema: SchemaRef) -> anyhow::Result<Self> {
        let decoder = ReaderBuilder::new(schema).with_batch_size(BATCH_ROWS).build_decoder().context("a decoder")?;
        Ok(Self { decoder, rows: 0 })
    }

    pub(crate) fn push(&mut self, value: &[u8], take: impl FnMut(RecordBatch)) -> anyhow::Result<()> {
        self.decoder.decode(value).context("decode")?;
        self.rows += 1;
        if self.rows == BATCH_ROWS { self.finish(take) } else { Ok(()) }
    }

    pub(crate) fn finish(&mut self, mut take: impl FnMut(RecordBatch)) -> anyhow::Result<()> {
        self.rows = 0;
        if let Some(batch) = self.decoder.flush().context("decode")? {
            take(batch);
        }
        Ok(())
    }
}
