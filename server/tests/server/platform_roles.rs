//! The roles of the platform's own migrations: one table of who may do what, tried by every door.

use std::path::Path;

use crate::{
    migrate::migrate_from,
    privileges::{DOORS, as_role, by_door, simple},
    process::{Server, error, printed},
};

const ROLES: [&str; 5] = ["product_manager", "data_analyst", "devops", "customer_support", "admin"];

/// What is read, of which relation, and who of `ROLES` may.
const READS: [(&str, &str, [bool; 5]); 12] = [
    ("SELECT intensity FROM regional_health", "materialized view regional_health", [true, true, true, false, false]),
    ("SELECT events FROM activity", "materialized view activity", [true, true, false, false, false]),
    ("SELECT rate FROM checkout_error_rate", "materialized view checkout_error_rate", [true, true, true, false, false]),
    ("SELECT name FROM regions", "table regions", [true, true, true, false, false]),
    ("SELECT value FROM metrics", "stream metrics", [false, true, true, false, false]),
    ("SELECT action FROM events WHERE region = 'x'", "stream events", [false, true, false, true, false]),
    ("SELECT user_id FROM events", "stream events", [false, true, false, true, false]),
    ("SELECT metadata['email'] FROM events$late", "stream events", [false, true, false, true, false]),
    ("SELECT country FROM users", "table users", [false, true, false, true, false]),
    ("SELECT country FROM users WHERE email IS NULL", "table users", [false, true, false, true, false]),
    ("SELECT name FROM users", "table users", [false, false, false, true, false]),
    ("SELECT name FROM ebap.alerts", "table alerts", [true, true, true, false, false]),
];

/// What changes something, the message for who may not, and who may. Nothing of it stays.
const CHANGES: [(&str, &str, [bool; 5]); 7] = [
    ("DROP MATERIALIZED VIEW cart_churn CASCADE", "must be owner of materialized view cart_churn", [false; 5]),
    ("ALTER STREAM events PAUSE", "must be owner of stream events", [false; 5]),
    ("COMMENT ON TABLE users IS 'x'", "must be owner of table users", [false; 5]),
    ("GRANT SELECT ON users TO PUBLIC", "permission denied for table users", [false; 5]),
    ("CREATE ROLE another", "permission denied to create role", [false; 5]),
    (
        "CREATE MATERIALIZED VIEW own AS SELECT region, count(*) AS n FROM metrics GROUP BY region",
        "permission denied for schema public",
        [false, false, true, false, false],
    ),
    (
        "INSERT INTO ebap.schema_migrations (name, checksum) VALUES ('0010_x.sql', 'y')",
        "permission denied for table schema_migrations",
        [false, false, true, false, false],
    ),
];

#[tokio::test]
async fn each_role_sees_its_part_by_every_door() {
    let server = Server::start();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql/migrations");
    let (done, shown) = printed(&migrate_from(&server, &folder, &[]));
    assert!(done, "{shown}");
    let owner = server.connect().await;
    for (at, role) in ROLES.iter().enumerate() {
        let person = format!("a {role}");
        owner.batch_execute(&format!("CREATE USER \"{person}\" IN ROLE {role}")).await.expect("a person");
        let client = as_role(&server, &person).await;
        for (query, relation, may) in READS {
            let denied = Err(error("42501", &format!("permission denied for {relation}")));
            let expected = if may[at] { Ok(()) } else { denied };
            for door in DOORS {
                assert_eq!(by_door(&client, door, query).await, expected, "{query} by {person} as {door}");
            }
        }
        for (change, message, may) in CHANGES {
            simple(&client, "BEGIN").await.expect("always");
            let answer = simple(&client, change).await;
            simple(&client, "ROLLBACK").await.expect("always");
            let expected = if may[at] { Ok(()) } else { Err(error("42501", message)) };
            // Somebody who may read it is told that he has nothing to grant.
            let may_read = change.starts_with("GRANT") && *role == "customer_support";
            assert_eq!(answer, if may_read { Ok(()) } else { expected }, "{change} by {person}");
        }
    }
    // What is granted by an administrator is, once he has become one.
    let admin = as_role(&server, "a admin").await;
    simple(&admin, "SET ROLE admin").await.expect("he is a member");
    for (query, _, _) in READS {
        for door in DOORS {
            assert_eq!(by_door(&admin, door, query).await, Ok(()), "{query} as {door}");
        }
    }
    for change in ["ALTER STREAM events PAUSE", "ALTER STREAM events RESUME", "CREATE ROLE another"] {
        assert_eq!(simple(&admin, change).await, Ok(()), "{change}");
    }
}
