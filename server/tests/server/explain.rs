//! `EXPLAIN ANALYZE` of a view that runs.

use crate::process::{Server, rows};

#[tokio::test]
async fn a_query_over_the_catalog_is_explained_too() {
    let server = Server::start();
    let client = server.connect().await;
    let plan = rows(&client, "EXPLAIN SELECT relname, pg_typeof(1) FROM pg_class WHERE relname = 'x'").await;
    let plan = plan.concat().join("\n");
    assert!(plan.contains("relname") && !plan.contains("ExplainExec"), "{plan}");
}

#[tokio::test]
async fn a_running_view_says_what_each_operator_has_done() {
    let server = Server::start();
    let client = server.connect().await;
    for sql in [
        "CREATE STREAM numbers (n BIGINT) WITH (connector = 'generator', rows = '1000', rate = '100000')",
        "CREATE MATERIALIZED VIEW halves AS SELECT n % 2 AS half, count(DISTINCT n % 10) AS digits FROM numbers
         WHERE n IS NOT NULL GROUP BY n % 2",
        "FLUSH",
    ] {
        client.simple_query(sql).await.expect(sql);
    }
    let counted = rows(&client, "SELECT consumed FROM ebap.accounting WHERE job = 'halves'").await;
    assert_eq!(counted, [["1000"]]);
    let text: Vec<String> =
        rows(&client, "EXPLAIN ANALYZE MATERIALIZED VIEW halves").await.into_iter().flatten().collect();
    let plan = text.join("\n");
    for (operator, done) in [
        ("StepSource", "(rows in=1000 out=1000, time="),
        ("Filter", "(rows in=1000 out=1000, time="),
        ("PartialAgg", "(rows in=1000 out="),
        ("GroupAgg", "(rows in="),
        ("Project", "(rows in="),
        ("State: running, 2 groups, ", " bytes"),
        ("View: 2 rows, ", " bytes"),
    ] {
        let line = text.iter().find(|line| line.trim_start().starts_with(operator));
        assert!(line.is_some_and(|line| line.contains(done)), "{operator} {done}: {plan}");
    }
}
