//! Feeds hostile records to a server, and looks whether it still stands and counts them all.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::{
    Service, Stack,
    hostile_records::{AVRO, BINARY_COLUMNS, COLUMNS, FLAT_COLUMNS, JSON_SCHEMA, PROTOBUF, record},
    kafka::Kafka,
    random::Random,
    wire::{Address, Answer, Session},
};

/// Formats whose records are lines of a file.
pub const OF_FILES: [&str; 4] = ["json", "csv", "raw", "debezium-json"];
/// Formats whose schemas are in a registry, over Kafka.
pub const OF_REGISTRY: [&str; 3] = ["avro", "protobuf", "json-schema"];

/// The counts of records that the server took and rejected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub consumed: u64,
    pub emitted: u64,
    pub late: u64,
    pub dead: u64,
    pub filtered: u64,
}

/// Kafka and a registry with a schema of each kind.
pub struct Registry {
    pub kafka: Kafka,
    url: String,
    ids: [u32; 3],
    topics: std::cell::Cell<u32>,
}

impl Registry {
    pub fn start(stack: &mut Stack) -> anyhow::Result<Self> {
        stack.need(&[Service::Kafka, Service::SchemaRegistry])?;
        let mut ids = [0; 3];
        for (at, (kind, text)) in [("AVRO", AVRO), ("PROTOBUF", PROTOBUF), ("JSON", JSON_SCHEMA)].iter().enumerate() {
            let body = json!({ "schema": text, "schemaType": kind }).to_string();
            let path = format!("/subjects/hostile-{kind}-value/versions");
            let answer = stack.run(Service::SchemaRegistry, &["post", &path, &body])?;
            let answer: Value = serde_json::from_str(&answer).context(answer)?;
            let id = answer["id"].as_u64().with_context(|| answer.to_string())?;
            ids[at] = u32::try_from(id).context("an id of a schema")?;
        }
        let kafka = Kafka::new(stack.bootstrap());
        Ok(Self { kafka, url: stack.registry_url(), ids, topics: std::cell::Cell::new(0) })
    }

    fn id(&self, format: &str) -> u32 {
        OF_REGISTRY.iter().position(|other| *other == format).map_or(0, |at| self.ids[at])
    }
}

/// One stream of so many records from a seed, with views over it.
pub struct Feed<'a> {
    pub address: &'a Address,
    pub folder: &'a Path,
    pub registry: Option<&'a Registry>,
    pub patience: Duration,
}

impl Feed<'_> {
    /// Records of a format from a seed.
    pub fn records(&self, format: &str, seed: u64, count: usize) -> Vec<Vec<u8>> {
        let mut random = Random::new(seed);
        let id = self.registry.map_or(0, |registry| registry.id(format));
        let made = (0..count).map(|_| {
            let id = if random.one_in(100) { random.number() as u32 } else { id };
            record(format, &mut random, id)
        });
        let lines = OF_FILES.contains(&format);
        made.map(|record| if lines { as_line(record) } else { record }).collect()
    }

    /// # Errors
    /// Where the server ended or did not answer, or the sums do not add up.
    pub fn run(&self, format: &str, name: &str, records: &[Vec<u8>]) -> anyhow::Result<Counted> {
        let source = self.source(format, name, records)?;
        let mut session = Session::connect(self.address, self.patience)?;
        let mut statements = vec![source];
        let sums = match format {
            "raw" => "count(*) AS n",
            "debezium-json" => "count(*) AS n, sum(i8) AS s, max(tz) AS m",
            _ => "count(*) AS n, sum(i8) AS s, max(f8) AS m, min(t) AS l, max(tz) AS z, avg(f4) AS a",
        };
        statements.push(format!("CREATE MATERIALIZED VIEW {name}_all AS SELECT {sums} FROM {name}"));
        if !["raw", "debezium-json"].contains(&format) {
            statements.push(format!(
                "CREATE MATERIALIZED VIEW {name}_hours AS SELECT b, count(*) AS n, sum(i4) AS s FROM {name} GROUP BY b WINDOW TUMBLE (tz, INTERVAL '1 hour')"
            ));
        }
        for sql in statements {
            match session.query(&sql) {
                Answer::Rows(_) => {}
                other => bail!("{sql}: {other}"),
            }
        }
        // A view may stop where a sum leaves its type; the server may not.
        answered(&mut session, "FLUSH")?;
        let counted = self.counted(&mut session, name)?;
        let sent = if format == "csv" { csv_records(records) } else { records.len() };
        ensure!(counted.consumed == sent as u64, "{name}: {sent} records were sent, {counted:?}");
        let ended = counted.emitted + counted.late + counted.dead + counted.filtered;
        ensure!(ended == counted.consumed, "{name}: the sum of {counted:?} is {ended}");
        for sql in [format!("SELECT * FROM {name} LIMIT 2000"), format!("SELECT * FROM {name}_all")] {
            answered(&mut session, &sql)?;
            if let Answer::Lost(why) = session.execute(&sql, &[], true) {
                bail!("{sql} in binary: {why}");
            }
        }
        answered(&mut session, &format!("SELECT reason FROM {name}$dlq LIMIT 100"))?;
        let kind = if format == "debezium-json" { "TABLE" } else { "STREAM" };
        answered(&mut session, &format!("DROP {kind} {name} CASCADE"))?;
        Ok(counted)
    }

    fn source(&self, format: &str, name: &str, records: &[Vec<u8>]) -> anyhow::Result<String> {
        if let Some(registry) = self.registry.filter(|_| OF_REGISTRY.contains(&format)) {
            registry.topics.set(registry.topics.get() + 1);
            let topic = format!("{name}-{}", registry.topics.get());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
            runtime.block_on(registry.kafka.create_topic(&topic, 1))?;
            registry.kafka.produce(&topic, 0, records)?;
            let options = format!(
                "connector = 'kafka', bootstrap_servers = '{}', schema_registry = '{}', topic = '{topic}', format = '{format}'",
                registry.kafka.bootstrap(),
                registry.url
            );
            return Ok(format!(
                "CREATE STREAM {name} ({BINARY_COLUMNS}, WATERMARK FOR tz AS tz - INTERVAL '1 minute') WITH ({options})"
            ));
        }
        let path = self.folder.join(format!("{name}.records"));
        let lines: Vec<u8> = records.iter().flat_map(|record| record.iter().chain(b"\n")).copied().collect();
        std::fs::write(&path, lines).context("the records")?;
        let options = format!("connector = 'file', path = '{}', format = '{format}'", path.display());
        Ok(match format {
            "raw" => format!("CREATE STREAM {name} (line TEXT) WITH ({options})"),
            "debezium-json" => format!(
                "CREATE TABLE {name} (id BIGINT PRIMARY KEY, i8 BIGINT, f8 DOUBLE, n NUMERIC(30, 4), t TEXT, tz TIMESTAMPTZ) WITH ({options})"
            ),
            format => {
                let columns = if format == "csv" { FLAT_COLUMNS } else { COLUMNS };
                format!(
                    "CREATE STREAM {name} ({columns}, WATERMARK FOR tz AS tz - INTERVAL '1 minute') WITH ({options})"
                )
            }
        })
    }

    fn counted(&self, session: &mut Session, name: &str) -> anyhow::Result<Counted> {
        let sql = format!(
            "SELECT sum(consumed), sum(emitted), sum(late), sum(dead_lettered), sum(filtered) FROM ebap.accounting WHERE job = '{name}'"
        );
        let Answer::Rows(rows) = session.query(&sql) else { bail!("no accounting of {name}") };
        let figure = |at: usize| rows.text(0, at).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        Ok(Counted { consumed: figure(0), emitted: figure(1), late: figure(2), dead: figure(3), filtered: figure(4) })
    }

    /// Few of these records with which the same goes wrong. `again` starts the server again.
    pub fn smallest(
        &self,
        format: &str,
        records: &[Vec<u8>],
        why: &anyhow::Error,
        again: &dyn Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut left = records.to_vec();
        let mut round = 0;
        while left.len() > 1 {
            let (first, second) = left.split_at(left.len() / 2);
            let mut smaller = None;
            for half in [first, second] {
                again()?;
                self.cleared()?;
                round += 1;
                let outcome = self.run(format, &format!("half{round}"), half);
                if outcome.is_err_and(|error| error.to_string() == why.to_string()) {
                    smaller = Some(half.to_vec());
                    break;
                }
            }
            match smaller {
                Some(half) => left = half,
                None => break,
            }
        }
        again()?;
        left.truncate(20);
        Ok(left)
    }
}

impl Feed<'_> {
    /// Takes away every stream and table, which a server that has ended leaves.
    fn cleared(&self) -> anyhow::Result<()> {
        let mut session = Session::connect(self.address, self.patience)?;
        for kind in ["stream", "table"] {
            let Answer::Rows(rows) = session.query(&format!("SELECT name FROM ebap.jobs WHERE kind = '{kind}'")) else {
                bail!("no jobs");
            };
            for name in (0..rows.rows.len()).filter_map(|at| rows.text(at, 0)) {
                answered(&mut session, &format!("DROP {kind} \"{name}\" CASCADE"))?;
            }
        }
        Ok(())
    }
}

fn answered(session: &mut Session, sql: &str) -> anyhow::Result<()> {
    match session.query(sql) {
        Answer::Lost(why) => bail!("{sql}: {why}"),
        Answer::Error(code, message) if code == "XX000" => bail!("{sql}: {code} {message}"),
        _ => Ok(()),
    }
}

/// A record that is one line, and not an empty one.
fn as_line(mut record: Vec<u8>) -> Vec<u8> {
    record.iter_mut().filter(|byte| **byte == b'\n' || **byte == b'\r').for_each(|byte| *byte = b' ');
    if record.iter().all(u8::is_ascii_whitespace) {
        record.push(b'0');
    }
    record
}

/// Records in these lines of CSV: one goes on while a quote is open, and a quote that nothing closes is of its line alone.
fn csv_records(lines: &[Vec<u8>]) -> usize {
    let (mut at, mut count) = (0, 0);
    while at < lines.len() {
        let mut open = false;
        let end = (at..lines.len()).find(|line| {
            open = quote_is_open(&lines[*line], open);
            !open
        });
        at = end.unwrap_or(at) + 1;
        count += 1;
    }
    count
}

/// Behind this line, where one was or was not before it. Only the first byte of a field opens one.
fn quote_is_open(line: &[u8], mut open: bool) -> bool {
    let (mut begins, mut bytes) = (!open, line.iter().peekable());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if open && bytes.peek() == Some(&&b'"') => drop(bytes.next()),
            b'"' if open => open = false,
            b'"' => open = begins,
            _ => {}
        }
        begins = !open && *byte == b',';
    }
    open
}
