//! What somebody who asks Prometheus sees of rows, against a real server on its own port.

mod receiver;

use std::{path::PathBuf, process::Command, sync::Arc, sync::OnceLock};

use arrow::{
    array::{
        ArrayRef, Float64Array, Int64Array, MapBuilder, RecordBatch, StringArray, StringBuilder,
        TimestampMillisecondArray,
    },
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use ebap_connector::{
    ChangeBatch, Epoch, Error, LeftOut, Offset, Options, Position, Sink, SinkContext, SinkInput, SplitId, time,
};
use receiver::Receiver;
use serde_json::Value;

const PORT: u16 = 19_390;
/// Of the server that is stopped in between; nobody else asks it.
const OTHER_PORT: u16 = 19_391;

fn stack(port: u16, command: &str) {
    // What cargo says now: a build cache may be shared by clones, and the path of another be compiled in.
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").to_owned());
    let default = PathBuf::from(here).join("../../tests/stack");
    let stack = std::env::var_os("EBAP_STACK_DIR").map_or(default, PathBuf::from);
    let script = stack.join("prometheus.sh");
    let done = Command::new(script).arg(command).env("PROMETHEUS_PORT", port.to_string()).status();
    assert!(done.expect("tests/stack/prometheus.sh runs").success(), "prometheus: {command}");
}

/// Starts the server once per process; starting it again finds it running.
fn server() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| stack(PORT, "start"));
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/api/v1/write")
}

/// A stream of metrics, as EBAP's own is.
fn context(url: &str, options: &[(&str, &str)]) -> SinkContext {
    let schema = rows(&[]).schema();
    let mut with = Options::default();
    with.set("url", url);
    for (name, value) in options {
        with.set(*name, *value);
    }
    SinkContext {
        name: "out".to_owned(),
        id: "7".to_owned(),
        schema,
        upsert_key: Vec::new(),
        on_view: false,
        on_close: false,
        time_column: Some(3),
        partitions: Vec::new(),
        options: with,
        incarnation: 1,
        first_version: 0,
    }
}

fn sink(context: &SinkContext) -> Box<dyn Sink> {
    ebap_prometheus::sink(context).expect("a sink")
}

async fn opened(context: &SinkContext) -> Box<dyn Sink> {
    let mut sink = sink(context);
    assert_eq!(sink.open().await.expect("open").position, None, "a receiver holds no position");
    assert!(!sink.holds_position());
    sink
}

/// Name, value, host, milliseconds.
type Row<'a> = (&'a str, Option<f64>, &'a str, i64);

fn rows(rows: &[Row<'_>]) -> RecordBatch {
    let mut labels = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (_, _, host, _) in rows {
        labels.keys().append_value("host.name");
        labels.values().append_value(host);
        labels.append(true).expect("a map");
    }
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.3)).with_timezone("+00:00");
    let columns: [(&str, ArrayRef); 4] = [
        ("name", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)))),
        ("value", Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>())),
        ("labels", Arc::new(labels.finish())),
        ("timestamp", Arc::new(times)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).expect("a batch")
}

fn position(end: i64) -> Position {
    let mut position = Position::default();
    position.set(SplitId::new("0"), Offset(end));
    position
}

async fn written(sink: &mut dyn Sink, batch: RecordBatch) -> Result<Option<Position>, Error> {
    let position = position(batch.num_rows() as i64);
    sink.write(SinkInput::Rows(batch), &position).await?;
    sink.checkpoint(Epoch(1), &position, false).await
}

async fn ask(port: u16, query: &str) -> Value {
    let url = format!("http://127.0.0.1:{port}/api/v1/query");
    let answer = reqwest::Client::new().get(url).query(&[("query", query)]).send().await.expect("an answer");
    let answer: Value = serde_json::from_str(&answer.text().await.expect("text")).expect("JSON");
    assert_eq!(answer["status"], "success", "{answer}");
    answer["data"]["result"].clone()
}

/// Labels of each series but its name, and its samples of the last hour: milliseconds and value.
async fn series(port: u16, metric: &str) -> Vec<(Value, Vec<(i64, String)>)> {
    let answer = ask(port, &format!("{metric}[1h]")).await;
    let one = |series: &Value| {
        let mut labels = series["metric"].clone();
        assert_eq!(labels.as_object_mut().expect("labels").remove("__name__"), Some(metric.into()));
        let sample = |sample: &Value| {
            let at = sample[0].as_f64().expect("seconds") * 1e3;
            (at.round() as i64, sample[1].as_str().expect("a value").to_owned())
        };
        (labels, series["values"].as_array().expect("samples").iter().map(sample).collect())
    };
    let mut series: Vec<_> = answer.as_array().expect("series").iter().map(one).collect();
    series.sort_by_key(|(labels, _)| labels.to_string());
    series
}

/// Now, less so many seconds.
fn ago(seconds: i64) -> i64 {
    time::now_us() / 1_000 - seconds * 1_000
}

fn sample(at: i64, value: &str) -> (i64, String) {
    (at, value.to_owned())
}

fn host(name: &str) -> Value {
    serde_json::json!({ "host_name": name })
}

#[tokio::test]
async fn rows_are_read_back_as_samples() {
    server();
    let at = ago(10);
    let mut sink = opened(&context(&url(PORT), &[("external_labels", "cluster=eu-1")])).await;
    // Out of order within a batch, which is put in order.
    let batch = rows(&[
        ("round.trip", Some(2.5), "a", at + 1_000),
        ("round.trip", Some(-1.0), "a", at),
        ("round.trip", Some(f64::NAN), "b", at),
        ("round.trip", None, "b", at + 1),
    ]);
    assert_eq!(written(sink.as_mut(), batch).await.expect("written"), Some(position(4)));
    assert_eq!(sink.take_left_out(), LeftOut { skipped: 1, refused: 0 });
    assert_eq!(sink.take_left_out(), LeftOut::default(), "what was told is not told again");
    let labels = |host: &str| serde_json::json!({ "host_name": host, "cluster": "eu-1" });
    assert_eq!(
        series(PORT, "round_trip").await,
        [(labels("a"), vec![sample(at, "-1"), sample(at + 1_000, "2.5")]), (labels("b"), vec![sample(at, "NaN")]),]
    );
}

#[tokio::test]
async fn what_is_refused_is_counted_and_takes_nothing_with_it() {
    server();
    let at = ago(60);
    let mut sink = opened(&context(&url(PORT), &[])).await;
    let batch = rows(&[("refusals", Some(1.0), "a", at), ("refusals", Some(1.0), "b", at)]);
    written(sink.as_mut(), batch).await.expect("written");
    let batch = rows(&[
        ("refusals", Some(9.0), "a", at - 2_000),
        ("refusals", Some(9.0), "a", at - 1_000),
        ("refusals", Some(9.0), "a", at),
        ("refusals", Some(2.0), "a", at + 1_000),
        ("refusals", Some(3.0), "a", at + 2_000),
        ("refusals", Some(3.0), "a", at + 2_000),
        ("refusals", Some(4.0), "a", at + 2_000),
        ("refusals", Some(9.0), "b", at - 1_000),
        ("refusals", Some(2.0), "c", at - 1_000),
    ]);
    assert_eq!(written(sink.as_mut(), batch).await.expect("the sink goes on"), Some(position(9)));
    assert_eq!(sink.take_left_out(), LeftOut { refused: 5, skipped: 0 });
    assert_eq!(
        series(PORT, "refusals").await,
        [
            (host("a"), vec![sample(at, "1"), sample(at + 1_000, "2"), sample(at + 2_000, "3")]),
            (host("b"), vec![sample(at, "1")]),
            (host("c"), vec![sample(at - 1_000, "2")]),
        ]
    );
}

#[tokio::test]
async fn what_is_sent_again_is_there_once() {
    server();
    let at = ago(60);
    let batch: Vec<Row<'_>> = (0..7).map(|n| ("again", Some(n as f64), "a", at + n * 1_000)).collect();
    written(opened(&context(&url(PORT), &[])).await.as_mut(), rows(&batch[..5])).await.expect("written");
    written(opened(&context(&url(PORT), &[])).await.as_mut(), rows(&batch)).await.expect("written");
    let expected = (0..7).map(|n| sample(at + n * 1_000, &n.to_string())).collect();
    assert_eq!(series(PORT, "again").await, [(host("a"), expected)]);
}

#[tokio::test]
async fn more_rows_than_one_request_holds_all_arrive() {
    server();
    let at = ago(600);
    let hosts: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let batch: Vec<Row<'_>> =
        (0..5_000).map(|n| ("many", Some(n as f64), hosts[n % 50].as_str(), at + n as i64)).collect();
    let mut sink = opened(&context(&url(PORT), &[("batch_bytes", "16 kB")])).await;
    written(sink.as_mut(), rows(&batch)).await.expect("written");
    assert_eq!(sink.take_left_out(), LeftOut::default());
    let counted = ask(PORT, "sum(count_over_time(many[1h]))").await;
    assert_eq!(counted[0]["value"][1], "5000", "{counted}");
}

#[tokio::test]
async fn a_view_gives_a_sample_per_change_and_number() {
    server();
    let at = ago(30);
    let end = DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()));
    let schema = Arc::new(Schema::new(vec![
        Field::new("window_end", end, false),
        Field::new("region", DataType::Utf8, true),
        Field::new("orders", DataType::Int64, true),
        Field::new("revenue", DataType::Float64, true),
    ]));
    let inserts = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(TimestampMillisecondArray::from(vec![at, at]).with_timezone("+00:00")),
            Arc::new(StringArray::from(vec![Some("eu"), None])),
            Arc::new(Int64Array::from(vec![3, 4])),
            Arc::new(Float64Array::from(vec![Some(1.5), None])),
        ],
    )
    .expect("a batch");
    let context = SinkContext {
        schema: Arc::clone(&schema),
        on_view: true,
        on_close: false,
        upsert_key: vec![0, 1],
        time_column: None,
        ..context(&url(PORT), &[("metric", "shop")])
    };
    let mut sink = opened(&context).await;
    let changes = ChangeBatch { deletes: RecordBatch::new_empty(schema), inserts };
    sink.write(SinkInput::Changes(changes), &position(2)).await.expect("write");
    sink.checkpoint(Epoch(1), &position(2), true).await.expect("checkpoint");
    assert_eq!(sink.take_left_out(), LeftOut { skipped: 1, refused: 0 });
    let region = serde_json::json!({ "region": "eu" });
    let none = serde_json::json!({});
    let orders = [(region.clone(), vec![sample(at, "3")]), (none, vec![sample(at, "4")])];
    assert_eq!(series(PORT, "shop_orders").await, orders);
    assert_eq!(series(PORT, "shop_revenue").await, [(region, vec![sample(at, "1.5")])]);
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_has_everything() {
    /// Also where an assertion fails.
    struct Stopped;
    impl Drop for Stopped {
        fn drop(&mut self) {
            stack(OTHER_PORT, "clean");
        }
    }
    let _stopped = Stopped;
    let at = ago(60);
    let context = context(&url(OTHER_PORT), &[]);
    let away = |error: Error| {
        let named = matches!(&error, Error::Unreachable { system, .. } if *system == format!("prometheus 127.0.0.1:{OTHER_PORT}"));
        assert!(named, "{error:?}");
    };
    away(sink(&context).open().await.expect_err("nobody listens"));
    stack(OTHER_PORT, "start");
    let mut sink = opened(&context).await;
    written(sink.as_mut(), rows(&[("outage", Some(1.0), "a", at)])).await.expect("written");
    stack(OTHER_PORT, "stop");
    let lost = rows(&[("outage", Some(2.0), "a", at + 1_000)]);
    away(written(sink.as_mut(), lost.clone()).await.expect_err("it is away"));
    stack(OTHER_PORT, "start");
    written(opened(&context).await.as_mut(), lost).await.expect("written");
    let samples = vec![sample(at, "1"), sample(at + 1_000, "2")];
    assert_eq!(series(OTHER_PORT, "outage").await, [(host("a"), samples)]);
}

#[tokio::test]
async fn a_path_that_is_none_is_not_tried_for_ever() {
    server();
    let url = format!("http://127.0.0.1:{PORT}/api/v1/wrote");
    let error = sink(&context(&url, &[])).open().await.expect_err("there is nothing");
    assert!(matches!(&error, Error::Refused { message, .. } if message.starts_with("HTTP 404")), "{error:?}");
}

#[tokio::test]
async fn a_request_says_what_it_is_and_who_sends_it() {
    let receiver = Receiver::start(&[204]).await;
    let tenant = [("tenant", "team-a"), ("bearer_token", "hunter2")];
    opened(&context(&receiver.url, &tenant)).await;
    let head = receiver.heads().remove(0);
    for line in [
        "POST /api/v1/push HTTP/1.1",
        "content-encoding: snappy",
        "content-type: application/x-protobuf",
        "x-prometheus-remote-write-version: 0.1.0",
        "x-scope-orgid: team-a",
        "authorization: Bearer hunter2",
    ] {
        assert!(head.lines().any(|one| one == line), "{line} is not in\n{head}");
    }
    let receiver = Receiver::start(&[204]).await;
    opened(&context(&receiver.url, &[("username", "u"), ("password", "p")])).await;
    assert!(receiver.heads()[0].contains("authorization: Basic dTpw"), "{}", receiver.heads()[0]);
}

#[tokio::test]
async fn a_fault_that_passes_is_tried_again_and_then_left_to_the_engine() {
    let receiver = Receiver::start(&[503, 429, 204]).await;
    opened(&context(&receiver.url, &[])).await;
    assert_eq!(receiver.heads().len(), 3);

    let receiver = Receiver::start(&[500]).await;
    let error = sink(&context(&receiver.url, &[])).open().await.expect_err("500 again and again");
    assert!(matches!(&error, Error::Unreachable { message, .. } if message.starts_with("HTTP 500")), "{error:?}");
    assert_eq!(receiver.heads().len(), 3, "a bounded number of times");
}

#[tokio::test]
async fn a_login_that_is_refused_is_not_repeated_nor_told() {
    let receiver = Receiver::start(&[401]).await;
    let error = sink(&context(&receiver.url, &[("bearer_token", "hunter2")])).open().await.expect_err("refused");
    assert!(matches!(&error, Error::Refused { message, .. } if message.starts_with("HTTP 401")), "{error:?}");
    assert_eq!(receiver.heads().len(), 1);
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[test]
fn what_cannot_work_is_refused_when_the_sink_is_created() {
    let message = |options: &[(&str, &str)]| {
        ebap_prometheus::sink(&context("http://127.0.0.1:1/api/v1/write", options)).err().expect("refused").to_string()
    };
    assert_eq!(message(&[("urll", "x")]), "option \"urll\": is not known here; did you mean \"url\"?");
    assert_eq!(message(&[("name_column", "title")]), "option \"name_column\": column \"title\" does not exist");
    let leaked = message(&[("bearer_token", "hunter2\n")]);
    assert_eq!(leaked, "option \"bearer_token\": has characters that no header may have");
}
