//! EBAP's own migrations with their variables set: who is told of their alerts, and what their sinks write to Redis.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, kafka::Kafka, process, rows, wait};
use redis::{AsyncTypedCommands, aio::MultiplexedConnection};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_postgres::Client;

use crate::pipeline::Shared;

const METRICS: &str = "ebap.metrics.migrated";
const SECRET: &str = "s3cret";

pub(crate) fn migrate(ebap: &Ebap, dir: &str, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    migrate_folder(ebap, &process::tests_dir().join("../sql").join(dir), variables)
}

pub(crate) fn migrate_folder(ebap: &Ebap, dir: &Path, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut command = Command::new(process::ebap_bin()?);
    command.arg("migrate").arg("--dir").arg(dir).args(["--url", &ebap.url()]).envs(variables.iter().copied());
    let output = command.output().context("ebap migrate")?;
    ensure!(output.status.success(), "ebap migrate: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A POST as it came.
#[derive(Clone, Debug)]
struct Request {
    head: String,
    body: String,
}

impl Request {
    async fn read(stream: &mut TcpStream) -> anyhow::Result<Self> {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let head = head.to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(Ok(0), str::parse).context("a length")? {
                    return Ok(Self { head, body: body.to_owned() });
                }
            }
            ensure!(stream.read_buf(&mut bytes).await.context("a request")? > 0, "a request ended early");
        }
    }

    fn header(&self, name: &str) -> anyhow::Result<&str> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.with_context(|| format!("no {name} in {}", self.head))
    }

    /// As a receiver checks who sent it.
    fn is_signed(&self) -> anyhow::Result<bool> {
        let signed = format!("{}.{}", self.header("x-ebap-timestamp")?, self.body);
        let script = format!("printf %s \"$1\" | openssl dgst -sha256 -hmac {SECRET} | awk '{{print $NF}}'");
        let output = Command::new("sh").args(["-c", &script, "sh", &signed]).output().context("openssl")?;
        let wanted = format!("sha256={}", String::from_utf8_lossy(&output.stdout).trim());
        Ok(self.header("x-ebap-signature")? == wanted)
    }
}

/// Whoever is told, and what came. The first request finds it busy.
#[derive(Clone, Default)]
struct Webhook(Arc<Mutex<Vec<Request>>>);

impl Webhook {
    async fn listen() -> anyhow::Result<(Self, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port")?;
        let url = format!("http://{}/hook", listener.local_addr().context("an address")?);
        let hook = Self::default();
        let came = hook.clone();
        // Ends with the test's process.
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Ok(request) = Request::read(&mut stream).await else { continue };
                let first = came.requests().is_empty();
                came.0.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                let status = if first { "503 Service Unavailable" } else { "204 No Content" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Ok((hook, url))
    }

    fn requests(&self) -> Vec<Request> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it was told: each change once, by its id, in order.
    fn told(&self) -> anyhow::Result<Vec<Value>> {
        let mut told: Vec<Value> = Vec::new();
        for request in self.requests() {
            let json: Value = serde_json::from_str(&request.body).context("JSON")?;
            if told.iter().all(|other| other["id"] != json["id"]) {
                told.push(json);
            }
        }
        Ok(told)
    }

    async fn until_told(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        wait::until("the webhook is told", wait::PATIENCE, async || {
            Ok(Some(self.told()?).filter(|told| told.len() >= count))
        })
        .await
    }
}

/// The share of checkouts that fail, every five seconds: too high from second 100 to 500.
fn metrics(first_ms: i64, seconds: std::ops::Range<i64>) -> Vec<String> {
    let record = |second: i64| {
        let rate = if (100..500).contains(&second) { 0.05 } else { 0.001 };
        let at_ms = first_ms + second * 1_000;
        format!(
            r#"{{"metric_name":"checkout.error_rate","labels":{{"region":"eu"}},"timestamp":{at_ms},"value":{rate}}}"#
        )
    };
    seconds.step_by(5).map(record).collect()
}

pub(crate) async fn alerts_of_the_migrations_reach_a_webhook(shared: Arc<Shared>) -> anyhow::Result<()> {
    let bootstrap = shared.kafka().await?;
    let kafka = Kafka::new(&bootstrap);
    kafka.create_topic(METRICS, 1).await?;
    let (hook, url) = Webhook::listen().await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let few = "connector = 'generator', dataset = 'ebap.events', rows = '100'";
    let source =
        format!("connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{METRICS}', format = 'json'");
    let tell = format!(", webhook = '{url}', webhook_secret = '{SECRET}'");
    let variables = [("EBAP_EVENTS", few), ("EBAP_METRICS", source.as_str()), ("EBAP_TELL", tell.as_str())];
    migrate(&ebap, "migrations", &variables)?;

    let first_ms = (time::now_us() / 60_000_000 - 20) * 60_000;
    let state = "SELECT state, value, summary FROM ebap.alerts WHERE name = 'checkout_errors'";
    let produce = |seconds| {
        let records = metrics(first_ms, seconds);
        kafka.produce(METRICS, 0, records.iter().map(String::as_str))
    };
    produce(0..450)?;
    rows::execute(&client, &["FLUSH"]).await?;
    let firing = hook.until_told(1).await?;
    let shown = rows::texts(&client, state).await?;
    ensure!(shown == [["firing", "0.05", "0.05 of the checkouts in eu fail"]], "{shown:?}");
    produce(450..900)?;
    rows::execute(&client, &["FLUSH"]).await?;
    let told = hook.until_told(2).await?;
    ensure!(told[0] == firing[0] && told.len() == 2, "{told:?}");
    // It is normal, and there is nothing to say of it.
    let shown = rows::texts(&client, state).await?;
    ensure!(shown == [["normal", "0.001", "NULL"]], "{shown:?}");

    for (json, status) in told.iter().zip(["firing", "resolved"]) {
        for (name, wanted) in [
            ("alert", "checkout_errors"),
            ("status", status),
            ("severity", "page"),
            ("summary", "0.05 of the checkouts in eu fail"),
        ] {
            ensure!(json[name] == wanted, "{name} is not {wanted}: {json}");
        }
        ensure!(json["key"]["region"] == "eu" && json["value"] == 0.05, "{json}");
    }
    let second = |at: &Value| -> anyhow::Result<i64> {
        let at = at.as_str().with_context(|| format!("no time: {at}"))?;
        let at = arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(at).context("a time")?;
        Ok(at / 1_000_000_000 - first_ms / 1_000)
    };
    // From the first bad window on; and a minute longer than the last.
    ensure!((second(&told[0]["since"])?, second(&told[1]["until"])?) == (100, 560), "{told:?}");
    let requests = hook.requests();
    ensure!(requests.len() >= 3, "nothing came again behind the 503: {requests:?}");
    for request in &requests {
        ensure!(request.is_signed()?, "not signed: {request:?}");
    }
    Ok(())
}

/// What is documented of the sinks: keys, view, the columns that make the key, and the fields besides.
const HOT: [(&str, &str, &[&str], &[&str]); 4] = [
    ("ebap:region:", "regional_health", &["name"], &["name", "coords", "intensity", "sales"]),
    ("ebap:active:", "active_users_now", &["platform", "region", "window_start"], &["users"]),
    ("ebap:carts:", "cart_abandonment", &["platform", "region", "window_start"], &["carts", "abandoned"]),
    (
        "ebap:activity:",
        "activity",
        &["window_size", "region", "action", "window_start"],
        &["events", "users", "revenue"],
    ),
];

type Row = BTreeMap<String, String>;

/// What there is under a prefix: hashes with a time to live, whose fields are in their keys where they make them.
async fn hashes(
    redis: &mut MultiplexedConnection,
    prefix: &str,
    by: &[&str],
    fields: &[&str],
) -> anyhow::Result<Vec<Row>> {
    let mut found = Vec::new();
    for key in redis.keys(format!("{prefix}*")).await.context("KEYS")? {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(redis).await.context("TYPE")?;
        ensure!(kind == "hash", "{key} is a {kind}");
        let left_s = redis.ttl(&key).await.context("TTL")?.raw();
        ensure!((1..=24 * 3_600).contains(&left_s), "{key} lives for {left_s} s");
        let all = redis.hgetall(&key).await.context("HGETALL")?;
        ensure!(all.contains_key("_version"), "{key} has {all:?}");
        let of = |name: &&str| {
            let text = all.get(*name).map(String::as_str).with_context(|| format!("no {name} in {key}: {all:?}"))?;
            // The sizes of windows have names in keys.
            let sizes = [("00:01:00", "1m"), ("00:05:00", "5m"), ("01:00:00", "1h")];
            anyhow::Ok(sizes.iter().find(|(size, _)| *size == text).map_or(text, |(_, name)| *name).to_owned())
        };
        let parts: Vec<String> = by.iter().map(of).collect::<anyhow::Result<_>>()?;
        ensure!(key == format!("{prefix}{}", parts.join(":")), "{key} of {parts:?}");
        found.push(fields.iter().filter_map(|name| Some(((*name).to_owned(), all.get(*name)?.clone()))).collect());
    }
    found.sort();
    Ok(found)
}

/// The rows of a view as they are to be there: without what is NULL.
async fn rows_of(client: &Client, view: &str, fields: &[&str]) -> anyhow::Result<Vec<Row>> {
    let sql = format!("SELECT {} FROM {view}", fields.join(", "));
    let named = |row: Vec<String>| fields.iter().map(|name| (*name).to_owned()).zip(row);
    let found = rows::texts(client, &sql).await?.into_iter();
    let mut all: Vec<Row> = found.map(|row| named(row).filter(|(_, text)| text != "NULL").collect()).collect();
    all.sort();
    Ok(all)
}

pub(crate) async fn hot_state_of_the_migrations_is_in_redis(shared: Arc<Shared>) -> anyhow::Result<()> {
    let url = shared.redis().await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    // The generator makes all data, as on a bare machine.
    migrate(&ebap, "migrations", &[])?;
    migrate(&ebap, "migrations/redis", &[("EBAP_REDIS", &url)])?;
    let redis = redis::Client::open(url.as_str()).context("the address of Redis")?;
    let mut redis = redis.get_multiplexed_async_connection().await.context("connect to Redis")?;
    for (prefix, _, by, fields) in HOT {
        wait::until(prefix, wait::PATIENCE, async || {
            Ok((!hashes(&mut redis, prefix, by, fields).await?.is_empty()).then_some(()))
        })
        .await?;
    }
    // What the views say now stays, and what they say is there.
    rows::execute(&client, &["ALTER STREAM events PAUSE", "ALTER STREAM metrics PAUSE"]).await?;
    for (prefix, view, by, fields) in HOT {
        let mut last = (Vec::new(), Vec::new());
        let same = wait::until("Redis has the rows of the view", wait::PATIENCE, async || {
            last = (rows_of(&client, view, fields).await?, hashes(&mut redis, prefix, by, fields).await?);
            Ok((last.0 == last.1).then_some(()))
        })
        .await;
        same.with_context(|| format!("{view}, and {prefix}: {last:?}"))?;
    }
    for row in hashes(&mut redis, "ebap:region:", &["name"], &["coords", "intensity"]).await? {
        let place: Value = serde_json::from_str(&row["coords"]).context("coords")?;
        ensure!(place.as_array().is_some_and(|place| place.len() == 2), "{row:?}");
        ensure!((0..=100).contains(&row["intensity"].parse::<i32>().context("an integer")?), "{row:?}");
    }
    Ok(())
}
