//! Privileges: by every door the same, at once, for ever; and what nobody gets around.

use std::process::Command;

use futures::TryStreamExt;
use tokio_postgres::{Client, NoTls};

use crate::process::{Server, error, failure, printed, rows, told, value};

pub(crate) type Told = Result<(), (String, String)>;

/// Under trust a name is enough to be the role.
pub(crate) async fn as_role(server: &Server, role: &str) -> Client {
    let (client, connection) = server.config().user(role).connect(NoTls).await.expect(role);
    tokio::spawn(connection);
    client
}

pub(crate) async fn simple(client: &Client, sql: &str) -> Told {
    client.simple_query(sql).await.map(drop).map_err(|error| told(&error))
}

/// The same query by each way that a client has for it.
pub(crate) async fn by_door(client: &Client, door: &str, query: &str) -> Told {
    match door {
        "simple" => simple(client, query).await,
        "extended" => client.query(query, &[]).await.map(drop).map_err(|error| told(&error)),
        "COPY" => {
            let copied = client.copy_out(&format!("COPY ({query}) TO STDOUT")).await.map_err(|error| told(&error))?;
            copied.try_collect::<Vec<_>>().await.map(drop).map_err(|error| told(&error))
        }
        "cursor" => {
            let answer = simple(client, &format!("BEGIN; DECLARE c CURSOR FOR {query}; FETCH ALL FROM c")).await;
            simple(client, "ROLLBACK").await.expect("it always can");
            answer
        }
        "EXECUTE" => {
            let answer = simple(client, &format!("PREPARE p AS {query}; EXECUTE p")).await;
            simple(client, "DEALLOCATE ALL").await.expect("it always can");
            answer
        }
        "EXPLAIN" => simple(client, &format!("EXPLAIN {query}")).await,
        "EXPLAIN ANALYZE" => simple(client, &format!("EXPLAIN ANALYZE {query}")).await,
        "CTE" => simple(client, &format!("WITH w AS ({query}) SELECT count(*) FROM w")).await,
        "sub-query" => simple(client, &format!("SELECT 1 WHERE EXISTS ({query})")).await,
        "UNION" => simple(client, &format!("SELECT 'x' UNION ALL SELECT CAST(q AS TEXT) FROM ({query}) AS q(q)")).await,
        door => panic!("no door {door}"),
    }
}

pub(crate) const DOORS: [&str; 10] =
    ["simple", "extended", "COPY", "cursor", "EXECUTE", "EXPLAIN", "EXPLAIN ANALYZE", "CTE", "sub-query", "UNION"];

/// A stream of two columns, a view of it, an alert on that, a function, and roles.
async fn platform(server: &Server) -> Client {
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE STREAM orders (id BIGINT NOT NULL, region TEXT) WITH (connector = 'generator', rows = 1);
            CREATE MATERIALIZED VIEW regions AS SELECT region, count(*) AS n FROM orders GROUP BY region;
            CREATE ALERT many ON regions WHEN n > 1000 BY (region);
            CREATE FUNCTION twice(x BIGINT) RETURNS BIGINT AS 'x * 2';
            CREATE SECRET hidden AS 'kXq7Secret';
            CREATE USER nobody; CREATE USER reader; CREATE USER columns; CREATE USER everything; CREATE USER member IN ROLE reader;
            GRANT SELECT ON orders, regions, ebap.alerts TO reader;
            GRANT SELECT (id) ON orders TO columns;
            GRANT pg_read_all_data TO everything",
        )
        .await
        .expect("statements");
    client
}

#[tokio::test]
async fn each_door_lets_in_whom_the_others_do() {
    let server = Server::start();
    let _owner = platform(&server).await;
    let denied = |of: &str| Err(error("42501", &format!("permission denied for {of}")));
    for (role, query, expected) in [
        ("nobody", "SELECT id FROM orders", denied("stream orders")),
        ("nobody", "SELECT region FROM regions", denied("materialized view regions")),
        ("nobody", "SELECT id FROM orders$late", denied("stream orders")),
        ("nobody", "SELECT reason FROM orders$dlq", denied("stream orders")),
        ("nobody", "SELECT reason FROM regions$errors", denied("materialized view regions")),
        ("nobody", "SELECT name FROM ebap.alerts", denied("table alerts")),
        ("nobody", "SELECT name FROM ebap.jobs", Ok(())),
        ("reader", "SELECT id FROM orders", Ok(())),
        ("reader", "SELECT reason FROM orders$dlq", Ok(())),
        ("reader", "SELECT region FROM regions", Ok(())),
        ("reader", "SELECT name FROM ebap.alerts", Ok(())),
        ("member", "SELECT region FROM regions", Ok(())),
        ("columns", "SELECT id FROM orders", Ok(())),
        ("columns", "SELECT id FROM orders$late", Ok(())),
        ("columns", "SELECT region FROM orders", denied("stream orders")),
        ("columns", "SELECT id FROM orders WHERE region = 'x'", denied("stream orders")),
        ("columns", "SELECT id FROM orders ORDER BY region", denied("stream orders")),
        ("columns", "SELECT reason FROM orders$dlq", denied("stream orders")),
        ("columns", "SELECT a.id FROM orders a JOIN regions r ON r.n = a.id", denied("materialized view regions")),
        ("everything", "SELECT region FROM orders", Ok(())),
        ("everything", "SELECT name FROM ebap.alerts", Ok(())),
        ("no such role", "SELECT id FROM orders", Ok(())),
    ] {
        let client = as_role(&server, role).await;
        for door in DOORS {
            assert_eq!(by_door(&client, door, query).await, expected, "{query} by {role} as {door}");
        }
    }
}

#[tokio::test]
async fn statements_are_for_owners_and_those_they_let() {
    let server = Server::start();
    let owner = platform(&server).await;
    owner
        .batch_execute(
            "CREATE USER maker; GRANT CREATE ON SCHEMA public TO maker; GRANT SELECT ON orders TO maker;
            CREATE USER loader IN ROLE pg_read_server_files; GRANT CREATE ON SCHEMA public TO loader",
        )
        .await
        .expect("roles");
    let (nobody, maker) = (as_role(&server, "nobody").await, as_role(&server, "maker").await);
    let loader = as_role(&server, "loader").await;
    let view = "CREATE MATERIALIZED VIEW v AS SELECT region, count(*) AS n FROM orders GROUP BY region";
    let of_view = "CREATE MATERIALIZED VIEW w AS SELECT n, count(*) AS m FROM regions GROUP BY n";
    let file = "CREATE STREAM passwd (line TEXT) WITH (connector = 'file', path = '/etc/passwd', format = 'raw')";
    let program = "CREATE STREAM p (a TEXT) WITH (connector = 'kafka', topic = 't', bootstrap_servers = 'b',
        kafka.plugin.library.paths = 'x.so')";
    for (client, statement, message) in [
        (&nobody, view, "permission denied for schema public"),
        (&nobody, "DROP STREAM orders", "must be owner of stream orders"),
        (&nobody, "DROP MATERIALIZED VIEW IF EXISTS regions", "must be owner of materialized view regions"),
        (&nobody, "ALTER STREAM orders PAUSE", "must be owner of stream orders"),
        (&nobody, "ALTER ALERT many SILENCE OFF", "must be owner of alert many"),
        (&nobody, "ALTER STREAM orders OWNER TO nobody", "must be owner of stream orders"),
        (&nobody, "COMMENT ON STREAM orders IS 'x'", "must be owner of stream orders"),
        (&nobody, "COMMENT ON COLUMN orders.id IS 'x'", "must be owner of stream orders"),
        (
            &nobody,
            "CREATE OR REPLACE FUNCTION twice(x BIGINT) RETURNS BIGINT AS 'x'",
            "must be owner of function twice",
        ),
        (&nobody, "DROP SECRET hidden", "must be owner of secret hidden"),
        (&nobody, "SHOW CREATE STREAM orders", "must be owner of stream orders"),
        (&nobody, "SHOW CREATE ALERT many", "must be owner of alert many"),
        (&nobody, "EXPLAIN ALERT many", "permission denied for table alerts"),
        (&nobody, "SHOW ALERTS", "permission denied for table alerts"),
        (
            &nobody,
            "INSERT INTO ebap.schema_migrations (name, checksum) VALUES ('a', 'b')",
            "permission denied for table schema_migrations",
        ),
        (&nobody, "REASSIGN OWNED BY maker TO nobody", "permission denied to reassign objects"),
        (&nobody, "DROP OWNED BY maker", "permission denied to drop objects"),
        (
            &nobody,
            "ALTER DEFAULT PRIVILEGES FOR ROLE maker GRANT SELECT ON TABLES TO nobody",
            "permission denied to change default privileges",
        ),
        (&maker, of_view, "permission denied for materialized view regions"),
        (&maker, "CREATE ALERT a ON regions WHEN n > 1", "permission denied for materialized view regions"),
        (&maker, file, "permission denied to create stream \"passwd\""),
        (&maker, program, "permission denied to create stream \"p\""),
        (&maker, "CREATE SECRET s AS ENV 'PATH'", "permission denied to create secret \"s\""),
        (&maker, "CREATE SECRET s AS FILE '/etc/passwd'", "permission denied to create secret \"s\""),
        (
            &maker,
            "CREATE SINK k FROM orders WITH (connector = 'kafka', topic = 'x', bootstrap_servers = 'y', password = SECRET hidden)",
            "permission denied for secret hidden",
        ),
    ] {
        assert_eq!(failure(client, statement).await, error("42501", message), "{statement}");
    }
    maker.batch_execute(view).await.expect("it may read the stream");
    nobody.batch_execute("SHOW CREATE MATERIALIZED VIEW regions").await.expect("a query is no secret");
    maker.batch_execute(&view.replace("CREATE", "CREATE OR REPLACE")).await.expect("it is its own");
    loader.batch_execute(&file.replace("/etc/passwd", "/etc/hostname")).await.expect("it may");
    // What is replaced keeps whose it is, and who may read it.
    maker.batch_execute("GRANT SELECT ON v TO nobody").await.expect("it is its own");
    owner.batch_execute(&view.replace("CREATE", "CREATE OR REPLACE")).await.expect("a superuser");
    nobody.batch_execute("SELECT * FROM v").await.expect("it was granted");
    maker.batch_execute("DROP MATERIALIZED VIEW v").await.expect("it is still its own");
    // A new view of this name is another one.
    maker.batch_execute(view).await.expect("it may read the stream");
    assert_eq!(failure(&nobody, "SELECT * FROM v").await.0, "42501");
    owner.batch_execute("ALTER DATABASE ebap SET x = 1").await.expect_err("there is none");
    owner.batch_execute("REVOKE CONNECT ON DATABASE ebap FROM PUBLIC").await.expect("revoked");
    let refused = server.config().user("nobody").connect(NoTls).await.err().expect("it may not connect");
    assert_eq!(told(&refused), error("42501", "permission denied for database \"ebap\""));
}

#[tokio::test]
async fn a_privilege_counts_at_once_and_for_ever() {
    let server = Server::start();
    let owner = platform(&server).await;
    let nobody = as_role(&server, "nobody").await;
    let denied = error("42501", "permission denied for stream orders");
    owner.batch_execute("GRANT SELECT ON orders TO nobody").await.expect("granted");
    let prepared = nobody.prepare("SELECT id FROM orders").await.expect("it may");
    nobody.query(&prepared, &[]).await.expect("it may");
    nobody.batch_execute("PREPARE p AS SELECT id FROM orders").await.expect("it may");
    owner.batch_execute("REVOKE SELECT ON orders FROM nobody").await.expect("revoked");
    assert_eq!(told(&nobody.query(&prepared, &[]).await.expect_err("no more")), denied);
    assert_eq!(failure(&nobody, "EXECUTE p").await, denied);
    // A block that began before does not read on.
    owner.batch_execute("GRANT SELECT ON orders TO nobody").await.expect("granted");
    nobody.batch_execute("BEGIN; SELECT id FROM orders").await.expect("it may");
    nobody.batch_execute("ALTER ROLE nobody PASSWORD 'own'").await.expect("a change of the block's own");
    owner.batch_execute("REVOKE SELECT ON orders FROM nobody").await.expect("revoked");
    assert_eq!(failure(&nobody, "SELECT id FROM orders").await, denied);
    nobody.batch_execute("ROLLBACK").await.expect("always");
    // A role that is gone, or that the session may not be, has no rights.
    owner.batch_execute("CREATE ROLE lent; GRANT SELECT ON orders TO lent; GRANT lent TO nobody").await.expect("lent");
    nobody.batch_execute("SET ROLE lent; SELECT id FROM orders").await.expect("it may");
    owner.batch_execute("REVOKE lent FROM nobody").await.expect("revoked");
    assert_eq!(failure(&nobody, "SELECT id FROM orders").await, denied);
    nobody.batch_execute("RESET ROLE").await.expect("always");
    for statement in ["SET ROLE lent", "SET ROLE ebap", "SET SESSION ROLE ebap", "SET role = ebap"] {
        assert_eq!(failure(&nobody, statement).await.0, "42501", "{statement}");
    }
    // By whatever way the setting changes, the session may not be it.
    nobody.batch_execute("SELECT set_config('role', 'ebap', false)").await.expect("a setting");
    assert_eq!(failure(&nobody, "SELECT id FROM orders").await, denied);
    assert_eq!(failure(&nobody, "CREATE ROLE x").await.0, "42501");
    nobody.batch_execute("DISCARD ALL").await.expect("always");
    let started = server.config().user("nobody").options("-c role=ebap -c is_superuser=on").connect(NoTls).await;
    let (started, connection) = started.expect("a connection");
    tokio::spawn(connection);
    assert_eq!(failure(&started, "SELECT id FROM orders").await, denied);
    assert_eq!(failure(&started, "SET SESSION AUTHORIZATION ebap").await.0, "0A000");
    // Of whom the role is a session's own it is told too.
    assert_eq!(value(&nobody, "SHOW is_superuser").await, "off");
    assert_eq!(value(&owner, "SHOW is_superuser").await, "on");
    owner.batch_execute("BEGIN; SET LOCAL ROLE nobody").await.expect("a superuser may be anybody");
    assert_eq!(value(&owner, "SHOW is_superuser").await, "off");
    owner.batch_execute("COMMIT").await.expect("committed");
    assert_eq!(value(&owner, "SELECT current_user").await, value(&owner, "SELECT session_user").await);
    let lists = "SELECT relname, oid, relacl FROM pg_class WHERE relnamespace = 2200 ORDER BY relname";
    let before = rows(&owner, lists).await;
    let server = server.restart(&[]);
    let owner = server.connect().await;
    assert_eq!(rows(&owner, lists).await, before, "numbers and lists stay");
    let reader = as_role(&server, "reader").await;
    reader.batch_execute("SELECT * FROM regions").await.expect("it was granted");
}

#[tokio::test]
async fn psql_lists_privileges() {
    let server = Server::start();
    let owner = platform(&server).await;
    owner
        .batch_execute(
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader; GRANT CREATE ON SCHEMA public TO reader",
        )
        .await
        .expect("granted");
    let user = value(&owner, "SELECT current_user").await;
    let psql = |command: &str| {
        let output = Command::new("psql").args(["-X", "-At", &server.url, "-c", command]).output();
        printed(&output.expect("psql is installed"))
    };
    for (command, expected) in [
        ("\\dp", &["public|orders|table|", "=arwdDxt/ebap", "reader=r/ebap", "id:\n  columns=r/ebap"][..]),
        ("\\z regions", &["public|regions|materialized view|", "reader=r/ebap"]),
        ("\\ddp", &["ebap||table|", "reader=r/ebap"]),
        ("\\dn+", &["public|ebap|", "=U/ebap", "reader=C/ebap"]),
        ("\\l", &["ebap|ebap|UTF"]),
        ("\\d orders", &["id|bigint||not null|"]),
    ] {
        let (done, shown) = psql(command);
        let missing: Vec<_> = expected.iter().filter(|part| !shown.contains(**part)).collect();
        assert!(done && missing.is_empty(), "{command} of {user}: {missing:?} in {shown}");
    }
    let grants = "SELECT grantee, privilege_type, is_grantable FROM information_schema.role_table_grants
        WHERE table_name = 'regions' AND grantee <> 'ebap'";
    assert_eq!(rows(&owner, grants).await, [["reader", "SELECT", "NO"]]);
}
