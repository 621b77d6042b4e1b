//! Decoding: ours beside `arrow-json`, on the same records in the same run.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::Arc,
};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use criterion::{Criterion, criterion_group, criterion_main};
use ebap_bench_micro::{CpuTime, ROWS, events, events_schema, throughput, wide, wide_schema};
use ebap_connector::{DecodeSpec, Decoder, Offset, Options, Records, SplitId, Wanted};

fn ours(schema: SchemaRef, wanted: Wanted) -> Box<dyn Decoder> {
    decoder("json", schema, wanted)
}

fn decoder(format: &str, schema: SchemaRef, wanted: Wanted) -> Box<dyn Decoder> {
    let spec = DecodeSpec { format: format.to_owned(), schema, key: Vec::new(), options: Options::default(), wanted };
    ebap_format::decoder(&spec).expect("the format takes these columns")
}

/// What is wanted by paths; all without any.
fn bench_ours(
    criterion: &mut Criterion<CpuTime>,
    (group, name): (&str, &str),
    records: &Records,
    schema: SchemaRef,
    paths: &[&[&str]],
) {
    let mut wanted = if paths.is_empty() { Wanted::All } else { Wanted::nothing() };
    paths.iter().for_each(|path| wanted.add(path.iter().copied()));
    let mut decoder = ours(schema, wanted);
    let mut group = criterion.benchmark_group(group);
    group.throughput(throughput()).bench_function(name, |bencher| {
        bencher.iter(|| {
            let decoded = decoder.decode(records).expect("data never fails the call");
            assert_eq!(decoded.rows.len(), records.len());
            decoded
        });
    });
}

/// As DataFusion's users do it: the records one after another into one decoder, then a flush.
fn bench_arrow(criterion: &mut Criterion<CpuTime>, group: &str, name: &str, records: &Records, schema: SchemaRef) {
    let builder = arrow_json::ReaderBuilder::new(schema).with_batch_size(records.len());
    let mut decoder = builder.build_decoder().expect("arrow-json takes the schema");
    let mut group = criterion.benchmark_group(group);
    group.throughput(throughput()).bench_function(name, |bencher| {
        bencher.iter(|| {
            for at in 0..records.len() {
                decoder.decode(records.values.get(at).unwrap_or_default()).expect("the records are JSON");
            }
            decoder.flush().expect("the records fit").expect("there are rows")
        });
    });
}

/// The four that a count and a sum by platform and action need.
fn needed(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().filter_map(|field| match (field.name().as_str(), field.data_type()) {
        ("action" | "timestamp", _) => Some(Arc::clone(field)),
        (_, DataType::Struct(fields)) => {
            let kept: Fields = fields
                .iter()
                .filter(|field| ["amount", "platform"].contains(&field.name().as_str()))
                .cloned()
                .collect();
            Some(Arc::new(Field::new(field.name(), DataType::Struct(kept), true)))
        }
        _ => None,
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn decode(criterion: &mut Criterion<CpuTime>) {
    let (records, schema) = (events(), events_schema());
    let four: [&[&str]; 4] = [&["action"], &["metadata", "amount"], &["metadata", "platform"], &["timestamp"]];
    bench_ours(criterion, ("events", "ours, all columns"), &records, Arc::clone(&schema), &[]);
    bench_ours(criterion, ("events", "ours, four wanted, all checked"), &records, Arc::clone(&schema), &four);
    bench_ours(criterion, ("events", "ours, four declared"), &records, needed(&schema), &[]);
    bench_arrow(criterion, "events", "arrow-json, all columns", &records, Arc::clone(&schema));
    bench_arrow(criterion, "events", "arrow-json, four declared", &records, needed(&schema));

    bench_avro(criterion, "events", &records, Arc::clone(&schema));

    let records = wide();
    let tenth = || wide_schema(|column| column % 10 == 0);
    let three: [&[&str]; 3] = [&["c00"], &["c10"], &["c20"]];
    bench_ours(criterion, ("wide", "ours, 30 columns"), &records, wide_schema(|_| true), &[]);
    bench_ours(criterion, ("wide", "ours, 3 of 30 wanted, all checked"), &records, wide_schema(|_| true), &three);
    bench_ours(criterion, ("wide", "ours, 3 declared"), &records, tenth(), &[]);
    bench_avro(criterion, "wide", &records, wide_schema(|_| true));
    bench_arrow(criterion, "wide", "arrow-json, 30 columns", &records, wide_schema(|_| true));
    bench_arrow(criterion, "wide", "arrow-json, 3 declared", &records, tenth());
}

/// Records of times in the forms that producers write, one form each.
fn bench_times(criterion: &mut Criterion<CpuTime>) {
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("at", zoned, false)]));
    for (name, at) in [
        ("times, ISO with Z", "\"2026-01-01T00:00:00.123Z\""),
        ("times, ISO with a space and an offset", "\"2026-01-01 00:00:00.123+00\""),
        ("times, milliseconds", "1767225600123"),
    ] {
        let mut records = Records::new(SplitId::new("0"), 0, Offset(0));
        for row in 0..ROWS as i64 {
            records.push(row, -1, None, Some(format!("{{\"id\":{row},\"at\":{at}}}").as_bytes()));
        }
        bench_ours(criterion, ("times", name), &records, Arc::clone(&schema), &[]);
    }
}

/// The wide records as CSV, one field in ten in quotes.
fn bench_csv(criterion: &mut Criterion<CpuTime>) {
    let schema = wide_schema(|_| true);
    let mut records = Records::new(SplitId::new("0"), 0, Offset(0));
    for row in 0..ROWS as i64 {
        let field = |column: i64| match column % 3 {
            0 => (row * 31 + column).to_string(),
            1 => format!("{}.{column:02}", row % 1_000),
            _ if column % 10 == 5 => format!("\"value {} of {column}\"", row % 100),
            _ => format!("value {} of {column}", row % 100),
        };
        records.push(row, -1, None, Some((0..30).map(field).collect::<Vec<_>>().join(",").as_bytes()));
    }
    let mut decoder = decoder("csv", schema, Wanted::All);
    let mut group = criterion.benchmark_group("wide");
    group.throughput(throughput()).bench_function("ours, CSV, 30 columns", |bencher| {
        bencher.iter(|| {
            let decoded = decoder.decode(&records).expect("data never fails the call");
            assert_eq!(decoded.rows.len(), records.len());
            decoded
        });
    });
}

/// A registry that has one schema, whatever it is asked for.
fn registry(schema: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let body = format!("{{\"schema\":{}}}", json_text(schema));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(stream.try_clone().expect("the same connection")).lines();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).expect("it is read");
        }
    });
    address
}

fn json_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The rows of these records as Avro in the wire format, and the schema they are written by.
fn in_avro(records: &Records, schema: SchemaRef) -> (Records, String) {
    use arrow_avro::{
        schema::{AvroSchema, FingerprintStrategy},
        writer::{WriterBuilder, format::AvroSoeFormat},
    };
    let rows: RecordBatch = ours(schema, Wanted::All).decode(records).expect("data never fails the call").batch;
    let text = AvroSchema::try_from(rows.schema().as_ref()).expect("Avro has these types").json_string;
    let builder = WriterBuilder::new(rows.schema().as_ref().clone());
    let builder = builder.with_fingerprint_strategy(FingerprintStrategy::Id(1));
    let mut encoder = builder.build_encoder::<AvroSoeFormat>().expect("an encoder");
    encoder.encode(&rows).expect("the rows fit");
    let mut all = Records::new(records.split.clone(), records.partition, records.next_offset);
    for (at, row) in encoder.flush().iter().enumerate() {
        all.push(at as i64, -1, None, Some(&row));
    }
    (all, text)
}

fn bench_avro(criterion: &mut Criterion<CpuTime>, group: &str, records: &Records, schema: SchemaRef) {
    let (records, text) = in_avro(records, Arc::clone(&schema));
    let mut options = Options::default();
    options.set("schema_registry", registry(&text));
    let spec = DecodeSpec { format: "avro".to_owned(), schema, key: Vec::new(), options, wanted: Wanted::All };
    let mut decoder = ebap_format::decoder(&spec).expect("Avro takes these columns");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = criterion.benchmark_group(group);
    group.throughput(throughput()).bench_function("ours, Avro, all columns", |bencher| {
        bencher.iter(|| {
            runtime.block_on(decoder.prepare(&[&records])).expect("the registry answers");
            let decoded = decoder.decode(&records).expect("data never fails the call");
            assert_eq!(decoded.rows.len(), records.len());
            decoded
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = decode, bench_times, bench_csv
}
criterion_main!(benches);
