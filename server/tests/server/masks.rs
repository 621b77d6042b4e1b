//! Personal data: who may not see it sees masks, by every door the same, and makes nothing that would show it.

use futures::TryStreamExt;
use tokio_postgres::Client;

use crate::{
    privileges::{as_role, simple},
    process::{Server, error, failure, rows, value},
};

const RECORDS: &str = r#"{"id":1,"name":"Anna","email":"anna@x.org","region":"eu","metadata":{"platform":"web","phone":"+49"},"born":1990}
{"id":2,"name":"Anna","email":"other@x.org","region":"us","metadata":{"platform":"ios","phone":"+1"},"born":1991}
{"id":3,"name":"Ben","email":null,"region":"eu","metadata":null,"born":1992}
{"id":"x","name":"Dora"}
"#;

/// A stream of persons, views of it, and who may see what.
async fn platform(server: &Server) -> Client {
    let client = server.connect().await;
    let path = server.file("people.json", RECORDS);
    client
        .batch_execute(&format!(
            "CREATE STREAM people (id BIGINT NOT NULL, name TEXT PII HASH, email TEXT PII ENCRYPT, region TEXT,
                metadata STRUCT<platform TEXT, phone TEXT PII ENCRYPT>, born INT PII HASH, domain TEXT AS (split_part(email, '@', 2)))
                WITH (connector = 'file', path = '{}', format = 'json');
            CREATE MATERIALIZED VIEW by_name AS SELECT name, count(*) AS n, max(email) AS newest FROM people GROUP BY name;
            CREATE MATERIALIZED VIEW by_region AS SELECT region, count(DISTINCT name) AS people FROM people GROUP BY region;
            CREATE MATERIALIZED VIEW shouted AS SELECT id, upper(name) AS loud, metadata FROM people;
            CREATE USER analyst; CREATE USER support; CREATE USER some; CREATE USER everything;
            GRANT SELECT ON people, by_name, by_region, shouted TO analyst, support, some;
            GRANT CREATE ON SCHEMA public TO analyst;
            GRANT UNMASK ON people, by_name, shouted TO support;
            GRANT UNMASK (email) ON people TO some;
            GRANT pg_read_all_data TO everything",
            path.display()
        ))
        .await
        .expect("statements");
    client.batch_execute("FLUSH").await.expect("all is read");
    client
}

/// The rows that a query gives by a way that a client has for it, as text.
pub(crate) async fn by_door(client: &Client, door: &str, query: &str) -> Vec<Vec<String>> {
    match door {
        "simple" => rows(client, query).await,
        "extended" => {
            let found = client.query(query, &[]).await.expect(query);
            let cell = |row: &tokio_postgres::Row, at| row.get::<_, Option<String>>(at).unwrap_or("NULL".to_owned());
            found.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect()).collect()
        }
        "COPY" => {
            let copied = client.copy_out(&format!("COPY ({query}) TO STDOUT")).await.expect(query);
            let bytes = copied.try_collect::<Vec<_>>().await.expect(query).concat();
            let lines = String::from_utf8(bytes).expect("text");
            let shown = |cell: &str| cell.replace("\\N", "NULL");
            lines.lines().map(|line| line.split('\t').map(shown).collect()).collect()
        }
        "cursor" => {
            let found = rows(client, &format!("BEGIN; DECLARE c CURSOR FOR {query}; FETCH ALL FROM c")).await;
            simple(client, "ROLLBACK").await.expect("it always can");
            found
        }
        "EXECUTE" => {
            let found = rows(client, &format!("PREPARE p AS {query}; EXECUTE p")).await;
            simple(client, "DEALLOCATE ALL").await.expect("it always can");
            found
        }
        "CTE" => rows(client, &format!("WITH w AS ({query}) SELECT * FROM w")).await,
        "sub-query" => rows(client, &format!("SELECT * FROM ({query}) q")).await,
        "UNION" => rows(client, &format!("({query}) UNION ALL ({query} LIMIT 0)")).await,
        "lateral" => rows(client, &format!("SELECT q.* FROM (SELECT 1 AS one) o JOIN ({query}) q ON true")).await,
        door => panic!("no door {door}"),
    }
}

pub(crate) const DOORS: [&str; 8] = ["simple", "COPY", "cursor", "EXECUTE", "CTE", "sub-query", "UNION", "lateral"];

#[tokio::test]
async fn masks_are_the_same_by_every_door() {
    let server = Server::start();
    let owner = platform(&server).await;
    let analyst = as_role(&server, "analyst").await;
    let anna = value(&analyst, "SELECT name FROM people WHERE id = 1").await;
    let ben = value(&analyst, "SELECT name FROM people WHERE id = 3").await;
    assert!(anna.len() == 64 && ben.len() == 64 && anna != ben, "{anna} {ben}");
    let (anna, ben) = (anna.as_str(), ben.as_str());
    for (query, expected) in [
        (
            "SELECT id, name, email, born, domain FROM people ORDER BY id",
            vec![
                vec!["1", anna, "***", "NULL", "***"],
                vec!["2", anna, "***", "NULL", "***"],
                vec!["3", ben, "NULL", "NULL", "NULL"],
            ],
        ),
        (
            "SELECT metadata['platform'] AS a, metadata['phone'] AS b FROM people WHERE id < 3 ORDER BY id",
            vec![vec!["web", "***"], vec!["ios", "***"]],
        ),
        ("SELECT name, n, newest FROM by_name ORDER BY n", vec![vec![ben, "1", "NULL"], vec![anna, "2", "***"]]),
        ("SELECT region, people FROM by_region ORDER BY region", vec![vec!["eu", "2"], vec!["us", "1"]]),
        ("SELECT loud, metadata['phone'] AS p FROM shouted WHERE id = 1", vec![vec!["***", "***"]]),
        // Who may not see a value must not find it either.
        (
            "SELECT id FROM people WHERE email = 'anna@x.org' OR name = 'Anna' OR born = 1990 OR domain = 'x.org'",
            vec![],
        ),
        ("SELECT id FROM people WHERE metadata['phone'] = '+49'", vec![]),
        ("SELECT count(*) AS n FROM people WHERE email LIKE 'a%'", vec![vec!["0"]]),
        ("SELECT count(DISTINCT name) AS a, count(DISTINCT email) AS b FROM people", vec![vec!["2", "1"]]),
        ("SELECT max(born) AS born, min(email) AS email FROM people", vec![vec!["NULL", "***"]]),
        ("SELECT p.id FROM people p JOIN by_name b ON b.name = p.name WHERE b.n = 1", vec![vec!["3"]]),
        (
            "SELECT id FROM people p WHERE EXISTS (SELECT 1 FROM by_name b WHERE b.name = p.name AND b.n = 1)",
            vec![vec!["3"]],
        ),
        ("SELECT (SELECT max(name) FROM people WHERE id = 1) AS name", vec![vec![anna]]),
        ("SELECT id, email FROM people$late", vec![]),
    ] {
        for door in DOORS {
            // A query around it need not keep its order.
            let (mut found, mut expected) = (by_door(&analyst, door, query).await, expected.clone());
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{query} as {door}");
        }
    }
    let shown = by_door(&analyst, "extended", "SELECT name, email FROM people WHERE id = 1").await;
    assert_eq!(shown, vec![vec![anna, "***"]]);
    // Who has the column sees it, and no other; reading all is not seeing all.
    let query = "SELECT name, email, born FROM people WHERE id = 1";
    for (role, expected) in [
        ("support", ["Anna", "anna@x.org", "1990"]),
        ("some", [anna, "anna@x.org", "NULL"]),
        ("everything", [anna, "***", "NULL"]),
        ("ebap", ["Anna", "anna@x.org", "1990"]),
    ] {
        let client = as_role(&server, role).await;
        for door in DOORS {
            assert_eq!(by_door(&client, door, query).await, vec![expected], "{role} as {door}");
        }
    }
    // What is prepared is looked at each time it runs.
    let prepared = analyst.prepare("SELECT email FROM people WHERE id = 1").await.expect("a query");
    let seen = |row: tokio_postgres::Row| row.get::<_, Option<String>>(0).expect("it is no NULL");
    assert_eq!(seen(analyst.query_one(&prepared, &[]).await.expect("a row")), "***");
    owner.batch_execute("GRANT UNMASK ON people TO analyst").await.expect("granted");
    assert_eq!(seen(analyst.query_one(&prepared, &[]).await.expect("a row")), "anna@x.org");
    owner.batch_execute("REVOKE ALL ON people FROM analyst; GRANT SELECT ON people TO analyst").await.expect("revoked");
    assert_eq!(seen(analyst.query_one(&prepared, &[]).await.expect("a row")), "***");
    // A superuser is masked as whom he has become.
    owner.batch_execute("SET ROLE analyst").await.expect("a role");
    assert_eq!(value(&owner, "SELECT email FROM people WHERE id = 1").await, "***");
    // Another salt would count a person twice.
    let server = server.restart(&[]);
    let analyst = as_role(&server, "analyst").await;
    assert_eq!(value(&analyst, "SELECT name FROM people WHERE id = 1").await, anna);
}

#[tokio::test]
async fn nothing_shows_what_is_masked() {
    let server = Server::start();
    let owner = platform(&server).await;
    let analyst = as_role(&server, "analyst").await;
    let support = as_role(&server, "support").await;
    let denied = |of: &str| error("42501", &format!("permission denied for {of}"));
    for (statement, expected) in [
        ("SELECT reason FROM people$dlq", denied("rows beside stream people")),
        ("SELECT reason FROM by_name$errors", denied("rows beside materialized view by_name")),
        ("CREATE MATERIALIZED VIEW v AS SELECT name FROM people", denied("column name of stream people")),
        ("CREATE MATERIALIZED VIEW v AS SELECT loud FROM shouted", denied("column loud of materialized view shouted")),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT id FROM people WHERE born = 1990",
            denied("column born of stream people"),
        ),
        ("CREATE ALERT a ON by_name WHEN n > 1 BY (name)", denied("column name of materialized view by_name")),
        ("GRANT UNMASK ON people TO analyst", denied("stream people")),
    ] {
        assert_eq!(failure(&analyst, statement).await, expected, "{statement}");
    }
    assert_eq!(simple(&analyst, "CREATE MATERIALIZED VIEW v AS SELECT region FROM people").await, Ok(()));
    assert_eq!(value(&support, "SELECT count(*) FROM people$dlq").await, "1");
    // ALL PRIVILEGES leaves it out, and so must be what a list shows.
    owner.batch_execute("CREATE USER most; GRANT ALL ON people TO most").await.expect("granted");
    let most = as_role(&server, "most").await;
    assert_eq!(value(&most, "SELECT email FROM people WHERE id = 1").await, "***");
    let has = "SELECT has_table_privilege('most', 'people', 'UNMASK'), has_table_privilege('support', 'people', 'unmask'), \
        has_column_privilege('some', 'people', 'email', 'UNMASK'), has_table_privilege('ebap', 'people', 'UNMASK')";
    assert_eq!(rows(&owner, has).await, [["f", "t", "t", "t"]]);
    let listed = "SELECT privilege_type FROM information_schema.table_privileges WHERE grantee = 'support' AND table_name = 'people' ORDER BY 1";
    assert_eq!(rows(&owner, listed).await, [["SELECT"], ["UNMASK"]]);
    assert_eq!(
        failure(&owner, "GRANT UNMASK ON SCHEMA public TO most").await,
        error("0LP01", "invalid privilege type UNMASK for schema")
    );
}
