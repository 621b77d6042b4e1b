//! Every kind of stream and table, each made again over other records than before, with its views.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use ebap_tests::{Ebap, Service, kafka::Kafka, rows};

use super::{Case, Feed, ROUNDS_PER_KILL, Services, change, event, rounds, verify};
use crate::options;

const RECORDS: u64 = 60;
/// Told apart by how many records they have, too.
const OTHERS: u64 = 90;

const COLUMNS: &str = "n BIGINT NOT NULL, k TEXT NOT NULL, v BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '1 day'";

macro_rules! counted {
    ($name:literal, $from:literal) => {
        Case {
            name: $name,
            view: concat!("SELECT k, count(*) AS c, sum(v) AS s, min(n) AS l FROM ", $from, " GROUP BY k"),
            columns: "k, c, s, l",
            batch: concat!("SELECT k, count(*), sum(v), min(n) FROM ", $from, " GROUP BY k"),
        }
    };
}

const VIEWS: [Case; 8] = [
    counted!("of_json", "from_json"),
    counted!("of_csv", "from_csv"),
    counted!("of_kafka", "from_kafka"),
    counted!("of_generator", "from_generator"),
    counted!("of_table", "from_table"),
    Case {
        name: "of_changes",
        view: "SELECT g, count(*) AS c, sum(x) AS s FROM from_changes GROUP BY g",
        columns: "g, c, s",
        batch: "SELECT g, count(*), sum(x) FROM from_changes GROUP BY g",
    },
    Case {
        name: "of_both",
        view: "SELECT j.n, q.v FROM from_json j JOIN from_kafka q
               ON j.n = q.n AND q.at BETWEEN j.at - INTERVAL '1 minute' AND j.at + INTERVAL '1 minute'",
        columns: "n, v",
        batch: "SELECT j.n, q.v FROM from_json j JOIN from_kafka q ON j.n = q.n AND q.at = j.at",
    },
    Case {
        name: "windows_of_kafka",
        view: "SELECT count(*) AS c FROM from_kafka WINDOW TUMBLE (at, INTERVAL '5 minutes')",
        columns: "window_start, c",
        batch: "SELECT date_bin(INTERVAL '5 minutes', at), count(*) FROM from_kafka GROUP BY 1",
    },
];

fn as_csv(number: u64) -> String {
    format!("{number},k{},{},{}", number % 7, number * 37 % 101, super::time_of(number))
}

/// Two of each kind, with other records.
struct Sources {
    json: [Feed; 2],
    csv: [Feed; 2],
    changes: [Feed; 2],
    bootstrap: String,
    kafka: Kafka,
    sent: [u64; 2],
}

impl Sources {
    async fn new(folder: &Path, bootstrap: String) -> anyhow::Result<Self> {
        let two = |name: &str, line: fn(u64) -> String| -> anyhow::Result<[Feed; 2]> {
            let mut feeds =
                [Feed::new(folder, &format!("{name}0"), line)?, Feed::new(folder, &format!("{name}1"), line)?];
            feeds[0].append(RECORDS)?;
            feeds[1].append(OTHERS)?;
            Ok(feeds)
        };
        let kafka = Kafka::new(bootstrap.clone());
        let (json, csv, changes) = (two("json", event)?, two("csv", as_csv)?, two("changes", change)?);
        let mut sources = Self { json, csv, changes, bootstrap, kafka, sent: [0, 0] };
        for (which, records) in [RECORDS, OTHERS].into_iter().enumerate() {
            sources.kafka.create_topic(&format!("anew-{which}"), 2).await?;
            sources.produce(which, records)?;
        }
        Ok(sources)
    }

    fn produce(&mut self, which: usize, records: u64) -> anyhow::Result<()> {
        let from = self.sent[which];
        for partition in 0..2_u64 {
            let numbers = (from..from + records).filter(|number| number % 2 == partition);
            let values: Vec<String> = numbers.map(event).collect();
            self.kafka.produce(&format!("anew-{which}"), i32::try_from(partition)?, &values)?;
        }
        self.sent[which] += records;
        Ok(())
    }

    fn go_on(&mut self) -> anyhow::Result<()> {
        for feeds in [&mut self.json, &mut self.csv, &mut self.changes] {
            feeds[0].append(1)?;
            feeds[1].append(1)?;
        }
        Ok(())
    }

    /// Kind, name and the rest of the statement that creates it.
    fn statements(&self, which: usize) -> [(&'static str, &'static str, String); 6] {
        let file = |feed: &Feed, format: &str| {
            let path = feed.path.display();
            format!("WITH (connector = 'file', path = '{path}', format = '{format}', follow = 'true')")
        };
        let (json, csv, changes) = (&self.json[which], &self.csv[which], &self.changes[which]);
        let (bootstrap, rows) = (&self.bootstrap, if which == 0 { RECORDS } else { OTHERS });
        [
            ("STREAM", "from_json", format!("({COLUMNS}) {}", file(json, "json"))),
            ("STREAM", "from_csv", format!("({COLUMNS}) {}", file(csv, "csv"))),
            (
                "STREAM",
                "from_kafka",
                format!(
                    "({COLUMNS}) WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = 'anew-{which}')"
                ),
            ),
            (
                "STREAM",
                "from_generator",
                format!(
                    "(n BIGINT NOT NULL, k TEXT NOT NULL, v BIGINT NOT NULL)
                     WITH (connector = 'generator', rows = {rows}, seed = {rows}, splits = 2)"
                ),
            ),
            (
                "TABLE",
                "from_table",
                format!("(n BIGINT PRIMARY KEY, k TEXT NOT NULL, v BIGINT NOT NULL) {}", file(json, "json")),
            ),
            (
                "TABLE",
                "from_changes",
                format!("(id BIGINT PRIMARY KEY, g TEXT, x BIGINT) {}", file(changes, "debezium-json")),
            ),
        ]
    }
}

pub(crate) async fn streams_made_anew_are_whole(services: Arc<Services>) -> anyhow::Result<()> {
    let (bootstrap, _) = services.started(&[Service::Kafka]).await?;
    let (data, folder) = (tempfile::tempdir().context("a data directory")?, tempfile::tempdir().context("a folder")?);
    let mut sources = Sources::new(folder.path(), bootstrap).await?;
    let mut ebap = Ebap::start_with(options(&data)).await?;
    let mut client = ebap.connect().await?;
    for round in 0..rounds() {
        let which = usize::from(!round.is_multiple_of(2));
        sources.produce(which, 2)?;
        for (kind, name, rest) in sources.statements(which) {
            sources.go_on()?;
            let drop = format!("DROP {kind} IF EXISTS {name} CASCADE");
            if round % ROUNDS_PER_KILL == ROUNDS_PER_KILL / 2 && name == "from_kafka" {
                let (killed, _) = tokio::join!(async { ebap.kill() }, client.simple_query(&drop));
                killed?;
                ebap.start_again().await?;
                client = ebap.connect().await?;
            }
            rows::execute(&client, &[&drop, &format!("CREATE {kind} {name} {rest}")]).await?;
        }
        for case in &VIEWS {
            sources.go_on()?;
            rows::execute(&client, &[&format!("CREATE MATERIALIZED VIEW {} AS {}", case.name, case.view)]).await?;
        }
        rows::execute(&client, &["FLUSH"]).await?;
        verify(&client, &VIEWS).await.with_context(|| format!("round {round}"))?;
    }
    Ok(())
}
