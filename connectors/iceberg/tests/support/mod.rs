//! Services, a catalog proxy that misbehaves on demand, and rows for the tests of the Iceberg sink.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, types::Int64Type},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use ebap_connector::{Offset, Options, Position, Sink, SinkContext, SinkInput, SinkPartition, SplitId};
use futures::{TryStreamExt, future::BoxFuture};
use iceberg::{Catalog, CatalogBuilder, TableIdent, table::Table};
use iceberg_catalog_rest::RestCatalogBuilder;
use iceberg_storage_opendal::OpenDalResolvingStorageFactory;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

const S3_PORT: &str = "19100";
const CATALOG_PORT: u16 = 18_281;

/// Starts object store and catalog once per process; starting them again finds them running.
pub(crate) fn services() -> String {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        // What cargo says now: a build cache may be shared by clones, and the path of another be compiled in.
        let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").to_owned());
        let default = PathBuf::from(here).join("../../tests/stack");
        let stack = std::env::var_os("EBAP_STACK_DIR").map_or(default, PathBuf::from);
        for script in ["minio.sh", "iceberg-rest.sh"] {
            let started = Command::new(stack.join(script))
                .arg("start")
                .env("MINIO_PORT", S3_PORT)
                .env("ICEBERG_REST_PORT", CATALOG_PORT.to_string())
                .status();
            assert!(started.expect("the scripts of tests/stack run").success(), "{script} did not start");
        }
    });
    format!("http://127.0.0.1:{CATALOG_PORT}")
}

fn s3_options() -> Vec<(&'static str, String)> {
    vec![
        ("s3.endpoint", format!("http://127.0.0.1:{S3_PORT}")),
        ("s3.access-key-id", "ebapminio".into()),
        ("s3.secret-access-key", "ebapminio-secret".into()),
        ("s3.region", "us-east-1".into()),
        ("s3.path-style-access", "true".into()),
    ]
}

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("region", DataType::Utf8, true),
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), false),
    ]))
}

/// A table name that no earlier run used.
pub(crate) fn new_table() -> String {
    format!("sink_{}.events", uuid::Uuid::now_v7().simple())
}

pub(crate) fn context(uri: &str, table: &str, incarnation: u64) -> SinkContext {
    let mut options = Options::default();
    options.set("connector", "iceberg");
    options.set("table", table);
    options.set("catalog_uri", uri);
    options.set("warehouse", "s3://warehouse/");
    for (name, value) in s3_options() {
        options.set(name, value);
    }
    let partition =
        |column: &str, transform: &str| SinkPartition { column: column.into(), transform: transform.into() };
    SinkContext {
        name: "cold".into(),
        id: "sink-1".into(),
        schema: schema(),
        upsert_key: Vec::new(),
        on_view: false,
        on_close: false,
        time_column: Some(2),
        partitions: vec![partition("timestamp", "day"), partition("region", "identity")],
        options,
        incarnation,
        first_version: 0,
    }
}

pub(crate) fn sink(context: &SinkContext) -> Box<dyn Sink> {
    ebap_iceberg::sink(context).expect("options are fine")
}

/// 2026-11-23T10:00:00Z.
const TEN_O_CLOCK_US: i64 = 1_795_428_000_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// Rows of id, region and hours after ten o'clock.
pub(crate) fn rows(values: &[(i64, Option<&str>, i64)]) -> SinkInput {
    let times = values.iter().map(|(_, _, hours)| TEN_O_CLOCK_US + hours * HOUR_US);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(values.iter().map(|(id, _, _)| *id))),
        Arc::new(StringArray::from_iter(values.iter().map(|(_, region, _)| *region))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("+00:00")),
    ];
    SinkInput::Rows(RecordBatch::try_new(schema(), columns).expect("columns fit"))
}

pub(crate) fn position(offset: i64) -> Position {
    Position([(SplitId::new("0"), Offset(offset))].into())
}

pub(crate) async fn load(table: &str) -> Table {
    let mut properties =
        HashMap::from([("uri".to_owned(), services()), ("warehouse".into(), "s3://warehouse/".into())]);
    properties.extend(s3_options().into_iter().map(|(name, value)| (name.to_owned(), value)));
    let catalog = RestCatalogBuilder::default()
        .with_storage_factory(Arc::new(OpenDalResolvingStorageFactory::new()))
        .load("reader", properties)
        .await
        .expect("catalog");
    let table = TableIdent::from_strs(table.split('.')).expect("name");
    catalog.load_table(&table).await.expect("the table exists")
}

pub(crate) async fn scan(table: &str) -> Vec<RecordBatch> {
    let scan = load(table).await.scan().build().expect("scan");
    scan.to_arrow().await.expect("scan starts").try_collect().await.expect("rows")
}

/// The `id` of every row of the table, sorted.
pub(crate) async fn ids(table: &str) -> Vec<i64> {
    let batches = scan(table).await;
    let columns = batches.iter().map(|batch| batch.column_by_name("id").expect("id").as_primitive::<Int64Type>());
    let mut ids: Vec<i64> = columns.flat_map(|column| column.values().to_vec()).collect();
    ids.sort_unstable();
    ids
}

/// Stands before the catalog and lets a test decide what becomes of a commit.
#[derive(Default)]
pub(crate) struct Proxy {
    /// So many commits reach the catalog, and their response does not come back.
    pub(crate) lose_responses: AtomicUsize,
    /// So many commits are answered with 503 and never reach the catalog.
    pub(crate) refuse: AtomicUsize,
    /// Commits that reached the catalog.
    pub(crate) forwarded: AtomicUsize,
    /// Runs before the next commit is let through.
    pub(crate) before_commit: Mutex<Option<BoxFuture<'static, ()>>>,
}

fn take_one(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
}

impl Proxy {
    pub(crate) async fn start() -> (Arc<Self>, String) {
        services();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let uri = format!("http://{}", listener.local_addr().expect("address"));
        let proxy = Arc::new(Self::default());
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let proxy = accepting.clone();
                tokio::spawn(async move { proxy.serve(client).await });
            }
        });
        (proxy, uri)
    }

    /// One request per connection, so that bytes can be passed on without being understood.
    async fn serve(&self, mut client: TcpStream) {
        let Some((head, body)) = read_request(&mut client).await else { return };
        // Tables are created by a POST to `…/tables`, and committed to by one to `…/tables/NAME`.
        let is_commit = head.starts_with("POST ") && head.lines().next().is_some_and(|line| line.contains("/tables/"));
        if is_commit && take_one(&self.refuse) {
            let busy = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = client.write_all(busy.as_bytes()).await;
            return;
        }
        if is_commit {
            if let Some(first) = self.before_commit.lock().await.take() {
                first.await;
            }
            self.forwarded.fetch_add(1, Ordering::SeqCst);
        }
        let mut catalog = TcpStream::connect(("127.0.0.1", CATALOG_PORT)).await.expect("catalog answers");
        let head = head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        catalog.write_all(head.as_bytes()).await.expect("head");
        catalog.write_all(&body).await.expect("body");
        let mut response = Vec::new();
        catalog.read_to_end(&mut response).await.expect("response");
        if is_commit && take_one(&self.lose_responses) {
            return;
        }
        let _ = client.write_all(&response).await;
    }
}

async fn read_request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is text");
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = bytes.split_off(end);
    while body.len() < length.unwrap_or(0) {
        if client.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, body))
}
