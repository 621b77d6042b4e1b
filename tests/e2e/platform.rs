//! Records as the company's data dictionary has them, through EBAP's own migrations: every one is taken, each event is in
//! its region, and Redis has the map.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, ensure};
use ebap_tests::{Ebap, EbapOptions, kafka::Kafka, process, rows, wait};
use redis::{AsyncTypedCommands, aio::MultiplexedConnection};
use serde_json::Value;
use tokio_postgres::Client;

use crate::{
    migrations::{migrate, migrate_folder},
    pipeline::Shared,
};

const EVENTS: &str = "platform.events.raw";
const METRICS: &str = "platform.metrics.telemetry";
const USERS: &str = "platform.cdc.users";
const DEAD_LETTERS: &str = "platform.dead-letter-queue";
const PARTITIONS: i32 = 3;

/// Name and centre of the regions, as the reference table has them.
const REGIONS: [(&str, &str); 8] = [
    ("ap-northeast-1", "[35.68, 139.77]"),
    ("ap-south-1", "[19.08, 72.88]"),
    ("ca-central-1", "[45.5, -73.57]"),
    ("eu-central-1", "[50.11, 8.68]"),
    ("eu-west-1", "[53.35, -6.26]"),
    ("sa-east-1", "[-23.55, -46.63]"),
    ("us-east-1", "[38.95, -77.45]"),
    ("us-west-2", "[45.84, -119.7]"),
];

/// Locations of the samples, and where they are: Los Angeles, Tokyo, London, and a region by its name.
const PLACES: [(&str, &str); 4] = [
    ("34.05,-118.25", "us-west-2"),
    ("35.68,139.69", "ap-northeast-1"),
    ("51.50,-0.12", "eu-west-1"),
    ("Western Europe", "eu-west-1"),
];

fn lines(name: &str) -> anyhow::Result<Vec<String>> {
    let path = process::tests_dir().join("fixtures/platform").join(name);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn json(lines: &[String]) -> anyhow::Result<Vec<Value>> {
    lines.iter().map(|line| serde_json::from_str(line).context("a sample is JSON")).collect()
}

fn text<'a>(json: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    json.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no text {pointer} in {json}"))
}

fn number(json: &Value, pointer: &str) -> anyhow::Result<f64> {
    json.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no number {pointer} in {json}"))
}

/// A region on the map: intensity and cents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Health {
    intensity: i64,
    cents: i64,
}

type Map = BTreeMap<String, Health>;

/// The map that the samples make, all of which are of one minute.
fn expected(events: &[Value], metrics: &[Value]) -> anyhow::Result<Map> {
    let minutes: BTreeSet<&str> =
        events.iter().map(|event| Ok(&text(event, "/timestamp")?[..16])).collect::<anyhow::Result<_>>()?;
    ensure!(minutes.len() == 1, "the samples are of {minutes:?}");
    let mut map: Map = REGIONS.iter().map(|(name, _)| ((*name).to_owned(), Health::default())).collect();
    for event in events.iter().filter(|event| event["action"] == "purchase") {
        let location = text(event, "/location")?;
        let (_, region) = PLACES.iter().find(|(place, _)| *place == location).context("a place of the samples")?;
        map.get_mut(*region).context("a region")?.cents += (number(event, "/metadata/amount")? * 100.0).round() as i64;
    }
    let mut loads: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for metric in metrics.iter().filter(|metric| metric["metric_name"] == "system.cpu.load") {
        loads.entry(text(metric, "/labels/region")?).or_default().push(number(metric, "/value")?);
    }
    for (region, loads) in loads {
        let mean = loads.iter().sum::<f64>() / loads.len() as f64;
        map.get_mut(region).context("a region")?.intensity = (mean * 100.0).round() as i64;
    }
    Ok(map)
}

/// The hash of every region, which has these four fields and beside them the version of whoever wrote it.
async fn in_redis(redis: &mut MultiplexedConnection) -> anyhow::Result<BTreeMap<String, BTreeMap<String, String>>> {
    let mut found = BTreeMap::new();
    for key in redis.keys("ebap:region:*").await.context("KEYS")? {
        let mut hash: BTreeMap<_, _> = redis.hgetall(&key).await.context("HGETALL")?.into_iter().collect();
        hash.remove("_version");
        found.insert(key, hash);
    }
    Ok(found)
}

fn as_documented(map: &Map) -> BTreeMap<String, BTreeMap<String, String>> {
    let hash = |(name, coords): &(&str, &str)| {
        let Health { intensity, cents } = map[*name];
        let sales = format!("{}.{:02}", cents / 100, cents % 100);
        let fields = [
            ("name", (*name).to_owned()),
            ("coords", (*coords).to_owned()),
            ("intensity", intensity.to_string()),
            ("sales", sales),
        ];
        (format!("ebap:region:{name}"), fields.into_iter().map(|(field, text)| (field.to_owned(), text)).collect())
    };
    REGIONS.iter().map(hash).collect()
}

/// The map in the view and in Redis.
async fn is_shown(client: &Client, redis: &mut MultiplexedConnection, map: &Map) -> anyhow::Result<()> {
    let wanted = as_documented(map);
    let shown = rows::texts(client, "SELECT name, coords, intensity, sales FROM regional_health ORDER BY name").await?;
    let fields = |hash: &BTreeMap<String, String>| {
        ["name", "coords", "intensity", "sales"].map(|field| hash[field].clone()).to_vec()
    };
    let of_view: Vec<Vec<String>> = wanted.values().map(fields).collect();
    ensure!(shown == of_view, "regional_health: {shown:?}, and not {of_view:?}");
    let mut last = BTreeMap::new();
    let same = wait::until("Redis has the map", wait::PATIENCE, async || {
        last = in_redis(redis).await?;
        Ok((last == wanted).then_some(()))
    })
    .await;
    same.with_context(|| format!("Redis: {last:?}, and not {wanted:?}"))
}

pub(crate) async fn samples_are_taken_whole_and_make_the_map(shared: Arc<Shared>) -> anyhow::Result<()> {
    let (bootstrap, redis_url) = (shared.kafka().await?, shared.redis().await?);
    let redis = redis::Client::open(redis_url.as_str()).context("the address of Redis")?;
    let mut redis = redis.get_multiplexed_async_connection().await.context("connect to Redis")?;
    // What another platform has written stays the newer one.
    redis.flushall().await.context("FLUSHALL")?;
    let kafka = Kafka::new(&bootstrap);
    for (topic, partitions) in [(EVENTS, PARTITIONS), (METRICS, 1), (USERS, 1), (DEAD_LETTERS, 1)] {
        kafka.create_topic(topic, partitions).await?;
    }
    let (events, metrics) = (lines("events.jsonl")?, lines("metrics.jsonl")?);
    for partition in 0..PARTITIONS {
        kafka.produce(EVENTS, partition, events.iter().skip(usize::try_from(partition)?).step_by(3))?;
    }
    kafka.produce(METRICS, 0, &metrics)?;
    let changes: Vec<(String, Option<String>)> = json(&lines("user-changes.jsonl")?)?
        .iter()
        .map(|change| (change["key"].to_string(), (!change["value"].is_null()).then(|| change["value"].to_string())))
        .collect();
    kafka.produce_keyed(USERS, 0, changes.iter().map(|(key, value)| (key.as_str(), value.as_deref())))?;

    let mut ebap = Ebap::start_with(EbapOptions::default()).await?;
    let client = ebap.connect().await?;
    let of = |topic: &str, more: &str| {
        format!(
            "connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{topic}', dead_letter_topic = '{DEAD_LETTERS}'{more}"
        )
    };
    let (of_events, of_metrics) = (of(EVENTS, ""), of(METRICS, ", timestamp_unit = 'ms'"));
    let of_users = of(USERS, ", format = 'debezium-json'");
    let variables = [("EBAP_EVENTS", of_events.as_str()), ("EBAP_METRICS", &of_metrics), ("EBAP_USERS", &of_users)];
    migrate(&ebap, "migrations", &variables)?;
    migrate(&ebap, "migrations/redis", &[("EBAP_REDIS", &redis_url)])?;
    rows::execute(&client, &["FLUSH"]).await?;

    every_record_is_a_row(&client, [events.len(), metrics.len(), changes.len()]).await?;
    let letters = kafka.read_committed(DEAD_LETTERS)?;
    ensure!(letters.is_empty(), "dead letters: {letters:?}");
    each_event_is_in_its_region(&client).await?;
    rows_follow_the_database(&client).await?;

    let mut map = expected(&json(&events)?, &json(&metrics)?)?;
    ensure!(map["us-west-2"].cents > 0 && map["us-east-1"].intensity > 0, "the samples say little: {map:?}");
    is_shown(&client, &mut redis, &map).await?;

    // The next minute, of one region each: those that have nothing newer stay as they are.
    kafka.produce(EVENTS, 1, [NEXT_EVENT])?;
    kafka.produce(METRICS, 0, [NEXT_LOAD])?;
    rows::execute(&client, &["FLUSH"]).await?;
    map.insert("ca-central-1".to_owned(), Health { intensity: 0, cents: 1_005 });
    map.insert("us-east-1".to_owned(), Health { intensity: 100, cents: 0 });
    is_shown(&client, &mut redis, &map).await?;

    ebap.kill()?;
    ebap.start_again().await?;
    let client = ebap.connect().await?;
    rows::execute(&client, &["FLUSH"]).await?;
    is_shown(&client, &mut redis, &map).await
}

const NEXT_EVENT: &str = r#"{"id":"00000000-0000-4000-8000-000000000001","user_id":"u7","action":"purchase","metadata":{"item_id":"sku-1","amount":10.05},"location":"45.42,-75.70","timestamp":"2026-11-29T03:01:00Z"}"#;
/// More than a region can bear.
const NEXT_LOAD: &str = r#"{"metric_name":"system.cpu.load","labels":{"region":"us-east-1","platform":"ios"},"timestamp":1795921260000,"value":1.75}"#;

/// Nothing was rejected, late or failed, in no stream and no view.
async fn every_record_is_a_row(client: &Client, counts: [usize; 3]) -> anyhow::Result<()> {
    let sql = "SELECT job, sum(consumed), sum(emitted) FROM ebap.accounting WHERE job IN ('events', 'metrics', 'users') GROUP BY job ORDER BY job";
    let counts = counts.map(|count| count.to_string());
    let wanted: Vec<[&str; 3]> =
        ["events", "metrics", "users"].into_iter().zip(&counts).map(|(job, count)| [job, count, count]).collect();
    let found = rows::texts(client, sql).await?;
    ensure!(found == wanted, "accounting: {found:?}, and not {wanted:?}");
    let lost = "SELECT job, late, dead_lettered, failed FROM ebap.accounting WHERE late + dead_lettered + failed > 0";
    let lost = rows::texts(client, lost).await?;
    ensure!(lost.is_empty(), "not taken: {lost:?}");
    let states =
        rows::texts(client, "SELECT name, state, message FROM ebap.jobs WHERE state = 'failed' OR message IS NOT NULL")
            .await?;
    ensure!(states.is_empty(), "{states:?}");
    Ok(())
}

async fn each_event_is_in_its_region(client: &Client) -> anyhow::Result<()> {
    let found = rows::texts(client, "SELECT DISTINCT location, region FROM events ORDER BY location").await?;
    ensure!(found == PLACES.map(|(place, region)| [place, region]), "{found:?}");
    // The minute adds up: no event is without its region.
    let counted = "SELECT sum(events) FROM activity WHERE window_size = INTERVAL '1 minute' AND region IS NOT NULL";
    let counted = rows::texts(client, counted).await?;
    ensure!(counted == [["200"]], "{counted:?}");

    for (location, region) in [
        ("EU-West-1", "eu-west-1"),
        (" western europe ", "eu-west-1"),
        ("-17.8, 179.9", "ap-northeast-1"),
        ("-17.8,-179.9", "ap-northeast-1"),
        ("90,0", "eu-west-1"),
        ("-90,0", "sa-east-1"),
        ("91,0", "NULL"),
        ("Atlantis", "NULL"),
        ("", "NULL"),
    ] {
        let found = rows::texts(client, &format!("SELECT region_of('{location}')")).await?;
        ensure!(found == [[region]], "{location} is in {found:?}, and not in {region}");
    }
    // The function and the table have the same regions.
    let same = "SELECT name FROM regions WHERE region_of(lat || ',' || lng) = name AND region_of(title) = name AND region_of(name) = name";
    let same = rows::texts(client, &format!("{same} ORDER BY name")).await?;
    ensure!(same == REGIONS.map(|(name, _)| [name]), "{same:?}");
    Ok(())
}

/// Inserts, updates, deletes with their tombstones and a changed key.
async fn rows_follow_the_database(client: &Client) -> anyhow::Result<()> {
    let found = rows::texts(
        client,
        "SELECT user_id, name, email, country, tier, balance, active, created_at FROM users ORDER BY user_id",
    )
    .await?;
    let wanted = [
        ["2", "Linus", "linus@example.com", "FI", "free", "0.00", "t", "2026-01-03 00:00:00+00"],
        ["30", "Grace", "grace@example.com", "US", "platinum", "13.34", "t", "2026-11-23 10:24:53.703747+00"],
    ];
    ensure!(found == wanted, "{found:?}");
    Ok(())
}

/// Follows the changelog where an older set of the migrations is applied.
pub(crate) async fn an_older_platform_is_replaced_by_one_more_file() -> anyhow::Result<()> {
    let mut ebap = Ebap::start().await?;
    let few = |dataset: &str| format!("connector = 'generator', dataset = 'ebap.{dataset}', rows = '500'");
    let (events, metrics, users) = (few("events"), few("metrics"), few("users"));
    let of_old = [("EBAP_EVENTS", events.as_str()), ("EBAP_METRICS", &metrics), ("EBAP_USERS", &users)];
    let changes = format!("{users}, format = 'debezium-json'");
    let of_new = [of_old[0], of_old[1], ("EBAP_USERS", &changes)];

    let folder = tempfile::tempdir().context("a folder")?;
    let applied = process::tests_dir().join("fixtures/platform/applied-before");
    for file in sql_files(&applied)? {
        fs::copy(applied.join(&file), folder.path().join(&file)).with_context(|| file.clone())?;
    }
    migrate_folder(&ebap, folder.path(), &of_old)?;
    let refused = migrate(&ebap, "migrations", &of_new).err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(refused.contains("0001_sources.sql has changed since it was applied"), "{refused}");

    let mut text = "DROP STREAM events CASCADE;\nDROP STREAM metrics CASCADE;\nDROP TABLE users CASCADE;\n".to_owned();
    let new = process::tests_dir().join("../sql/migrations");
    for file in sql_files(&new)? {
        text += &fs::read_to_string(new.join(&file)).with_context(|| file.clone())?;
    }
    fs::write(folder.path().join("0010_platform.sql"), text).context("one more file")?;
    migrate_folder(&ebap, folder.path(), &of_new)?;
    for start in ["first", "second"] {
        let client = ebap.connect().await?;
        rows::execute(&client, &["FLUSH"]).await?;
        let regions = rows::texts(&client, "SELECT name, coords FROM regional_health ORDER BY name").await?;
        ensure!(regions == REGIONS.map(|(name, coords)| [name, coords]), "{start} start: {regions:?}");
        let counts =
            "SELECT count(*), count(region), (SELECT count(*) FROM metrics), (SELECT count(*) FROM users) FROM events";
        let counts = rows::texts(&client, counts).await?;
        ensure!(counts == [["500"; 4]], "{start} start: {counts:?}");
        let lost = "SELECT job, dead_lettered, failed FROM ebap.accounting WHERE dead_lettered + failed > 0";
        let lost = rows::texts(&client, lost).await?;
        ensure!(lost.is_empty(), "{start} start: {lost:?}");
        ebap.kill()?;
        ebap.start_again().await?;
    }
    Ok(())
}

/// Names of the files of a folder, in their order.
fn sql_files(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let mut names = entries.map(name).collect::<io::Result<Vec<String>>>().context("the files of a folder")?;
    names.retain(|name| name.ends_with(".sql"));
    names.sort();
    Ok(names)
}
