//! Every kind of view, over streams and tables that stay while rows come in.

use anyhow::Context;
use ebap_tests::{Ebap, rows};
use tokio_postgres::Client;

use super::{Case, Feed, ROUNDS_PER_KILL, change, event, rounds, verify};
use crate::options;

/// After so many the streams are made anew too, over files that are short again.
const ROUNDS_PER_FILE: u64 = 24;
const RECORDS_FIRST: u64 = 300;

const VIEWS: [Case; 15] = [
    Case {
        name: "tumbled",
        view: "SELECT k, count(*) AS c, sum(v) AS s FROM a GROUP BY k WINDOW TUMBLE (at, INTERVAL '1 minute')",
        columns: "window_start, k, c, s",
        batch: "SELECT date_bin(INTERVAL '1 minute', at), k, count(*), sum(v) FROM a GROUP BY 1, 2",
    },
    Case {
        name: "hopped",
        view: "SELECT k, count(*) AS c FROM a GROUP BY k WINDOW HOP (at, INTERVAL '1 minute', INTERVAL '2 minutes')",
        columns: "window_start, k, c",
        batch: "SELECT w, k, count(*) FROM (SELECT date_bin(INTERVAL '1 minute', at) AS w, k FROM a
                UNION ALL SELECT date_bin(INTERVAL '1 minute', at) - INTERVAL '1 minute' AS w, k FROM a) x GROUP BY 1, 2",
    },
    Case {
        name: "in_sessions",
        view: "SELECT k, count(*) AS c, max(v) AS m FROM a GROUP BY k WINDOW SESSION (at, INTERVAL '5 minutes')",
        columns: "window_start, k, c, m",
        batch: "SELECT min(at), k, count(*), max(v) FROM (
                    SELECT k, at, v, sum(first) OVER (PARTITION BY k ORDER BY at) AS session FROM (
                        SELECT k, at, v, CASE WHEN at - lag(at) OVER (PARTITION BY k ORDER BY at) < INTERVAL '5 minutes'
                            THEN 0 ELSE 1 END AS first FROM a) x) y GROUP BY k, session",
    },
    Case {
        name: "running",
        view: "SELECT k, count(*) AS c, min(v) AS l, max(v) AS m, count(DISTINCT v) AS d FROM a GROUP BY k",
        columns: "k, c, l, m, d",
        batch: "SELECT k, count(*), min(v), max(v), count(DISTINCT v) FROM a GROUP BY k",
    },
    Case {
        name: "filtered",
        view: "SELECT n, k FROM a WHERE v % 3 = 0",
        columns: "n, k",
        batch: "SELECT n, k FROM a WHERE v % 3 = 0",
    },
    Case {
        name: "told_apart",
        view: "SELECT DISTINCT k, v % 5 AS r FROM a",
        columns: "k, r",
        batch: "SELECT DISTINCT k, v % 5 FROM a",
    },
    Case {
        name: "largest",
        view: "SELECT n, v FROM a ORDER BY v DESC, n LIMIT 7",
        columns: "n, v",
        batch: "SELECT n, v FROM a ORDER BY v DESC, n LIMIT 7",
    },
    Case {
        name: "joined",
        view: "SELECT a.n, b.n AS m FROM a JOIN b ON a.k = b.k AND b.at BETWEEN a.at - INTERVAL '1 minute' AND a.at",
        columns: "n, m",
        batch: "SELECT a.n, b.n FROM a JOIN b ON a.k = b.k AND b.at BETWEEN a.at - INTERVAL '1 minute' AND a.at",
    },
    Case {
        name: "joined_and_counted",
        view: "SELECT a.k, count(*) AS c FROM a JOIN b ON a.n = b.n AND b.at BETWEEN a.at - INTERVAL '1 minute' AND a.at
               GROUP BY a.k",
        columns: "k, c",
        batch: "SELECT a.k, count(*) FROM a JOIN b ON a.n = b.n GROUP BY a.k",
    },
    Case {
        name: "with_tier",
        view: "SELECT a.n, t.tier FROM a LEFT JOIN t ON t.k = a.k",
        columns: "n, tier",
        batch: "SELECT a.n, t.tier FROM a LEFT JOIN t ON t.k = a.k",
    },
    Case {
        name: "changing",
        view: "SELECT g, count(*) AS c, sum(x) AS s, max(x) AS m FROM c GROUP BY g",
        columns: "g, c, s, m",
        batch: "SELECT g, count(*), sum(x), max(x) FROM c GROUP BY g",
    },
    Case {
        name: "tables_joined",
        view: "SELECT c.id, c.x, t.tier FROM c LEFT JOIN t ON t.k = 'k' || CAST(c.x % 7 AS TEXT)",
        columns: "id, x, tier",
        batch: "SELECT c.id, c.x, t.tier FROM c LEFT JOIN t ON t.k = 'k' || CAST(c.x % 7 AS TEXT)",
    },
    Case {
        name: "largest_of_each",
        view: "SELECT g, id, r FROM (SELECT g, id, ROW_NUMBER() OVER (PARTITION BY g ORDER BY x DESC, id) AS r FROM c) x
               WHERE r <= 2",
        columns: "g, id, r",
        batch: "SELECT g, id, r FROM (SELECT g, id, ROW_NUMBER() OVER (PARTITION BY g ORDER BY x DESC, id) AS r FROM c) x
                WHERE r <= 2",
    },
    // Of views that are made anew before them.
    Case {
        name: "on_a_view",
        view: "SELECT k, max(c) AS m, count(*) AS w FROM tumbled GROUP BY k",
        columns: "k, m, w",
        batch: "SELECT k, max(c), count(*) FROM (SELECT date_bin(INTERVAL '1 minute', at) AS w, k, count(*) AS c FROM a
                GROUP BY 1, 2) x GROUP BY k",
    },
    Case {
        name: "on_two_views",
        view: "SELECT r.k, r.c, o.m FROM running r JOIN on_a_view o ON o.k = r.k",
        columns: "k, c, m",
        batch: "SELECT r.k, r.c, o.m FROM (SELECT k, count(*) AS c FROM a GROUP BY k) r JOIN (
                    SELECT k, max(c) AS m FROM (SELECT date_bin(INTERVAL '1 minute', at) AS w, k, count(*) AS c FROM a
                    GROUP BY 1, 2) x GROUP BY k) o ON o.k = r.k",
    },
];

/// The streams and tables that the views read.
struct Read {
    a: Feed,
    b: Feed,
    c: Feed,
    _folder: tempfile::TempDir,
}

impl Read {
    async fn create(client: &Client) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("a folder for files")?;
        let feed = |name, line| Feed::new(folder.path(), name, line);
        let (mut a, mut b, mut c) = (feed("a", event)?, feed("b", event)?, feed("c", change)?);
        let tiers = folder.path().join("t");
        let lines: String = (0..6).map(|key| format!("{{\"k\":\"k{key}\",\"tier\":\"t{}\"}}\n", key / 2)).collect();
        std::fs::write(&tiers, lines).context("a file")?;
        a.append(RECORDS_FIRST)?;
        b.append(RECORDS_FIRST)?;
        c.append(RECORDS_FIRST)?;
        let source = |what: &str, columns: &str, path: &std::path::Path, format: &str| {
            let path = path.display();
            format!(
                "CREATE {what} ({columns}) WITH (connector = 'file', path = '{path}', format = '{format}', follow = 'true')"
            )
        };
        let columns = "n BIGINT NOT NULL, k TEXT NOT NULL, v BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL,
            WATERMARK FOR at AS at - INTERVAL '1 day'";
        let statements = [
            source("STREAM a", columns, &a.path, "json"),
            source("STREAM b", columns, &b.path, "json"),
            source("TABLE c", "id BIGINT PRIMARY KEY, g TEXT, x BIGINT", &c.path, "debezium-json"),
            source("TABLE t", "k TEXT PRIMARY KEY, tier TEXT", &tiers, "json"),
            // Of the table there is all when the first row of a stream meets it.
            "FLUSH".to_owned(),
        ];
        rows::execute(client, &statements.each_ref().map(String::as_str)).await?;
        Ok(Self { a, b, c, _folder: folder })
    }

    fn goes_on(&mut self) -> anyhow::Result<()> {
        self.a.append(1)?;
        self.b.append(1)?;
        self.c.append(1)
    }
}

const DROP_SOURCES: &str = "DROP STREAM a, b CASCADE; DROP TABLE c, t CASCADE";

pub(crate) async fn views_made_anew_are_whole() -> anyhow::Result<()> {
    let data = tempfile::tempdir().context("a data directory")?;
    let mut ebap = Ebap::start_with(options(&data)).await?;
    let mut client = ebap.connect().await?;
    let mut read = Read::create(&client).await?;
    create_all(&client, &mut read).await?;
    for round in 1..=rounds() {
        if round.is_multiple_of(ROUNDS_PER_FILE) {
            rows::execute(&client, &[DROP_SOURCES]).await?;
            read = Read::create(&client).await?;
            create_all(&client, &mut read).await?;
        } else if round % ROUNDS_PER_KILL == ROUNDS_PER_KILL / 2 {
            // Answered or not, it is over at once. Where it dies is another place each time.
            let doomed = usize::try_from(round).unwrap_or_default() % VIEWS.len();
            for case in &VIEWS[..doomed] {
                read.goes_on()?;
                rows::execute(&client, &[&format!("DROP MATERIALIZED VIEW IF EXISTS {} CASCADE", case.name)]).await?;
            }
            let last = format!("DROP MATERIALIZED VIEW IF EXISTS {} CASCADE", VIEWS[doomed].name);
            let (killed, _) = tokio::join!(async { ebap.kill() }, client.simple_query(&last));
            killed?;
            ebap.start_again().await?;
            client = ebap.connect().await?;
            for case in &VIEWS {
                rows::execute(&client, &[&format!("DROP MATERIALIZED VIEW IF EXISTS {} CASCADE", case.name)]).await?;
            }
            create_all(&client, &mut read).await?;
        } else {
            make_anew(&client, &mut read, round).await?;
        }
        rows::execute(&client, &["FLUSH"]).await?;
        verify(&client, &VIEWS).await.with_context(|| format!("round {round}"))?;
    }
    // None of what was dropped is left, also where the server died before it was gone.
    let folder = ebap.data_dir().join("pipelines");
    let before = folders(&folder)?;
    let path = read.a.path.display();
    let gone = format!("CREATE STREAM gone (n BIGINT) WITH (connector = 'file', path = '{path}')");
    rows::execute(&client, &[&gone, "FLUSH"]).await?;
    let of_gone =
        folders(&folder)?.into_iter().find(|name| !before.contains(name)).context("a folder of the stream")?;
    rows::execute(&client, &["DROP STREAM gone"]).await?;
    ebap.kill()?;
    for file in ["manifest/000000000001.json", "state/000000000001-1-rows.arrow", "state/000000000002-1-rows.arrow#1"] {
        let file = folder.join(&of_gone).join(file);
        std::fs::create_dir_all(file.parent().context("a folder")?).context("a folder")?;
        std::fs::write(file, "cut off").context("a file")?;
    }
    ebap.start_again().await?;
    let client = ebap.connect().await?;
    rows::execute(&client, &["FLUSH"]).await?;
    verify(&client, &VIEWS).await?;
    let sets =
        rows::number(&client, "SELECT count(*) FROM ebap.jobs WHERE kind IN ('stream', 'table', 'join')").await?;
    ebap_tests::wait::until("the state of what was dropped is gone", ebap_tests::wait::PATIENCE, async || {
        let mut used = 0;
        for name in folders(&folder)? {
            used += i64::from(has_files(&folder.join(name))?);
        }
        Ok((used == sets).then_some(()))
    })
    .await
}

fn folders(folder: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).context("the state")?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn has_files(folder: &std::path::Path) -> anyhow::Result<bool> {
    for entry in std::fs::read_dir(folder).context("the state")? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || has_files(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn create_all(client: &Client, read: &mut Read) -> anyhow::Result<()> {
    for case in &VIEWS {
        read.goes_on()?;
        rows::execute(client, &[&create(case)]).await?;
    }
    Ok(())
}

fn create(case: &Case) -> String {
    format!("CREATE MATERIALIZED VIEW {} AS {}", case.name, case.view)
}

/// One by one, in one go, all together, in the place of the old one, or beside it and then under its name.
async fn make_anew(client: &Client, read: &mut Read, round: u64) -> anyhow::Result<()> {
    match round % 5 {
        0 => {
            for case in VIEWS.iter().rev() {
                read.goes_on()?;
                rows::execute(client, &[&format!("DROP MATERIALIZED VIEW {}", case.name)]).await?;
            }
            create_all(client, read).await
        }
        1 => {
            // What others read goes with them, and they come back behind it.
            for case in &VIEWS {
                read.goes_on()?;
                let drop = format!("DROP MATERIALIZED VIEW IF EXISTS {} CASCADE", case.name);
                rows::execute(client, &[&drop, &create(case)]).await?;
            }
            for name in ["on_a_view", "on_two_views"] {
                let case = VIEWS.iter().find(|case| case.name == name).context("a view")?;
                let drop = format!("DROP MATERIALIZED VIEW IF EXISTS {name} CASCADE");
                rows::execute(client, &[&drop, &create(case)]).await?;
            }
            Ok(())
        }
        2 => {
            // A view that others read is not replaced.
            rows::execute(client, &["DROP MATERIALIZED VIEW on_two_views", "DROP MATERIALIZED VIEW on_a_view"]).await?;
            for case in &VIEWS {
                read.goes_on()?;
                let replace = create(case).replacen("CREATE", "CREATE OR REPLACE", 1);
                rows::execute(client, &[&replace]).await?;
            }
            Ok(())
        }
        3 => {
            for case in &VIEWS {
                read.goes_on()?;
                let (name, beside) = (case.name, format!("{}_beside", case.name));
                let create = format!("CREATE MATERIALIZED VIEW {beside} AS {}", case.view);
                let swap = format!("ALTER MATERIALIZED VIEW {name} SWAP WITH {beside}");
                rows::execute(client, &[&create, &swap, &format!("DROP MATERIALIZED VIEW {beside}")]).await?;
            }
            Ok(())
        }
        _ => {
            rows::execute(client, &["BEGIN"]).await?;
            for case in VIEWS.iter().rev() {
                rows::execute(client, &[&format!("DROP MATERIALIZED VIEW {}", case.name)]).await?;
            }
            create_all(client, read).await?;
            rows::execute(client, &["COMMIT"]).await
        }
    }
}
