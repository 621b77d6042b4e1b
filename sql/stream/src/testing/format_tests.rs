//! State of an older format opens and gives the answers it gave: a folder of every format that ever
//! landed is kept under `fixtures/`.
//!
//! `EBAP_FIXTURE_WRITE=1 cargo test -p ebap-stream --lib format_tests` writes the folder of the format
//! there is now. Do that once, when `checkpoint::FORMAT` rises, and never over an older folder.

use std::{
    collections::BTreeSet,
    path::{Path as FilePath, PathBuf},
};

use futures::TryStreamExt;
use object_store::{ObjectStoreExt, path::Path};

use super::rig::Rig;
use crate::checkpoint::{FORMAT, Manifest};

const STREAM: &str = "CREATE STREAM events (
    id BIGINT NOT NULL, region TEXT CHECK (region <> 'nowhere'), amount BIGINT, score DOUBLE, ok BOOLEAN,
    timestamp TIMESTAMPTZ NOT NULL, WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds'
) WITH (connector = 'test', idle_timeout = '1 hour')";

const TABLE: &str = "CREATE TABLE users (id BIGINT PRIMARY KEY, tier TEXT) WITH (connector = 'test')";

/// What makes each view, and in which order its rows are compared.
const VIEWS: [(&str, &str, &str); 8] = [
    (
        "thin",
        "SELECT region, count(*) AS events, sum(amount) AS revenue, min(amount) AS least, max(score) AS most, avg(amount) AS mean
         FROM events GROUP BY region WINDOW TUMBLE (timestamp, INTERVAL '1 minute', INTERVAL '5 minutes', INTERVAL '1 hour')",
        "window_end, window_start, region",
    ),
    (
        "fat",
        "SELECT region, count(DISTINCT id) AS ids, array_agg(DISTINCT amount ORDER BY amount) AS amounts
         FROM events GROUP BY region WINDOW TUMBLE (timestamp, INTERVAL '1 minute', INTERVAL '5 minutes')",
        "window_end, window_start, region",
    ),
    (
        "closed",
        "SELECT window_start, count(*) AS events, count(DISTINCT region) AS regions
         FROM TUMBLE(events, timestamp, INTERVAL '1 minute') GROUP BY window_start EMIT ON WINDOW CLOSE",
        "window_start",
    ),
    (
        "totals",
        "SELECT region, ok, count(*) AS events, approx_distinct(id) AS ids, avg(score) AS mean
         FROM events GROUP BY region, ok HAVING count(*) > 2",
        "region, ok",
    ),
    ("scores", "SELECT score, count(*) FILTER (WHERE ok) AS good FROM events GROUP BY score", "score"),
    ("every", "SELECT count(*) AS events, first_value(id ORDER BY id) AS first FROM events", "events"),
    ("single", "SELECT id, region, amount * 2 AS twice FROM events WHERE ok", "id"),
    ("users", "", "id"),
];

/// Records of the part: in order, some late, one in forty that cannot be read.
fn lines(part: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    part.map(|at| {
        let second = if at % 23 == 22 { at - 200 } else { at } + 3_600;
        let region = ["\"eu\"", "\"us\"", "\"\"", "null"][(at % 4) as usize];
        let amount = if at % 9 == 8 { "null".to_owned() } else { (at % 17).to_string() };
        let time = format!("2026-01-01T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60);
        let (score, ok) = (at % 5, at % 3 == 0);
        match at % 40 {
            39 => format!("{{broken {at}"),
            _ => format!(
                r#"{{"id":{at},"region":{region},"amount":{amount},"score":{score}.5,"ok":{ok},"timestamp":"{time}"}}"#
            ),
        }
    })
}

/// All at once, as a server that starts. The table reads the same splits: its rows are the ids of the stream.
async fn start(rig: &mut Rig) {
    rig.declare(STREAM);
    rig.declare(TABLE);
    for (view, query, _) in VIEWS.iter().filter(|(_, query, _)| !query.is_empty()) {
        rig.declare(&format!("CREATE MATERIALIZED VIEW {view} AS {query}"));
    }
    rig.declare("CREATE SINK cold FROM events WITH (connector = 'test')");
    rig.start().await;
}

async fn answers(rig: &Rig) -> String {
    let mut text = String::new();
    for (view, _, order) in VIEWS {
        text += &format!("{view}\n{}\n", rig.query(&format!("SELECT * FROM {view} ORDER BY {order}")).await);
    }
    for (what, query) in [
        ("late", "SELECT job, sum(late) AS late, sum(consumed) AS consumed FROM accounting GROUP BY job ORDER BY job"),
        ("dead letters", "SELECT _partition, _offset, reason FROM \"events$dlq\" ORDER BY 1, 2"),
    ] {
        text += &format!("{what}\n{}\n", rig.query(query).await);
    }
    text
}

fn folder(format: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("format-{format}"))
}

/// The newest manifest of each pipeline and the files it names: what a restart needs.
async fn save(rig: &Rig, to: &FilePath) {
    let all: Vec<_> = rig.store.list(None).try_collect().await.expect("in memory");
    let mut needed = BTreeSet::new();
    let mut newest = std::collections::BTreeMap::new();
    for file in &all {
        if let Some((pipeline, _)) = file.location.as_ref().split_once("/manifest/") {
            newest.insert(pipeline.to_owned(), file.location.clone());
        }
    }
    for (pipeline, path) in newest {
        let bytes = rig.store.get(&path).await.expect("listed").bytes().await.expect("in memory");
        let manifest: Manifest = serde_json::from_slice(&bytes).expect("a manifest");
        let both = manifest.jobs.values().any(|job| job.state.is_some() && !job.deltas.is_empty());
        let table = manifest.jobs.len() == 1;
        assert!(both || table, "the fixture has a base and deltas over it");
        needed.extend(manifest.files().map(|file| Path::from(format!("{pipeline}/state/{file}"))));
        needed.insert(path);
    }
    for path in needed {
        let bytes = rig.store.get(&path).await.expect("named").bytes().await.expect("in memory");
        let file = to.join(path.as_ref());
        std::fs::create_dir_all(file.parent().expect("below the folder")).expect("a folder");
        std::fs::write(file, bytes).expect("a file");
    }
}

async fn load(rig: &Rig, from: &FilePath, below: &FilePath) {
    let folder = from.join(below);
    for entry in std::fs::read_dir(&folder).expect("a folder of the fixture") {
        let entry = entry.expect("an entry");
        let name = below.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            Box::pin(load(rig, from, &name)).await;
        } else {
            let bytes = std::fs::read(entry.path()).expect("a file of the fixture");
            let path = Path::from(name.to_str().expect("ASCII names"));
            rig.store.put(&path, bytes.into()).await.expect("in memory");
        }
    }
}

const BEFORE: std::ops::Range<i64> = 0..1_000;
const AFTER: std::ops::Range<i64> = 1_000..1_200;

#[tokio::test]
async fn the_fixture_of_this_format_is_written_when_asked_for() {
    if std::env::var_os("EBAP_FIXTURE_WRITE").is_none() {
        return;
    }
    let to = folder(FORMAT);
    let mut rig = Rig::new();
    // An epoch per FLUSH: six deltas, a base, three deltas over it.
    rig.config.checkpoint_interval = std::time::Duration::from_secs(3_600);
    rig.config.deltas_max = 6;
    start(&mut rig).await;
    // In parts, so that there is a base and deltas over it, and windows that closed between them.
    for part in 0..10 {
        rig.outside.produce("0", lines(part * 100..(part + 1) * 100));
        rig.flush().await;
    }
    let before = answers(&rig).await;
    save(&rig, &to).await;
    std::fs::write(to.join("before.txt"), before).expect("a file");
    rig.outside.produce("0", lines(AFTER));
    rig.flush().await;
    std::fs::write(to.join("after.txt"), answers(&rig).await).expect("a file");
}

#[tokio::test]
async fn state_of_every_format_opens_with_its_answers() {
    for format in 1..=FORMAT {
        let from = folder(format);
        let mut rig = Rig::new();
        load(&rig, &from, FilePath::new("pipelines")).await;
        // What lies below the position cannot be read again: the answers come from the state alone.
        rig.outside.produce("0", BEFORE.map(|_| "{gone".to_owned()));
        rig.outside.already_committed("0", BEFORE.end);
        start(&mut rig).await;
        rig.flush().await;
        let wanted = |name: &str| std::fs::read_to_string(from.join(name)).expect("a file of the fixture");
        // The average of integers is NUMERIC since these were written: its view is built again, and says so.
        let again = rig.query("SELECT message FROM jobs WHERE name = 'thin'").await;
        assert!(again.contains("again"), "{again}");
        compare(&answers(&rig).await, &wanted("before.txt"), &["thin", "late"]);
        rig.outside.produce("0", lines(AFTER));
        rig.flush().await;
        // The sketch of approx_distinct() goes on with the hashes of another DataFusion.
        compare(&answers(&rig).await, &wanted("after.txt"), &["thin", "late", "totals"]);
    }
}

/// Answers view by view, but for those that cannot be the same.
fn compare(found: &str, wanted: &str, left_out: &[&str]) {
    let (found, wanted) = (sections(found), sections(wanted));
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (name, text) in wanted.iter().filter(|(name, _)| !left_out.contains(&name.as_str())) {
        assert_eq!(&found[name], text, "{name}");
    }
}

/// Each table of the text by the line above it.
fn sections(text: &str) -> std::collections::BTreeMap<String, String> {
    let mut all = std::collections::BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        match line.starts_with(['+', '|']) || line.is_empty() {
            true => *all.entry(name.clone()).or_insert_with(String::new) += &format!("{line}\n"),
            false => name = line.to_owned(),
        }
    }
    all
}
