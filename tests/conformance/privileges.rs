//! Privileges: the same script of grants and of what roles try, with the same rows, errors and messages from both servers.

use anyhow::ensure;
use ebap_tests::wire::Address;

use super::{
    Run,
    protocol::{in_both_of, told},
    servers::Servers,
};

/// Run in order, in one session of a superuser that takes on roles.
const SCRIPT: &[&str] = &[
    "CREATE ROLE pa",
    "CREATE ROLE pb",
    "CREATE ROLE pc",
    "CREATE ROLE \"p D\"",
    // Without a grant nobody reads, changes or grants.
    "SET ROLE pa",
    "SELECT count(*) FROM pd WHERE false",
    "SELECT current_user, current_user = session_user",
    "DROP TABLE pd",
    "COMMENT ON TABLE pd IS 'mine'",
    "GRANT SELECT ON pd TO pb",
    "REVOKE SELECT ON pd FROM pb",
    "GRANT SELECT ON nothing TO pb",
    "SELECT has_table_privilege('pd', 'SELECT'), has_table_privilege('pb', 'pd', 'select, insert')",
    "SET ROLE pb",
    "SET ROLE nobody",
    "RESET ROLE",
    // Of the whole relation.
    "GRANT SELECT ON pd TO pa",
    "GRANT SELECT ON TABLE pd TO pa",
    "SELECT relacl FROM pg_class WHERE relname = 'pd'",
    "SET ROLE pa",
    "SELECT count(*) FROM pd WHERE false",
    "SELECT has_table_privilege('pd', 'SELECT'), has_table_privilege('pd', 'SELECT WITH GRANT OPTION')",
    "GRANT SELECT ON pd TO pb",
    "GRANT ALL ON pd TO pb",
    "RESET ROLE",
    "REVOKE SELECT ON pd FROM pa",
    "SET ROLE pa",
    "SELECT count(*) FROM pd WHERE false",
    "RESET ROLE",
    // Of columns.
    "GRANT SELECT (id, tx) ON pd TO pa",
    "GRANT SELECT (nothing) ON pd TO pa",
    "GRANT DELETE (id) ON pd TO pa",
    "GRANT EXECUTE ON pd TO pa",
    "GRANT USAGE ON pd TO pa",
    "GRANT NOTHING ON pd TO pa",
    "SET ROLE pa",
    "SELECT count(*) FROM pd WHERE false",
    "SELECT count(id) FROM pd WHERE tx IS NULL AND false",
    "SELECT count(bi) FROM pd WHERE false",
    "SELECT count(id) FROM pd WHERE bi > 0 AND false",
    "SELECT id FROM (SELECT id, bi FROM pd) x WHERE false",
    "SELECT id FROM pd WHERE EXISTS (SELECT 1 FROM pd e WHERE e.bi = pd.id) AND false",
    "SELECT * FROM pd WHERE false",
    "SELECT id FROM pd WHERE false ORDER BY tx",
    "SELECT x.id FROM pd x JOIN pd y USING (id) WHERE false",
    "SELECT has_column_privilege('pd', 'id', 'SELECT'), has_column_privilege('pd', 'bi', 'SELECT')",
    "SELECT has_table_privilege('pd', 'SELECT'), has_any_column_privilege('pd', 'SELECT')",
    "RESET ROLE",
    "SELECT attname, attacl FROM pg_attribute WHERE attrelid = 'pd'::regclass AND attacl IS NOT NULL ORDER BY attname",
    "REVOKE SELECT ON pd FROM pa",
    "SET ROLE pa",
    "SELECT count(id) FROM pd WHERE false",
    "RESET ROLE",
    // The grant option, and what rests on it.
    "GRANT SELECT, INSERT ON pd TO pa WITH GRANT OPTION",
    "GRANT SELECT ON pd TO PUBLIC WITH GRANT OPTION",
    "SET ROLE pa",
    "GRANT SELECT ON pd TO pb WITH GRANT OPTION",
    "GRANT SELECT, UPDATE ON pd TO pc",
    "RESET ROLE",
    "SET ROLE pb",
    "GRANT SELECT ON pd TO pc",
    "GRANT SELECT ON pd TO pa WITH GRANT OPTION",
    "RESET ROLE",
    "SELECT relacl FROM pg_class WHERE relname = 'pd'",
    "REVOKE SELECT ON pd FROM pa",
    "REVOKE GRANT OPTION FOR SELECT ON pd FROM pa",
    "REVOKE GRANT OPTION FOR SELECT ON pd FROM pa CASCADE",
    "SELECT relacl FROM pg_class WHERE relname = 'pd'",
    "REVOKE ALL ON pd FROM pa, pb, pc CASCADE",
    "SELECT relacl FROM pg_class WHERE relname = 'pd'",
    // Names that have to be quoted.
    "GRANT SELECT ON pd TO \"p D\"",
    "SELECT relacl FROM pg_class WHERE relname = 'pd'",
    "REVOKE ALL PRIVILEGES ON pd FROM \"p D\"",
    // Everybody.
    "GRANT SELECT ON pd TO PUBLIC",
    "SET ROLE pb",
    "SELECT count(*) FROM pd WHERE false",
    "RESET ROLE",
    "REVOKE SELECT ON pd FROM PUBLIC",
    // Through roles that it is a member of, where it inherits.
    "GRANT SELECT ON pd TO pa",
    "GRANT pa TO pb",
    "SET ROLE pb",
    "SELECT count(*) FROM pd WHERE false",
    "SELECT pg_has_role('pa', 'USAGE'), pg_has_role('pa', 'pb', 'MEMBER'), pg_has_role('pc', 'MEMBER')",
    "RESET ROLE",
    "ALTER ROLE pb NOINHERIT",
    "SET ROLE pb",
    "SELECT count(*) FROM pd WHERE false",
    "RESET ROLE",
    "REVOKE pa FROM pb",
    // The schema.
    "SELECT has_schema_privilege('pa', 'public', 'USAGE'), has_schema_privilege('pa', 'public', 'CREATE')",
    "GRANT SELECT ON ALL TABLES IN SCHEMA nowhere TO pa",
    "GRANT CREATE ON SCHEMA public TO pa",
    "SELECT has_schema_privilege('pa', 'public', 'CREATE')",
    "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
    "SET ROLE pa",
    "SELECT count(*) FROM public.pd WHERE false",
    "RESET ROLE",
    "GRANT USAGE ON SCHEMA public TO PUBLIC",
    "SET ROLE pa",
    "SELECT count(*) FROM public.pd WHERE false",
    "RESET ROLE",
    "REVOKE CREATE ON SCHEMA public FROM pa",
    // Owners.
    "ALTER TABLE pd OWNER TO pa",
    "SELECT relacl FROM pg_class WHERE relname = 'pd'",
    "SELECT tableowner FROM pg_tables WHERE tablename = 'pd'",
    "SET ROLE pa",
    "GRANT SELECT ON pd TO pb",
    "COMMENT ON TABLE pd IS NULL",
    "ALTER TABLE pd OWNER TO pb",
    "REVOKE SELECT ON pd FROM pa",
    "SELECT count(*) FROM pd WHERE false",
    "RESET ROLE",
    "SELECT relacl FROM pg_class WHERE relname = 'pd'",
    "DROP ROLE pa",
    "DROP ROLE pb",
    "REASSIGN OWNED BY pa TO pc",
    "SELECT relacl FROM pg_class WHERE relname = 'pd'",
    "DROP ROLE pa",
    "ALTER TABLE pd OWNER TO CURRENT_USER",
    "DROP OWNED BY pb",
    "DROP ROLE pb",
    // Defaults.
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO pc",
    "ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO pc",
    "SELECT defaclobjtype, defaclacl FROM pg_default_acl ORDER BY defaclnamespace",
    "DROP ROLE pc",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM pc",
    "ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM pc",
    "SELECT count(*) FROM pg_default_acl",
    "DROP OWNED BY pc",
    "DROP ROLE pc, \"p D\"",
    // What is granted in a transaction that ends otherwise is not.
    "CREATE ROLE pe",
    "BEGIN",
    "GRANT SELECT ON pd TO pe",
    "ROLLBACK",
    "SELECT has_table_privilege('pe', 'pd', 'SELECT')",
    "BEGIN",
    "SET LOCAL ROLE pe",
    "SELECT current_user",
    "COMMIT",
    "SELECT current_user = session_user",
    "DROP ROLE pe",
];

pub(crate) fn script(servers: &Servers, _: Run) -> anyhow::Result<()> {
    // A superuser, who has another name in each.
    let (user, password) = ("postgres".to_owned(), "postgres".to_owned());
    let postgres = Address { user, password, ..servers.postgres_address.clone() };
    let alike = |text: String, user: &str| text.replace(user, "OWNER");
    in_both_of(&postgres, &servers.ebap_address, async |postgres, ebap| {
        let columns = "id BIGINT PRIMARY KEY, tx TEXT, bi BIGINT";
        postgres.batch_execute(&format!("CREATE TABLE pd ({columns})")).await?;
        ebap.batch_execute(&format!("CREATE TABLE pd ({columns}) WITH (connector = 'generator', rows = 1)")).await?;
        let mut different = Vec::new();
        for sql in SCRIPT {
            let (right, ours) = (told(postgres, sql).await, told(ebap, sql).await);
            let (right, ours) = (alike(format!("{right:?}"), "postgres"), alike(format!("{ours:?}"), "ebap"));
            if right != ours {
                different.push(format!("{sql}\n  {right}\n  {ours}"));
            }
        }
        ensure!(different.is_empty(), "{}", different.join("\n"));
        for client in [postgres, ebap] {
            client.batch_execute("DROP TABLE pd").await?;
        }
        Ok(())
    })
}
