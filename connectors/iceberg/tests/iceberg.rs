//! What a reader of the table sees, whatever happens between sink and catalog. Real catalog, real object store.

mod support;

use std::{sync::Arc, sync::atomic::Ordering};

use arrow::{
    array::{AsArray, new_null_array},
    datatypes::{DataType, Field, Fields, Int32Type, Schema, TimestampMicrosecondType},
};
use ebap_connector::{Epoch, Error, SinkInput};
use futures::TryStreamExt;
use support::{Proxy, context, ids, load, new_table, position, rows, scan, services, sink};

#[tokio::test]
async fn rows_are_appended_to_files_by_partition_and_visible_after_a_checkpoint() {
    let table = new_table();
    let mut sink = sink(&context(&services(), &table, 1));
    assert_eq!(sink.open().await.expect("open").position, None);
    sink.write(rows(&[(2, Some("eu"), 1), (1, Some("eu"), 0), (3, Some("us"), 0)]), &position(3)).await.expect("write");
    sink.write(rows(&[(4, Some("eu"), 24), (5, None, 0), (6, Some("a/b ü"), 0)]), &position(6)).await.expect("write");
    assert_eq!(ids(&table).await, Vec::<i64>::new(), "nothing is visible before");
    assert_eq!(sink.checkpoint(Epoch(1), &position(6), false).await.expect("too early"), None);
    let visible = sink.checkpoint(Epoch(1), &position(6), true).await.expect("checkpoint");
    assert_eq!(visible, Some(position(6)));
    assert_eq!(ids(&table).await, [1, 2, 3, 4, 5, 6]);

    let loaded = load(&table).await;
    let tasks = loaded.scan().build().expect("scan").plan_files().await.expect("plan");
    let tasks: Vec<_> = tasks.try_collect().await.expect("files");
    let prefix = format!("{}/data/", loaded.metadata().location());
    let mut folders: Vec<_> = tasks
        .iter()
        .map(|task| {
            task.data_file_path.strip_prefix(&prefix).expect("below the table").rsplit_once('/').expect("folder").0
        })
        .collect();
    folders.sort_unstable();
    assert_eq!(
        folders,
        [
            "timestamp_day=2026-11-23/region=a%2Fb%20%C3%BC",
            "timestamp_day=2026-11-23/region=eu",
            "timestamp_day=2026-11-23/region=null",
            "timestamp_day=2026-11-23/region=us",
            "timestamp_day=2026-11-24/region=eu",
        ]
    );
    for batch in scan(&table).await {
        let times = batch.column_by_name("timestamp").expect("timestamp").as_primitive::<TimestampMicrosecondType>();
        assert!(times.values().is_sorted(), "rows of a file are in the order of time");
    }
}

#[tokio::test]
async fn a_position_without_rows_is_visible_without_a_commit() {
    let table = new_table();
    let mut sink = sink(&context(&services(), &table, 1));
    sink.open().await.expect("open");
    assert_eq!(sink.checkpoint(Epoch(1), &position(9), false).await.expect("checkpoint"), Some(position(9)));
    assert!(load(&table).await.metadata().current_snapshot().is_none());
}

#[tokio::test]
async fn opening_again_gives_the_position_of_the_last_commit() {
    let table = new_table();
    let mut first = sink(&context(&services(), &table, 1));
    first.open().await.expect("open");
    for offset in [1, 2] {
        first.write(rows(&[(offset, Some("eu"), 0)]), &position(offset)).await.expect("write");
        first.checkpoint(Epoch(1), &position(offset), true).await.expect("checkpoint");
    }
    first.write(rows(&[(3, Some("eu"), 0)]), &position(3)).await.expect("written, never committed");
    drop(first);
    let mut second = sink(&context(&services(), &table, 2));
    assert_eq!(second.open().await.expect("open").position, Some(position(2)));
    second.write(rows(&[(3, Some("eu"), 0)]), &position(3)).await.expect("write");
    second.checkpoint(Epoch(2), &position(3), true).await.expect("checkpoint");
    assert_eq!(ids(&table).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_commit_whose_response_is_lost_is_made_once() {
    let table = new_table();
    let (proxy, uri) = Proxy::start().await;
    let mut sink = sink(&context(&uri, &table, 1));
    sink.open().await.expect("open");
    for offset in [1, 2, 3] {
        proxy.lose_responses.store(1, Ordering::SeqCst);
        sink.write(rows(&[(offset, Some("eu"), 0)]), &position(offset)).await.expect("write");
        let visible = sink.checkpoint(Epoch(1), &position(offset), true).await.expect("checkpoint");
        assert_eq!(visible, Some(position(offset)));
    }
    assert_eq!(ids(&table).await, [1, 2, 3]);
    assert_eq!(load(&table).await.metadata().snapshots().len(), 3);
    assert_eq!(proxy.forwarded.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_commit_that_was_refused_for_a_while_is_made_once() {
    let table = new_table();
    let (proxy, uri) = Proxy::start().await;
    let mut sink = sink(&context(&uri, &table, 1));
    sink.open().await.expect("open");
    proxy.refuse.store(2, Ordering::SeqCst);
    sink.write(rows(&[(1, Some("eu"), 0)]), &position(1)).await.expect("write");
    sink.checkpoint(Epoch(1), &position(1), true).await.expect("the third attempt");
    assert_eq!(ids(&table).await, [1]);

    proxy.refuse.store(3, Ordering::SeqCst);
    sink.write(rows(&[(2, Some("eu"), 0)]), &position(2)).await.expect("write");
    let failed = sink.checkpoint(Epoch(2), &position(2), true).await;
    assert!(matches!(failed, Err(Error::Unreachable { .. })), "{failed:?}");
    assert_eq!(sink.open().await.expect("open").position, Some(position(1)), "the engine reads on from there");
    assert_eq!(ids(&table).await, [1]);
}

#[tokio::test]
async fn an_append_of_another_writer_in_between_is_kept() {
    let table = new_table();
    let (proxy, uri) = Proxy::start().await;
    let mut ours = sink(&context(&uri, &table, 1));
    ours.open().await.expect("open");
    let mut other = context(&services(), &table, 1);
    other.id = "sink-2".into();
    let mut other = sink(&other);
    *proxy.before_commit.lock().await = Some(Box::pin(async move {
        other.open().await.expect("open");
        other.write(rows(&[(100, Some("us"), 0)]), &position(50)).await.expect("write");
        other.checkpoint(Epoch(1), &position(50), true).await.expect("checkpoint");
    }));
    ours.write(rows(&[(1, Some("eu"), 0)]), &position(1)).await.expect("write");
    ours.checkpoint(Epoch(1), &position(1), true).await.expect("the second attempt");
    assert_eq!(ids(&table).await, [1, 100]);
    assert_eq!(ours.open().await.expect("open").position, Some(position(1)), "not the position of the other sink");
}

#[tokio::test]
async fn a_newer_incarnation_fences_an_older_one_even_in_the_middle_of_its_commit() {
    let table = new_table();
    let (proxy, uri) = Proxy::start().await;
    let mut old = sink(&context(&uri, &table, 1));
    old.open().await.expect("open");
    let mut new = sink(&context(&services(), &table, 2));
    *proxy.before_commit.lock().await = Some(Box::pin(async move {
        new.open().await.expect("open");
        new.write(rows(&[(1, Some("eu"), 0), (2, Some("eu"), 0)]), &position(2)).await.expect("write");
        new.checkpoint(Epoch(1), &position(2), true).await.expect("checkpoint");
    }));
    old.write(rows(&[(1, Some("eu"), 0)]), &position(1)).await.expect("write");
    let refused = old.checkpoint(Epoch(1), &position(1), true).await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    let refused = old.open().await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    assert_eq!(ids(&table).await, [1, 2]);
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_refused_by_the_name_of_the_column() {
    let table = new_table();
    sink(&context(&services(), &table, 1)).open().await.expect("creates the table");
    let mut other = context(&services(), &table, 2);
    other.schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, false)]));
    (other.partitions, other.time_column) = (Vec::new(), None);
    let error = sink(&other).open().await.expect_err("must be refused");
    assert!(matches!(error, Error::Schema { .. }), "{error:?}");
    assert_eq!(error.to_string(), "column \"id\" is long in the iceberg table, not string");
}

#[tokio::test]
async fn every_type_of_a_stream_has_its_place_in_the_table() {
    let table = new_table();
    let nested =
        Fields::from(vec![Field::new("amount", DataType::Float64, true), Field::new("n", DataType::Int16, true)]);
    let entries =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)]);
    let entries = Field::new("entries", DataType::Struct(entries), false);
    let fields = vec![
        Field::new("small", DataType::Int16, true),
        Field::new("real", DataType::Float32, true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("price", DataType::Decimal128(38, 10), true),
        Field::new("day", DataType::Date32, true),
        Field::new("bytes", DataType::Binary, true),
        Field::new("metadata", DataType::Struct(nested), true),
        Field::new("tags", DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), true),
        Field::new("counts", DataType::Map(Arc::new(entries), false), true),
        Field::new("at", DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None), true),
    ];
    let mut context = context(&services(), &table, 1);
    context.schema = Arc::new(Schema::new(fields));
    (context.partitions, context.time_column) = (Vec::new(), None);
    let json = concat!(
        r#"{"small":7,"real":1.5,"flag":true,"price":"12.5","day":"2026-11-23","bytes":"6869","#,
        r#""metadata":{"amount":2.5,"n":3},"tags":["a",null],"counts":{"x":1},"at":"2026-11-23T10:00:00"}"#
    );
    let mut decoder = arrow::json::ReaderBuilder::new(context.schema.clone()).build_decoder().expect("decoder");
    decoder.decode(json.as_bytes()).expect("row");
    let full = decoder.flush().expect("batch").expect("one row");
    let columns = context.schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    let empty = arrow::array::RecordBatch::try_new(context.schema.clone(), columns).expect("columns fit");

    let mut sink = sink(&context);
    sink.open().await.expect("open");
    sink.write(SinkInput::Rows(full), &position(1)).await.expect("write");
    sink.write(SinkInput::Rows(empty), &position(2)).await.expect("write");
    sink.checkpoint(Epoch(1), &position(2), true).await.expect("checkpoint");
    let read = arrow::compute::concat_batches(&scan(&table).await[0].schema(), &scan(&table).await).expect("batches");
    assert_eq!(read.num_rows(), 2);
    let nested = read.column_by_name("metadata").expect("metadata").as_struct();
    assert_eq!(nested.column_by_name("n").expect("n").as_primitive::<Int32Type>().value(0), 3);
    assert!(read.columns().iter().all(|column| column.is_valid(0) && column.is_null(1)));
}

#[tokio::test]
async fn a_catalog_that_is_away_is_named() {
    let error = sink(&context("http://127.0.0.1:1", "a.b", 1)).open().await.expect_err("nothing listens there");
    assert!(
        matches!(&error, Error::Unreachable { system, .. } if system == "iceberg catalog http://127.0.0.1:1"),
        "{error:?}"
    );
}
