//! Roles: what the statements do, who may say them, and that no password is seen again.

use std::{fs, path::Path, process::Command};

use crate::{
    privileges::as_role,
    process::{Server, error, failure, printed, rows, value},
};

#[tokio::test]
async fn statements_of_roles_do_what_those_of_postgresql_do() {
    let server = Server::start();
    let client = server.connect().await;
    for statement in [
        "CREATE ROLE a",
        "CREATE USER b WITH SUPERUSER NOINHERIT CREATEDB CONNECTION LIMIT 3 PASSWORD 'x' VALID UNTIL '2030-05-06 07:08:09+00'",
        "CREATE ROLE IF NOT EXISTS a LOGIN",
        "CREATE ROLE c IN ROLE a ROLE b",
        "CREATE GROUP \"odd \"\"name\" ADMIN c",
        "ALTER USER c LOGIN CREATEROLE",
        "ALTER ROLE IF EXISTS nobody LOGIN",
        "GRANT c, \"odd \"\"name\" TO b WITH ADMIN OPTION",
        "DROP ROLE IF EXISTS nobody",
    ] {
        client.batch_execute(statement).await.expect(statement);
    }
    let attributes = "SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcanlogin, rolconnlimit, rolvaliduntil
        FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname";
    assert_eq!(
        rows(&client, attributes).await,
        [
            ["a", "f", "t", "f", "f", "-1", "NULL"],
            ["b", "t", "f", "f", "t", "3", "2030-05-06 07:08:09+00"],
            ["c", "f", "t", "t", "t", "-1", "NULL"],
            ["ebap", "t", "t", "t", "t", "-1", "NULL"],
            ["odd \"name", "f", "t", "f", "f", "-1", "NULL"],
        ]
    );
    let members = "SELECT r.rolname, m.rolname, admin_option FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid
        JOIN pg_roles m ON m.oid = a.member ORDER BY 1, 2";
    let all = [["a", "c", "f"], ["c", "b", "t"], ["odd \"name", "b", "t"], ["odd \"name", "c", "t"]];
    assert_eq!(rows(&client, members).await, all);
    for (statement, expected) in [
        ("CREATE ROLE a", error("42710", "role \"a\" already exists")),
        ("CREATE ROLE pg_x", error("42939", "role name \"pg_x\" is reserved")),
        ("CREATE ROLE public", error("42939", "role name \"public\" is reserved")),
        ("CREATE ROLE x LOGIN NOLOGIN", error("42601", "conflicting or redundant options")),
        ("CREATE ROLE x CONNECTION LIMIT -2", error("22023", "invalid connection limit: -2")),
        (
            "CREATE ROLE x VALID UNTIL 'soon'",
            error("22007", "invalid input syntax for type timestamp with time zone: \"soon\""),
        ),
        ("ALTER ROLE nobody LOGIN", error("42704", "role \"nobody\" does not exist")),
        ("ALTER ROLE a", error("42601", "syntax error at end of input")),
        ("ALTER ROLE ebap NOSUPERUSER", error("0A000", "permission denied to alter role")),
        ("DROP ROLE nobody", error("42704", "role \"nobody\" does not exist")),
        ("DROP ROLE ebap", error("55006", "current user cannot be dropped")),
        ("GRANT b TO a", error("0LP01", "role \"b\" is a member of role \"a\"")),
        ("GRANT a TO a", error("0LP01", "role \"a\" is a member of role \"a\"")),
        ("GRANT nobody TO a", error("42704", "role \"nobody\" does not exist")),
    ] {
        assert_eq!(failure(&client, statement).await, expected, "{statement}");
    }
    client.batch_execute("REVOKE ADMIN OPTION FOR c FROM b; REVOKE \"odd \"\"name\" FROM b, c").await.expect("revoked");
    assert_eq!(rows(&client, members).await, [["a", "c", "f"], ["c", "b", "f"]]);
    client.batch_execute("DROP ROLE c, \"odd \"\"name\"").await.expect("dropped");
    assert_eq!(rows(&client, members).await, Vec::<Vec<String>>::new());
    // In a block all or nothing.
    client.batch_execute("BEGIN; CREATE ROLE d; DROP ROLE a; ROLLBACK").await.expect("rolled back");
    let server = server.restart(&[]);
    let client = server.connect().await;
    assert_eq!(
        value(&client, "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^pg_'").await,
        "a b ebap"
    );
}

#[tokio::test]
async fn nobody_gets_more_than_he_may_give() {
    let server = Server::start();
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE USER plain; CREATE USER maker CREATEROLE; CREATE USER boss SUPERUSER; CREATE ROLE \"group\";
            CREATE USER granter; GRANT \"group\" TO granter WITH ADMIN OPTION",
        )
        .await
        .expect("roles");
    let plain = as_role(&server, "plain").await;
    let maker = as_role(&server, "maker").await;
    let granter = as_role(&server, "granter").await;
    let denied = |message: &str| error("42501", message);
    for (client, statement, message) in [
        (&plain, "CREATE ROLE x", "permission denied to create role"),
        (&plain, "ALTER ROLE plain SUPERUSER", "permission denied to alter role"),
        (&plain, "ALTER ROLE plain PASSWORD 'x' SUPERUSER", "permission denied to alter role"),
        (&plain, "ALTER ROLE maker PASSWORD 'x'", "permission denied to alter role"),
        (&plain, "ALTER ROLE ebap PASSWORD 'x'", "permission denied to alter role"),
        (&plain, "DROP ROLE maker", "permission denied to drop role"),
        (&plain, "GRANT \"group\" TO plain", "permission denied to grant role \"group\""),
        (&plain, "GRANT boss TO plain", "permission denied to grant role \"boss\""),
        (&plain, "REVOKE \"group\" FROM granter", "permission denied to revoke role \"group\""),
        (&maker, "CREATE ROLE x SUPERUSER", "permission denied to create role"),
        (&maker, "CREATE ROLE x IN ROLE boss", "permission denied to grant role \"boss\""),
        (&maker, "CREATE ROLE x BYPASSRLS", "permission denied to create role"),
        (&maker, "ALTER ROLE boss PASSWORD 'x'", "permission denied to alter role"),
        (&maker, "ALTER ROLE plain PASSWORD 'x'", "permission denied to alter role"),
        (&maker, "ALTER ROLE maker SUPERUSER", "permission denied to alter role"),
        (&maker, "GRANT boss TO maker", "permission denied to grant role \"boss\""),
        (&maker, "GRANT \"group\" TO maker", "permission denied to grant role \"group\""),
        (&maker, "DROP ROLE boss", "permission denied to drop role"),
        (&granter, "GRANT maker TO granter", "permission denied to grant role \"maker\""),
    ] {
        assert_eq!(failure(client, statement).await, denied(message), "{statement}");
    }
    plain.batch_execute("ALTER ROLE plain PASSWORD 'own'").await.expect("his own");
    plain.batch_execute("ALTER USER current_user PASSWORD 'own'").await.expect("his own");
    maker.batch_execute("CREATE ROLE made LOGIN PASSWORD 'x'; ALTER ROLE made PASSWORD 'y'").await.expect("his own");
    maker.batch_execute("GRANT made TO plain; DROP ROLE made").await.expect("he is its admin");
    granter.batch_execute("GRANT \"group\" TO plain; REVOKE \"group\" FROM plain").await.expect("he is its admin");
    client.batch_execute("DROP ROLE maker").await.expect("dropped");
    assert_eq!(
        failure(&maker, "CREATE ROLE x").await,
        denied("permission denied to create role"),
        "of a role that is gone"
    );
}

#[tokio::test]
async fn a_password_is_never_seen_again() {
    let server = Server::start_with(&[("EBAP_LOG", "trace")]);
    let client = server.connect().await;
    let secret = "kXq7Secret";
    for (statement, code) in [
        (format!("CREATE ROLE a PASSWORD {secret}"), "42601"),
        (format!("CREATE ROLE a PASSWORD '{secret}' '{secret}'"), "42601"),
        (format!("CREATE ROLE a PASSWORD '{secret}' {secret}"), "42601"),
        (format!("CREATE ROLE a PASSWORD = '{secret}'"), "42601"),
        (format!("CREATE ROLE a LOGIN '{secret}' PASSWORD"), "42601"),
        (format!("CREATE ROLE a PASSWORD '{secret}"), "42601"),
        (format!("CREATE ROLE ebap PASSWORD '{secret}'"), "42710"),
        (format!("CREATE ROLE a UNENCRYPTED PASSWORD '{secret}'"), "0A000"),
        (format!("ALTER ROLE nobody PASSWORD '{secret}'"), "42704"),
        (format!("EXPLAIN CREATE ROLE a PASSWORD '{secret}'"), "0A000"),
        (format!("CREATE ROLE a PASSWORD '{}'", secret.repeat(200)), "22023"),
    ] {
        let error = client.simple_query(&statement).await.expect_err("it fails");
        let shown = format!("{error:?}");
        assert!(!shown.contains(secret), "{shown}");
        assert_eq!(error.code().map(|code| code.code()), Some(code), "{shown}");
    }
    client.batch_execute(&format!("CREATE ROLE a LOGIN PASSWORD '{secret}'")).await.expect("a role");
    client.execute(&format!("ALTER ROLE a PASSWORD '{secret}'"), &[]).await.expect("changed");
    for sql in ["SELECT * FROM pg_roles", "SELECT * FROM pg_authid", "SELECT * FROM pg_user", "SELECT * FROM pg_shadow"]
    {
        if let Ok(messages) = client.simple_query(sql).await {
            let shown = format!("{messages:?}");
            assert!(!shown.contains(secret) && !shown.contains("SCRAM-SHA-256"), "{shown}");
        }
    }
    assert!(holds(server.folder.path(), "SCRAM-SHA-256$4096:"), "the verifier is in the catalog");
    assert!(!holds(server.folder.path(), secret), "and the password nowhere");
    let log = server.log();
    assert!(log.contains("TRACE") && !log.contains(secret) && !log.contains("SCRAM-SHA-256$"), "{}", log.len());
}

/// Whether a file below the folder has the text.
fn holds(folder: &Path, text: &str) -> bool {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries.map(|entry| entry.path()).any(|path| match path.is_dir() {
        true => holds(&path, text),
        false => fs::read(&path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text)),
    })
}

#[tokio::test]
async fn psql_lists_roles() {
    let server = Server::start();
    let client = server.connect().await;
    client
        .batch_execute("CREATE ROLE a; CREATE USER b IN ROLE a; CREATE ROLE c NOINHERIT CONNECTION LIMIT 7")
        .await
        .expect("roles");
    let (done, shown) =
        printed(&Command::new("psql").args(["-X", "-At", &server.url, "-c", "\\du"]).output().expect("psql"));
    let lines: Vec<&str> = shown.lines().collect();
    let expected = [
        "a|Cannot login|{}",
        "b||{a}",
        "c|No inheritance, Cannot login",
        "7 connections|{}",
        "ebap|Superuser, Create role, Create DB, Replication, Bypass RLS|{}",
    ];
    assert!(done && lines == expected, "{shown}");
}

#[tokio::test]
async fn there_may_be_many_roles() {
    let server = Server::start();
    let client = server.connect().await;
    let statements: Vec<String> = (0..2_000).map(|number| format!("CREATE ROLE \"role {number}\"")).collect();
    client.batch_execute(&statements.join(";")).await.expect("roles");
    let chain: Vec<String> =
        (1..300).map(|number| format!("GRANT \"role {}\" TO \"role {number}\"", number - 1)).collect();
    client.batch_execute(&chain.join(";")).await.expect("memberships");
    assert_eq!(value(&client, "SELECT count(*) FROM pg_roles WHERE rolname !~ '^pg_'").await, "2001");
    let cycle = error("0LP01", "role \"role 299\" is a member of role \"role 0\"");
    assert_eq!(failure(&client, "GRANT \"role 299\" TO \"role 0\"").await, cycle);
}
