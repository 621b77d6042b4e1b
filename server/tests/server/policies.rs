//! Row-level security: who sees which rows, by every door the same, and nothing that shows the others.

use std::process::Command;

use tokio_postgres::Client;

use crate::{
    masks::{DOORS, by_door},
    privileges::{as_role, simple},
    process::{Server, error, failure, printed, rows, value},
};

const RECORDS: &str = r#"{"id":1,"region":"eu","team":"anna","amount":0,"email":"a@x"}
{"id":2,"region":"eu","team":"ben","amount":20,"email":"b@x"}
{"id":3,"region":"us","team":"anna","amount":30,"email":"c@x"}
{"id":4,"region":null,"team":"ben","amount":40,"email":"d@x"}
"#;

async fn platform(server: &Server) -> Client {
    let client = server.connect().await;
    let path = server.file("orders.json", RECORDS);
    client
        .batch_execute(&format!(
            "CREATE STREAM orders (id BIGINT NOT NULL, region TEXT, team TEXT, amount BIGINT, email TEXT PII ENCRYPT)
                WITH (connector = 'file', path = '{}', format = 'json');
            CREATE MATERIALIZED VIEW totals AS SELECT region, sum(amount) AS total FROM orders GROUP BY region;
            CREATE ROLE europe; CREATE USER anna IN ROLE europe; CREATE USER ben; CREATE USER auditor BYPASSRLS; CREATE USER maker;
            GRANT SELECT ON orders, totals TO anna, ben, auditor, maker;
            GRANT CREATE ON SCHEMA public TO maker;
            CREATE POLICY own ON orders USING (team = current_user);
            CREATE POLICY part ON orders FOR SELECT TO europe USING (region = 'eu');
            CREATE POLICY part ON totals TO europe USING (region = 'eu');
            ALTER STREAM orders ENABLE ROW LEVEL SECURITY;
            ALTER MATERIALIZED VIEW totals ENABLE ROW LEVEL SECURITY",
            path.display()
        ))
        .await
        .expect("statements");
    client.batch_execute("FLUSH").await.expect("all is read");
    client
}

#[tokio::test]
async fn rows_are_the_same_by_every_door() {
    let server = Server::start();
    let owner = platform(&server).await;
    for (role, query, expected) in [
        ("anna", "SELECT id FROM orders", vec![vec!["1"], vec!["2"], vec!["3"]]),
        ("ben", "SELECT id FROM orders", vec![vec!["2"], vec!["4"]]),
        ("auditor", "SELECT count(*) AS n FROM orders", vec![vec!["4"]]),
        ("maker", "SELECT id FROM orders", vec![]),
        ("anna", "SELECT region, total FROM totals", vec![vec!["eu", "20"]]),
        ("ben", "SELECT region, total FROM totals", vec![]),
        (
            "ben",
            "SELECT count(*) AS n, max(amount) AS m FROM orders o WHERE o.region IS NULL OR o.id > 0",
            vec![vec!["2", "40"]],
        ),
        ("ben", "SELECT a.id FROM orders a JOIN orders b ON b.id = a.id + 2", vec![vec!["2"]]),
        (
            "ben",
            "SELECT t.total FROM orders o LEFT JOIN totals t ON t.region = o.region WHERE o.id = 2",
            vec![vec!["NULL"]],
        ),
        ("ben", "SELECT 1 AS one WHERE EXISTS (SELECT 1 FROM orders WHERE id = 1)", vec![]),
        ("ben", "SELECT (SELECT sum(amount) FROM orders) AS s", vec![vec!["60"]]),
        // The mask is over the rows, and the policy sees what is there.
        ("ben", "SELECT id, email FROM orders WHERE email <> 'd@x'", vec![vec!["2", "***"], vec!["4", "***"]]),
        // A row that is not there raises no error: its amount is 0.
        ("ben", "SELECT id FROM orders WHERE 100 / amount > 1", vec![vec!["2"], vec!["4"]]),
        ("ben", "SELECT 100 / amount AS x FROM orders WHERE region = 'eu'", vec![vec!["5"]]),
        ("ben", "SELECT a.id FROM orders a JOIN totals b ON 100 / a.amount > 1 AND b.region IS NULL", vec![]),
        ("ben", "SELECT count(*) FILTER (WHERE 100 / amount > 1) AS n FROM orders", vec![vec!["2"]]),
        ("ben", "SELECT id FROM orders$late", vec![]),
    ] {
        let client = as_role(&server, role).await;
        for door in DOORS {
            let mut found = by_door(&client, door, query).await;
            found.sort();
            assert_eq!(found, expected, "{query} by {role} as {door}");
        }
    }
    // A path of the client's own does not lead a policy to another table.
    let ben = as_role(&server, "ben").await;
    assert_eq!(simple(&ben, "SET search_path = ebap, pg_catalog").await, Ok(()));
    assert_eq!(value(&ben, "SELECT count(*) FROM public.orders").await, "2");
    // Each execution looks again, by the role of that moment.
    let ids = |found: Vec<tokio_postgres::Row>| found.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>();
    let ben = as_role(&server, "ben").await;
    let prepared = ben.prepare("SELECT id FROM orders ORDER BY id").await.expect("a query");
    assert_eq!(ids(ben.query(&prepared, &[]).await.expect("rows")), [2, 4]);
    owner.batch_execute("CREATE POLICY most ON orders AS RESTRICTIVE USING (amount > 20)").await.expect("created");
    assert_eq!(ids(ben.query(&prepared, &[]).await.expect("rows")), [4]);
    owner.batch_execute("ALTER POLICY most ON orders TO anna USING (amount > 25)").await.expect("changed");
    assert_eq!(ids(ben.query(&prepared, &[]).await.expect("rows")), [2, 4]);
    owner
        .batch_execute("DROP POLICY most ON orders; ALTER STREAM orders DISABLE ROW LEVEL SECURITY")
        .await
        .expect("off");
    assert_eq!(ids(ben.query(&prepared, &[]).await.expect("rows")), [1, 2, 3, 4]);
    owner.batch_execute("ALTER STREAM orders ENABLE ROW LEVEL SECURITY; SET ROLE ben").await.expect("on");
    assert_eq!(value(&owner, "SELECT count(*) FROM orders").await, "2");
    let server = server.restart(&[]);
    assert_eq!(value(&as_role(&server, "ben").await, "SELECT count(*) FROM orders").await, "2", "it is durable");
}

#[tokio::test]
async fn policies_are_for_owners_and_an_owner_can_be_under_them() {
    let server = Server::start();
    let owner = platform(&server).await;
    let (maker, ben) = (as_role(&server, "maker").await, as_role(&server, "ben").await);
    let denied = |of: &str| error("42501", &format!("permission denied for {of}"));
    for (statement, expected) in [
        ("CREATE MATERIALIZED VIEW v AS SELECT id FROM orders", denied("all rows of stream orders")),
        ("CREATE ALERT a ON totals WHEN total > 1 BY (region)", denied("all rows of materialized view totals")),
        ("CREATE POLICY mine ON orders USING (true)", error("42501", "must be owner of stream orders")),
        ("ALTER STREAM orders DISABLE ROW LEVEL SECURITY", error("42501", "must be owner of stream orders")),
        ("DROP POLICY own ON orders", error("42501", "must be owner of stream orders")),
        ("SELECT reason FROM totals$errors", denied("rows beside materialized view totals")),
    ] {
        assert_eq!(failure(&maker, statement).await, expected, "{statement}");
    }
    for (statement, expected) in [
        (
            "CREATE POLICY own ON orders USING (true)",
            error("42710", "policy \"own\" for table \"orders\" already exists"),
        ),
        ("DROP POLICY x ON orders", error("42704", "policy \"x\" for table \"orders\" does not exist")),
        ("CREATE POLICY x ON nothing USING (true)", error("42P01", "relation \"nothing\" does not exist")),
        ("CREATE POLICY x ON orders USING (nothing = 1)", error("42703", "column \"nothing\" does not exist")),
        (
            "CREATE POLICY x ON orders USING (id)",
            error("42804", "argument of POLICY must be type boolean, not type bigint"),
        ),
        ("CREATE POLICY x ON orders TO nobody USING (true)", error("42704", "role \"nobody\" does not exist")),
        (
            "CREATE POLICY x ON orders USING (id IN (SELECT 1))",
            error("0A000", "a sub-query in a policy is not supported"),
        ),
        ("CREATE POLICY x ON orders FOR INSERT USING (true)", error("0A000", "a policy for INSERT is not supported")),
        ("DROP ROLE europe", error("2BP01", "role \"europe\" cannot be dropped because some objects depend on it")),
    ] {
        assert_eq!(failure(&owner, statement).await, expected, "{statement}");
    }
    // An owner sees all, unless it is forced.
    owner
        .batch_execute("GRANT ben TO ebap; GRANT CREATE ON SCHEMA public TO ben; ALTER STREAM orders OWNER TO ben")
        .await
        .expect("given");
    assert_eq!(value(&ben, "SELECT count(*) FROM orders").await, "4");
    assert_eq!(simple(&ben, "ALTER STREAM orders FORCE ROW LEVEL SECURITY").await, Ok(()));
    assert_eq!(value(&ben, "SELECT count(*) FROM orders").await, "2");
    let listed = "SELECT tablename, policyname, permissive, roles, cmd, qual FROM pg_policies ORDER BY 1, 2";
    assert_eq!(
        rows(&owner, listed).await,
        [
            ["orders", "own", "PERMISSIVE", "{public}", "ALL", "(team = current_user)"],
            ["orders", "part", "PERMISSIVE", "{europe}", "SELECT", "(region = 'eu')"],
            ["totals", "part", "PERMISSIVE", "{europe}", "ALL", "(region = 'eu')"],
        ]
    );
    // Another function of its name would let other rows through.
    owner
        .batch_execute(
            "CREATE FUNCTION mine(t TEXT) RETURNS TEXT AS 't'; CREATE POLICY f ON totals USING (mine(region) = 'x')",
        )
        .await
        .expect("created");
    let message = "cannot drop function \"mine\" because other objects depend on it";
    for drop in ["DROP FUNCTION mine", "DROP FUNCTION mine(TEXT) CASCADE"] {
        assert_eq!(failure(&owner, drop).await, error("2BP01", message), "{drop}");
    }
    owner.batch_execute("DROP POLICY f ON totals; DROP FUNCTION mine").await.expect("dropped");
    let psql =
        Command::new("psql").args([&format!("postgres://ebap@{}/ebap", server.address()), "-c", "\\d orders"]).output();
    let (done, shown) = printed(&psql.expect("psql is installed"));
    for line in [
        "Policies (forced row security enabled):",
        "POLICY \"part\" FOR SELECT",
        "TO europe",
        "USING ((region = 'eu'))",
    ] {
        assert!(done && shown.contains(line), "{line}: {shown}");
    }
    let flags = "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class WHERE relrowsecurity ORDER BY 1";
    assert_eq!(rows(&owner, flags).await, [["orders", "t", "t"], ["totals", "t", "f"]]);
    // What replaces a view keeps its policies, and a policy that has lost its column lets nobody read.
    owner
        .batch_execute(
            "CREATE OR REPLACE MATERIALIZED VIEW totals AS SELECT team, sum(amount) AS total FROM orders GROUP BY team",
        )
        .await
        .expect("replaced");
    let anna = as_role(&server, "anna").await;
    let message = "a policy of \"totals\" cannot be used: column \"region\" does not exist";
    assert_eq!(failure(&anna, "SELECT * FROM totals").await, error("42703", message));
    owner.batch_execute("ALTER POLICY part ON totals USING (team = 'ben'); FLUSH").await.expect("changed");
    assert_eq!(rows(&anna, "SELECT * FROM totals").await, [["ben", "60"]]);
    owner.batch_execute("DROP OWNED BY europe; DROP ROLE europe").await.expect("dropped");
    assert_eq!(value(&owner, "SELECT count(*) FROM pg_policies").await, "1");
}
