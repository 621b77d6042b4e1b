use std::sync::Arc;

use arrow::{
    array::{
        BooleanArray, Int64Array, IntervalMonthDayNanoArray, MapBuilder, StringBuilder, TimestampMicrosecondArray,
    },
    datatypes::{Field, Schema},
};
use ebap_connector::Options;

use super::*;

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

fn map() -> DataType {
    MapBuilder::new(None, StringBuilder::new(), StringBuilder::new()).finish().data_type().clone()
}

fn context(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> SinkContext {
    let fields: Vec<Field> = columns.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect();
    let mut with = Options::default();
    for (name, value) in options {
        with.set(*name, *value);
    }
    SinkContext {
        name: "out".to_owned(),
        id: "1".to_owned(),
        schema: Arc::new(Schema::new(fields)),
        upsert_key: Vec::new(),
        on_view: false,
        on_close: false,
        time_column: None,
        partitions: Vec::new(),
        options: with,
        incarnation: 1,
        first_version: 0,
    }
}

fn metrics() -> Vec<(&'static str, DataType)> {
    vec![("name", DataType::Utf8), ("value", DataType::Float64), ("labels", map()), ("timestamp", time())]
}

/// A view by region, hour and size of the window.
fn view(options: &[(&str, &str)]) -> SinkContext {
    let columns = [
        ("window_start", time()),
        ("window_end", time()),
        ("window_size", DataType::Interval(IntervalUnit::MonthDayNano)),
        ("shop", DataType::Int64),
        ("region", DataType::Utf8),
        ("orders", DataType::Int64),
        ("revenue", DataType::Float64),
    ];
    SinkContext { on_view: true, upsert_key: vec![0, 1, 2, 3, 4], ..context(&columns, options) }
}

fn refused(context: &SinkContext) -> String {
    Columns::resolve(context).expect_err("must be refused").to_string()
}

fn value(column: usize, metric: &str) -> Value {
    Value { column, metric: Metric::Fixed(metric.to_owned()) }
}

fn label(column: usize, name: &str) -> Label {
    Label::Column(column, name.to_owned())
}

#[test]
fn a_stream_of_metrics_needs_no_option() {
    let columns = Columns::resolve(&context(&metrics(), &[])).expect("columns");
    let values = vec![Value { column: 1, metric: Metric::Column(0) }];
    assert_eq!(columns, Columns { values, labels: vec![Label::Map(2)], time: Time::Column(3) });
}

#[test]
fn every_column_can_be_named() {
    let columns = [
        ("what", DataType::Utf8),
        ("low", DataType::Float64),
        ("high", DataType::Decimal128(10, 2)),
        ("host.name", DataType::Utf8),
        ("sent", time()),
        ("seen", time()),
        ("core", DataType::Int32),
    ];
    let options = [
        ("name_column", "what"),
        ("value_column", "high"),
        ("label_columns", "host.name, core"),
        ("timestamp_column", "seen"),
    ];
    let columns = Columns::resolve(&context(&columns, &options)).expect("columns");
    let values = vec![Value { column: 2, metric: Metric::Column(0) }];
    let labels = vec![label(3, "host_name"), label(6, "core")];
    assert_eq!(columns, Columns { values, labels, time: Time::Column(5) });
}

#[test]
fn a_view_gives_a_metric_per_number_and_its_key_as_labels() {
    let columns = Columns::resolve(&view(&[("metric", "shop")])).expect("columns");
    let values = vec![value(5, "shop_orders"), value(6, "shop_revenue")];
    let labels = vec![label(2, "window_size"), label(3, "shop"), label(4, "region")];
    assert_eq!(columns, Columns { values, labels, time: Time::Column(1) });

    let columns = Columns::resolve(&view(&[("metric", "revenue"), ("value_column", "revenue")])).expect("columns");
    assert_eq!(columns.values, [value(6, "revenue")]);
}

#[test]
fn a_view_without_time_is_of_when_it_is_written() {
    let columns = [("region", DataType::Utf8), ("n", DataType::Int64)];
    let context = SinkContext { on_view: true, upsert_key: vec![0], ..context(&columns, &[("metric", "orders")]) };
    let columns = Columns::resolve(&context).expect("columns");
    assert_eq!(columns.time, Time::WhenWritten);
    assert_eq!(columns.values, [value(1, "orders_n")]);
}

#[test]
fn the_event_time_is_the_time_where_there_are_several() {
    let columns = [metrics(), vec![("sent", time())]].concat();
    let mut context = context(&columns, &[]);
    assert_eq!(
        refused(&context),
        "option \"timestamp_column\": the stream has several timestamps: say which one it is"
    );
    context.time_column = Some(4);
    assert_eq!(Columns::resolve(&context).expect("columns").time, Time::Column(4));
}

#[test]
fn what_cannot_be_found_names_the_option_that_says_it() {
    let without = |column: &str| metrics().into_iter().filter(|(name, _)| *name != column).collect::<Vec<_>>();
    for (context, message) in [
        (
            context(&without("name"), &[]),
            "option \"name_column\": no text column is called name, metric or metric_name: say which one it is, or give all samples one name with metric = '…'",
        ),
        (context(&without("value"), &[]), "option \"value_column\": there is no number that is not a label"),
        (context(&without("timestamp"), &[]), "option \"timestamp_column\": the stream has no timestamp"),
        (
            context(&[without("value"), vec![("a", DataType::Int64), ("b", DataType::Int64)]].concat(), &[]),
            "option \"value_column\": several columns are numbers and none is called value: say which one it is",
        ),
        (context(&metrics(), &[("value_column", "name")]), "option \"value_column\": column \"name\" is not a number"),
        (context(&metrics(), &[("name_column", "nam")]), "option \"name_column\": column \"nam\" does not exist"),
        (
            context(&metrics(), &[("label_columns", "value")]),
            "option \"label_columns\": column \"value\" is not of a type that a label can be made of: text, boolean, integer, interval or map",
        ),
        (
            context(&metrics(), &[("metric", "a.b")]),
            "option \"metric\": \"a.b\" is no name of a metric; \"a_b\" is one",
        ),
        (
            context(&metrics(), &[("metric", "a"), ("name_column", "name")]),
            "option \"name_column\": the name is what metric says",
        ),
    ] {
        assert_eq!(refused(&context), message);
    }
}

#[test]
fn two_rows_of_a_view_must_not_be_one_sample() {
    assert_eq!(
        refused(&view(&[("metric", "shop"), ("label_columns", "window_size, region")])),
        "option \"label_columns\": two rows of the view could be one series: \"shop\" is missing"
    );
    let columns = [("minute", time()), ("n", DataType::Int64)];
    let mut context = SinkContext { on_view: true, upsert_key: vec![0], ..context(&columns, &[("metric", "orders")]) };
    assert_eq!(
        refused(&context),
        "option \"timestamp_column\": rows of several \"minute\" would be one series: say which column is the time"
    );
    context.options.set("timestamp_column", "minute");
    assert_eq!(Columns::resolve(&context).expect("columns").time, Time::Column(0));
}

#[test]
fn a_row_becomes_labels_and_samples() {
    let mut labels = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    labels.keys().append_value("service.name");
    labels.values().append_value("checkout");
    labels.keys().append_value("zone");
    labels.values().append_null();
    labels.append(true).expect("a map");
    labels.append(false).expect("NULL");
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("name", Arc::new(StringArray::from(vec![Some("api.requests"), None])) as ArrayRef, true),
        ("value", Arc::new(Int64Array::from(vec![Some(7), Some(8)])), true),
        ("labels", Arc::new(labels.finish()), true),
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), None])), true),
        (
            "every",
            Arc::new(IntervalMonthDayNanoArray::from(vec![
                types::IntervalMonthDayNano::new(0, 1, 5_400_000_000_000),
                types::IntervalMonthDayNano::new(0, 0, 0),
            ])),
            true,
        ),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_999), Some(-1)])), true),
    ])
    .expect("a batch");
    let columns: Vec<_> =
        batch.schema().fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
    let columns: Vec<_> = columns.iter().map(|(name, of)| (name.as_str(), of.clone())).collect();
    let columns = Columns::resolve(&context(&columns, &[])).expect("columns");
    let rows = columns.rows(&batch, 0).expect("rows");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(rows.labels(0), [pair("service_name", "checkout"), pair("ok", "true"), pair("every", "1d1h30m")]);
    assert_eq!(rows.samples(0).collect::<Vec<_>>(), [Some(("api_requests".to_owned(), 1, 7.0))]);
    assert_eq!(rows.labels(1), [pair("every", "0s")]);
    assert_eq!(rows.samples(1).collect::<Vec<_>>(), [None], "without a name it is no sample");
    assert_eq!(millis(batch.column(5)).expect("times").value(1), -1, "times before 1970 go down too");
}
