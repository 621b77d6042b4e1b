//! Topics whose schemas are in a registry.

use std::sync::Arc;

use anyhow::{Context, ensure};
use ebap_tests::{Ebap, kafka::Kafka, rows, wait};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::{command_line, pipeline::Shared};

async fn register(shared: &Shared, subject: &str, kind: &str, schema: &str) -> anyhow::Result<u32> {
    let body = json!({ "schema": schema, "schemaType": kind }).to_string();
    let answer = shared.registry_does(&["post", &format!("/subjects/{subject}/versions"), &body]).await?;
    let answer: Value = serde_json::from_str(&answer)?;
    answer["id"].as_u64().and_then(|id| u32::try_from(id).ok()).with_context(|| answer.to_string())
}

/// The zero, the id and the value.
fn framed(id: u32, value: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), value].concat()
}

fn long(value: i64) -> Vec<u8> {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [long(text.len() as i64), text.as_bytes().to_vec()].concat()
}

/// What each version of the producer writes of order `n`.
fn order(version: usize, n: i64) -> Vec<u8> {
    let (id, cents) = (text(&format!("order-{n}")), long(n * 100));
    let at = long(1_767_225_600_000 + n * 1_000);
    match version {
        0 => [id, cents, at].concat(),
        1 => [id, cents, at, long(1), text("web")].concat(),
        _ => [id, cents, at, long(1), text("app"), long(n % 2)].concat(),
    }
}

const FIELDS: &str = r#"{"name":"id","type":"string"},{"name":"cents","type":"long"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}"#;

fn schema(version: usize) -> String {
    let more = [
        "",
        r#",{"name":"platform","type":["null","string"],"default":null}"#,
        r#",{"name":"platform","type":["null","string"],"default":null},
           {"name":"gift","type":{"type":"enum","name":"Gift","symbols":["no","yes"]},"default":"no"}"#,
    ];
    format!(r#"{{"type":"record","name":"Order","namespace":"shop","fields":[{FIELDS}{}]}}"#, more[version])
}

/// Reasons and how often each is there, without the numbers of schemas.
async fn reasons(client: &Client, stream: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let sql = format!(
        "SELECT regexp_replace(reason, 'schema [0-9]+', 'schema N') AS why, count(*) FROM \"{stream}$dlq\"
         GROUP BY 1 ORDER BY 1"
    );
    rows::texts(client, &sql).await
}

const ORDERS: i64 = 3_000;

pub(crate) async fn three_schemas_and_garbage(shared: Arc<Shared>) -> anyhow::Result<()> {
    let (bootstrap, registry) = shared.registry().await?;
    let kafka = Kafka::new(&bootstrap);
    for topic in ["orders", "orders-dead"] {
        kafka.create_topic(topic, 1).await?;
    }
    let mut ids = Vec::new();
    for version in 0..3 {
        ids.push(register(&shared, "orders-value", "AVRO", &schema(version)).await?);
    }
    let other = register(&shared, "other-value", "PROTOBUF", "syntax = \"proto3\"; message A { int64 a = 1; }").await?;
    let mut records = Vec::new();
    for n in 0..ORDERS {
        let version = (n % 3) as usize;
        records.push(framed(ids[version], &order(version, n)));
        if n % 100 == 0 {
            records.push(b"{\"id\": \"of another age\"}".to_vec());
            records.push(framed(987_654, &order(0, n)));
            records.push(framed(other, &[8, 1]));
            records.push(framed(ids[0], &order(0, n)[..4]));
        }
    }
    kafka.produce("orders", 0, &records)?;

    let mut ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let source =
        format!("CREATE CONNECTION main TO KAFKA (bootstrap_servers = '{bootstrap}', schema_registry = '{registry}')");
    let statements = [
        source.as_str(),
        // Without a list all columns are the registry's; with one, those that are declared are as it says.
        "CREATE STREAM plain WITH (connection = main, topic = 'orders', format = 'avro')",
        "CREATE STREAM orders (*, id TEXT NOT NULL, WATERMARK FOR at AS at - INTERVAL '1 minute')
         WITH (connection = main, topic = 'orders', format = 'avro', dead_letter_topic = 'orders-dead')",
        "CREATE MATERIALIZED VIEW sales AS
         SELECT platform, gift, count(*) AS orders, sum(cents) AS cents FROM orders GROUP BY platform, gift",
    ];
    // Without a server it asks the registry too.
    let (fine, said) = command_line::check(&statements.join(";\n"))?;
    ensure!(fine, "{said}");
    let (fine, said) = command_line::check(&statements.join(";\n").replace("'orders', format", "'no', format"))?;
    ensure!(!fine && said.contains("has no subject \"no-value\""), "{said}");
    rows::execute(&client, &statements).await?;
    let shown = rows::texts(&client, "SHOW CREATE STREAM plain").await?.concat().concat();
    for column in ["id TEXT", "cents BIGINT", "at TIMESTAMPTZ", "platform TEXT", "gift TEXT"] {
        ensure!(shown.contains(column), "{column} in {shown}");
    }
    rows::execute(&client, &["FLUSH"]).await?;
    let sales = "SELECT platform, gift, orders, cents FROM sales ORDER BY orders DESC, platform, gift";
    let sum = |wanted: &dyn Fn(i64) -> bool| {
        let of: Vec<i64> = (0..ORDERS).filter(|n| wanted(*n)).collect();
        [of.len().to_string(), (of.iter().sum::<i64>() * 100).to_string()]
    };
    let row = |platform: &str, gift: &str, figures: [String; 2]| {
        let [orders, cents] = figures;
        vec![platform.to_owned(), gift.to_owned(), orders, cents]
    };
    let expected = vec![
        row("web", "NULL", sum(&|n| n % 3 == 1)),
        row("NULL", "NULL", sum(&|n| n % 3 == 0)),
        row("app", "no", sum(&|n| n % 3 == 2 && n % 2 == 0)),
        row("app", "yes", sum(&|n| n % 3 == 2 && n % 2 == 1)),
    ];
    let found = rows::texts(&client, sales).await?;
    ensure!(found == expected, "expected {expected:?}, found {found:?}");

    let bad = ORDERS / 100;
    let why = reasons(&client, "orders").await?;
    let of = |part: &str| why.iter().find(|row| row[0].contains(part)).map(|row| row[1].clone()).unwrap_or_default();
    for part in [
        "not in the wire format of a schema registry: it begins with the byte 0x7b",
        "schema N is not in the registry",
        "schema N is PROTOBUF, not AVRO",
        "does not fit schema N: ",
    ] {
        ensure!(of(part) == bad.to_string(), "{bad} of {part} in {why:?}");
    }
    let letters = kafka.read_committed("orders-dead")?;
    ensure!(letters.len() as i64 == 4 * bad, "{} dead letters", letters.len());
    let unknown = framed(987_654, &order(0, 0));
    ensure!(letters.iter().any(|letter| letter.value.as_ref() == Some(&unknown)), "a letter is the record as it was");
    let sums = "SELECT sum(consumed), sum(emitted), sum(dead_lettered) FROM ebap.accounting WHERE job = 'orders'";
    let accounting = rows::texts(&client, sums).await?;
    let total = records.len().to_string();
    ensure!(accounting == [[total, ORDERS.to_string(), (4 * bad).to_string()]], "{accounting:?}");

    // After a crash the records that were read are read again or not: the answer is the same.
    ebap.kill()?;
    ebap.start_again().await?;
    let client = ebap.connect().await?;
    rows::execute(&client, &["FLUSH"]).await?;
    let again = rows::texts(&client, sales).await?;
    ensure!(again == expected, "after a crash: expected {expected:?}, found {again:?}");
    ensure!(kafka.read_committed("orders-dead")?.len() as i64 == 4 * bad, "each letter is there once");
    Ok(())
}

pub(crate) async fn a_stream_waits_for_its_registry(shared: Arc<Shared>) -> anyhow::Result<()> {
    let (bootstrap, registry) = shared.registry().await?;
    let kafka = Kafka::new(&bootstrap);
    kafka.create_topic("waits", 1).await?;
    let id = register(&shared, "waits-value", "AVRO", &schema(0)).await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let stream = format!(
        "CREATE STREAM waits WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = 'waits',
             format = 'avro', schema_registry = '{registry}')"
    );
    rows::execute(&client, &[&stream, "CREATE MATERIALIZED VIEW seen AS SELECT count(*) AS n FROM waits"]).await?;
    shared.registry_does(&["stop"]).await?;
    kafka.produce("waits", 0, &[framed(id, &order(0, 1)), b"garbage".to_vec(), framed(id, &order(0, 2))])?;
    let look = "SELECT message FROM ebap.jobs WHERE name = 'waits' AND state = 'retrying'";
    let message = wait::until("the stream says that it waits", wait::PATIENCE, async || {
        Ok(rows::texts(&client, look).await?.concat().pop())
    })
    .await?;
    ensure!(message.starts_with("schema registry 127.0.0.1:") && message.contains("cannot be reached"), "{message}");
    let (code, error) = rows::error_of(&client, &stream.replace("STREAM waits", "STREAM later")).await?;
    ensure!(code == "08006" && error.contains("schema registry"), "{code} {error}");
    let letters = rows::number(&client, "SELECT count(*) FROM \"waits$dlq\"").await?;
    ensure!(letters == 0, "nothing is rejected because the registry is away: {letters}");
    shared.registry_does(&["start"]).await?;
    rows::execute(&client, &["FLUSH"]).await?;
    ensure!(rows::number(&client, "SELECT n FROM seen").await? == 2, "the stream goes on");
    ensure!(rows::number(&client, "SELECT count(*) FROM \"waits$dlq\"").await? == 1, "garbage is rejected");
    let state = rows::texts(&client, "SELECT state FROM ebap.jobs WHERE name = 'waits'").await?.concat().concat();
    ensure!(state == "running", "{state}");
    Ok(())
}

pub(crate) async fn json_schema_and_protobuf(shared: Arc<Shared>) -> anyhow::Result<()> {
    let (bootstrap, registry) = shared.registry().await?;
    let kafka = Kafka::new(&bootstrap);
    for topic in ["visits", "carts"] {
        kafka.create_topic(topic, 1).await?;
    }
    let visits = r#"{"type":"object","required":["page"],"properties":{
        "page":{"type":"string"},"ms":{"type":"integer","minimum":0},"at":{"type":"string","format":"date-time"}}}"#;
    let visits = register(&shared, "visits-value", "JSON", visits).await?;
    let carts = r#"syntax = "proto3"; import "google/protobuf/timestamp.proto";
        message Cart { string user = 1; optional int32 items = 2; google.protobuf.Timestamp at = 3; State state = 4;
          repeated string tags = 5; }
        enum State { OPEN = 0; PAID = 1; }
        message Other { int64 n = 1; }"#;
    let carts = register(&shared, "shop.Cart", "PROTOBUF", carts).await?;
    let visit = |text: &str| framed(visits, text.as_bytes());
    kafka.produce(
        "visits",
        0,
        &[
            visit(r#"{"page":"/","ms":12,"at":"2026-01-01T00:00:00Z"}"#),
            visit(r#"{"ms":1}"#),
            visit(r#"{"page":"/cart","ms":-1}"#),
            visit(r#"{"page":"/end"}"#),
        ],
    )?;
    // `ada`, 3 items, one second behind 1970, PAID, two tags; then `bob` of whom nothing else is said.
    let ada = [&[0, 10, 3][..], b"ada", &[16, 3, 26, 2, 8, 1, 32, 1, 42, 1], b"x", &[42, 1], b"y"].concat();
    let bob = [&[0, 10, 3][..], b"bob"].concat();
    let broken = [&[0, 10, 200][..], b"bob"].concat();
    kafka.produce("carts", 0, &[framed(carts, &ada), framed(carts, &broken), framed(carts, &bob)])?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let source = format!("connector = 'kafka', bootstrap_servers = '{bootstrap}', schema_registry = '{registry}'");
    rows::execute(
        &client,
        &[
            &format!("CREATE STREAM visits WITH ({source}, topic = 'visits', format = 'json-schema')"),
            &format!("CREATE STREAM carts WITH ({source}, topic = 'carts', subject = 'shop.Cart', format = 'protobuf')"),
            "CREATE MATERIALIZED VIEW pages AS SELECT page, max(ms) AS ms, max(at) AS at FROM visits GROUP BY page",
            "CREATE MATERIALIZED VIEW users AS SELECT \"user\", max(items) AS items, max(at) AS at, max(state) AS state,
                 max(cardinality(tags)) AS tags FROM carts GROUP BY \"user\"",
            "FLUSH",
        ],
    )
    .await?;
    let pages = rows::texts(&client, "SELECT page, ms FROM pages ORDER BY page").await?;
    ensure!(pages == [["/", "12"], ["/end", "NULL"]], "{pages:?}");
    let why = rows::texts(&client, "SELECT reason FROM \"visits$dlq\" ORDER BY _offset").await?.concat();
    ensure!(why[0].contains("\"page\" is a required property"), "{why:?}");
    ensure!(why[1].contains("at /ms: -1 is less than the minimum"), "{why:?}");
    let users = rows::texts(&client, "SELECT \"user\", items, state, tags FROM users ORDER BY 1").await?;
    ensure!(users == [["ada", "3", "PAID", "2"], ["bob", "NULL", "OPEN", "0"]], "{users:?}");
    let at = rows::number(&client, "SELECT count(*) FROM users WHERE at = TIMESTAMPTZ '1970-01-01 00:00:01Z'").await?;
    ensure!(at == 1, "one has a time");
    let why = reasons(&client, "carts").await?;
    ensure!(why.len() == 1 && why[0][0].starts_with("does not fit schema N: "), "{why:?}");
    Ok(())
}
