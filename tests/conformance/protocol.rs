//! `COPY`, cursors and statements that are prepared in SQL: the same bytes, rows and errors from both servers.

use anyhow::{Context, ensure};
use ebap_tests::wire::Address;
use futures::TryStreamExt;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::{Run, data, servers::Servers};

/// Statements of one session each. Where one fails, both servers say the same code.
const SCRIPTS: [&[&str]; 12] = [
    // Forward through a cursor, in every spelling.
    &[
        "BEGIN",
        "DECLARE c CURSOR FOR SELECT id, tx FROM d ORDER BY id",
        "FETCH c",
        "FETCH 3 FROM c",
        "FETCH NEXT IN c",
        "MOVE 2 FROM c",
        "FETCH FORWARD 2 FROM c",
        "FETCH RELATIVE 2 FROM c",
        "MOVE RELATIVE 1 FROM c",
        "FETCH ABSOLUTE 20 FROM c",
        "FETCH ALL FROM c",
        "FETCH NEXT FROM c",
        "MOVE ALL FROM c",
        "FETCH 0 FROM c",
        "CLOSE c",
        "FETCH c",
        "COMMIT",
    ],
    // An empty result, and a count beyond the end.
    &[
        "BEGIN",
        "DECLARE \"C c\" NO SCROLL CURSOR WITHOUT HOLD FOR SELECT id FROM d WHERE id < 0",
        "FETCH 0 FROM \"C c\"",
        "FETCH 10 FROM \"C c\"",
        "FETCH ALL FROM \"C c\"",
        "DECLARE two CURSOR FOR VALUES (1, 'a'), (2, NULL)",
        "FETCH 100 FROM two",
        "CLOSE ALL",
        "FETCH two",
    ],
    // Back is refused for a cursor that does not scroll.
    &["BEGIN", "DECLARE c NO SCROLL CURSOR FOR SELECT id FROM d ORDER BY id", "FETCH 2 FROM c", "FETCH PRIOR FROM c"],
    &["BEGIN", "DECLARE c NO SCROLL CURSOR FOR SELECT id FROM d ORDER BY id", "FETCH 2 FROM c", "FETCH -1 FROM c"],
    &["BEGIN", "DECLARE c NO SCROLL CURSOR FOR SELECT id FROM d ORDER BY id", "FETCH 2 FROM c", "FETCH 0 FROM c"],
    // Only within a transaction, unless it is held.
    &["DECLARE c CURSOR FOR SELECT 1", "FETCH c", "CLOSE c"],
    &[
        "BEGIN",
        "DECLARE held CURSOR WITH HOLD FOR SELECT id FROM d ORDER BY id",
        "DECLARE lost CURSOR FOR SELECT 1",
        "FETCH 2 FROM held",
        "COMMIT",
        "FETCH 2 FROM held",
        "FETCH lost",
        "BEGIN",
        "FETCH 1 FROM held",
        "ROLLBACK",
        "FETCH 1 FROM held",
        "CLOSE held",
        "CLOSE held",
    ],
    &["BEGIN", "DECLARE held CURSOR WITH HOLD FOR SELECT 1", "ROLLBACK", "FETCH held"],
    // A savepoint takes what came behind it along.
    &[
        "BEGIN",
        "DECLARE a CURSOR FOR SELECT id FROM d ORDER BY id",
        "SAVEPOINT s",
        "DECLARE b CURSOR FOR SELECT id FROM d ORDER BY id",
        "FETCH b",
        "ROLLBACK TO s",
        "FETCH a",
        "FETCH b",
        "ROLLBACK TO s",
        "DECLARE b CURSOR FOR SELECT 2",
        "RELEASE s",
        "FETCH b",
        "DECLARE b CURSOR FOR SELECT 3",
        "ROLLBACK",
        "FETCH a",
    ],
    // One message of several statements is a transaction.
    &["DECLARE c CURSOR FOR SELECT id FROM d ORDER BY id; FETCH 2 FROM c; FETCH 1 FROM c", "FETCH c"],
    // Prepared in SQL.
    &[
        "PREPARE p AS SELECT id, tx FROM d WHERE id = $1",
        "EXECUTE p(3)",
        "EXECUTE p('4')",
        "EXECUTE p(1 + 1)",
        "EXECUTE p(NULL)",
        "EXECUTE p",
        "EXECUTE p(1, 2)",
        "EXECUTE p('x')",
        "PREPARE p AS SELECT 1",
        "PREPARE q (int, numeric(10, 2), text) AS SELECT $1 + 1, $2 * 2, $3 || '!'",
        "EXECUTE q(41, 1.239, 'it''s')",
        "EXECUTE q(99999999999, 1, 'x')",
        "PREPARE w (int) AS SELECT $1 / 2, pg_typeof(1)::text",
        "EXECUTE w(7)",
        "EXECUTE w('8')",
        "DEALLOCATE p",
        "EXECUTE p(1)",
        "DEALLOCATE p",
        "DEALLOCATE ALL",
        "EXECUTE q(1, 2, 'a')",
        "PREPARE wrong AS SELECT nothing FROM d",
        "EXECUTE wrong",
    ],
    &[
        "PREPARE l AS SELECT id FROM d WHERE id = ANY($1) ORDER BY id LIMIT $2",
        "EXECUTE l(ARRAY[1, 2, 3], 2)",
        "EXECUTE l('{5,6}', 10)",
        "DISCARD ALL",
        "EXECUTE l('{5,6}', 10)",
    ],
];

/// Forms in which `COPY` writes the same rows.
const OPTIONS: [&str; 9] = [
    "",
    "(FORMAT csv, HEADER)",
    "(FORMAT csv, FORCE_QUOTE *)",
    "(FORMAT csv, DELIMITER ';', QUOTE '''', ESCAPE '\\', NULL 'nil')",
    "(DELIMITER '|', NULL '')",
    "WITH CSV HEADER",
    "WITH DELIMITER AS '~' NULL AS 'none'",
    "(FORMAT binary)",
    "WITH BINARY",
];

/// Refused by both with the same code.
const REFUSED: [&str; 9] = [
    "COPY (SELECT id + $1 FROM d) TO STDOUT",
    "COPY (SELECT 1) TO STDOUT (FORMAT csv, DELIMITER '\"')",
    "COPY (SELECT 1) TO STDOUT (DELIMITER 'a')",
    "COPY (SELECT 1) TO STDOUT (DELIMITER 'ab')",
    "COPY (SELECT 1) TO STDOUT (QUOTE '\"')",
    "COPY (SELECT 1 AS a) TO STDOUT (FORMAT csv, FORCE_QUOTE (b))",
    "COPY nowhere TO STDOUT",
    "COPY (SELECT nothing FROM d) TO STDOUT",
    "COPY (SELECT 1 / (id - 20) FROM d ORDER BY id) TO STDOUT",
];

pub(crate) fn copies(servers: &Servers, _: Run) -> anyhow::Result<()> {
    in_both(servers, async |postgres, ebap| {
        let all: Vec<&str> = data::columns().into_iter().map(|(name, ..)| name).collect();
        let mut queries: Vec<String> = all.iter().map(|name| format!("SELECT {name} FROM d ORDER BY id")).collect();
        queries.push(format!("SELECT id, {} FROM d ORDER BY id", all.join(", ")));
        queries.push("SELECT * FROM (VALUES (1, E'a\\tb\\nc\\rd\\\\e'), (2, ''), (3, NULL), (4, '\"q\"'), (5, E'\\\\.')) AS v (n, t)".to_owned());
        queries.push("SELECT E'\\\\.' AS t".to_owned());
        queries.push("SELECT relname FROM pg_catalog.pg_class WHERE relname = 'd'".to_owned());
        queries.push("SELECT 1 AS \"a,b\", 'x' AS \"Q\"\"\" WHERE false".to_owned());
        for query in &queries {
            for options in OPTIONS {
                let sql = format!("COPY ({query}) TO STDOUT {options}");
                let (right, ours) = (copied(postgres, &sql).await, copied(ebap, &sql).await);
                ensure!(right.is_ok(), "{sql}: {right:?}");
                ensure!(right == ours, "{sql}\n  {}\n  {}", shown(&right), shown(&ours));
            }
        }
        for sql in REFUSED {
            let (right, ours) = (copied(postgres, sql).await, copied(ebap, sql).await);
            ensure!(right.is_err() && right == ours, "{sql}\n  {}\n  {}", shown(&right), shown(&ours));
            // The session goes on.
            ensure!(copied(ebap, "COPY (SELECT 1) TO STDOUT").await == Ok(b"1\n".to_vec()), "behind {sql}");
        }
        Ok(())
    })
}

pub(crate) fn scripts(servers: &Servers, _: Run) -> anyhow::Result<()> {
    for script in SCRIPTS {
        in_both(servers, async |postgres, ebap| {
            for sql in script {
                let (right, ours) = (answered(postgres, sql).await, answered(ebap, sql).await);
                ensure!(right == ours, "{sql} of {script:?}\n  {right:?}\n  {ours:?}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn in_both(servers: &Servers, compare: impl AsyncFnOnce(&Client, &Client) -> anyhow::Result<()>) -> anyhow::Result<()> {
    in_both_of(&servers.postgres_address, &servers.ebap_address, compare)
}

pub(crate) fn in_both_of(
    postgres: &Address,
    ebap: &Address,
    compare: impl AsyncFnOnce(&Client, &Client) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
    runtime.block_on(async {
        let postgres = connect(postgres).await?;
        let ebap = connect(ebap).await?;
        compare(&postgres, &ebap).await
    })
}

async fn connect(address: &Address) -> anyhow::Result<Client> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(address.port).user(&address.user);
    config.password(&address.password).dbname(&address.database);
    let (client, connection) = config.connect(NoTls).await.context("a connection")?;
    tokio::spawn(connection);
    client.batch_execute("SET TIME ZONE 'UTC'").await.context("a setting")?;
    Ok(client)
}

fn code(error: &tokio_postgres::Error) -> String {
    error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned())
}

async fn copied(client: &Client, sql: &str) -> Result<Vec<u8>, String> {
    let parts = client.copy_out(sql).await.map_err(|error| code(&error))?;
    let parts: Vec<bytes::Bytes> = parts.try_collect().await.map_err(|error| code(&error))?;
    Ok(parts.concat())
}

fn shown(answer: &Result<Vec<u8>, String>) -> String {
    match answer {
        Ok(bytes) => bytes.escape_ascii().to_string(),
        Err(code) => code.clone(),
    }
}

/// Rows as text, and the counts of the tags between them.
async fn answered(client: &Client, sql: &str) -> Result<Vec<String>, String> {
    client.simple_query(sql).await.map(|messages| each(&messages)).map_err(|error| code(&error))
}

/// The same, with the messages of errors.
pub(crate) async fn told(client: &Client, sql: &str) -> Result<Vec<String>, (String, String)> {
    let messages = client.simple_query(sql).await;
    let message = |error: &tokio_postgres::Error| error.as_db_error().map(|error| error.message().to_owned());
    messages.map(|messages| each(&messages)).map_err(|error| (code(&error), message(&error).unwrap_or_default()))
}

fn each(messages: &[SimpleQueryMessage]) -> Vec<String> {
    let each = messages.iter().map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let values = (0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned());
            values.collect::<Vec<_>>().join("|")
        }
        SimpleQueryMessage::CommandComplete(count) => format!("{count} rows"),
        SimpleQueryMessage::RowDescription(columns) => {
            columns.iter().map(|column| column.name().to_owned()).collect::<Vec<_>>().join("|")
        }
        other => format!("{other:?}"),
    });
    each.collect()
}
