import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.Arrays;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;

/** pgjdbc. Prints one line for each check, which is the same for EBAP and PostgreSQL. Arguments: JDBC URL, user, password. */
public class Clients {
    private static final String LONG =
        "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 10000000) b";

    private interface Check {
        Object run() throws Exception;
    }

    private static void check(String name, Check check) {
        try {
            System.out.println("pgjdbc " + name + ": " + check.run());
        } catch (SQLException e) {
            System.out.println("pgjdbc " + name + " fails with " + e.getSQLState());
        } catch (Exception e) {
            System.out.println("pgjdbc " + name + " fails: " + e);
        }
    }

    /** The values of these columns, of all columns where none is named. */
    private static String rows(ResultSet rows, String... columns) throws SQLException {
        StringBuilder all = new StringBuilder();
        while (rows.next()) {
            for (int at = 1; at <= (columns.length == 0 ? rows.getMetaData().getColumnCount() : columns.length); at++) {
                all.append(columns.length == 0 ? rows.getString(at) : rows.getString(columns[at - 1])).append('|');
            }
            all.append(' ');
        }
        return all.toString();
    }

    /** What tools such as DBeaver look at; the relation is one that the caller has made. */
    private static void catalog(Connection connection) throws SQLException {
        DatabaseMetaData meta = connection.getMetaData();
        check("tables", () -> rows(meta.getTables(null, "public", "looked_at", new String[] {"TABLE"}), "TABLE_NAME", "TABLE_TYPE"));
        check("columns", () -> rows(meta.getColumns(null, "public", "looked_at", "%"),
            "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "COLUMN_SIZE", "DECIMAL_DIGITS", "IS_NULLABLE", "ORDINAL_POSITION"));
        check("primary keys", () -> rows(meta.getPrimaryKeys(null, "public", "looked_at")));
        check("indexes", () -> rows(meta.getIndexInfo(null, "public", "looked_at", false, false)));
        check("imported keys", () -> rows(meta.getImportedKeys(null, "public", "looked_at")));
        check("exported keys", () -> rows(meta.getExportedKeys(null, "public", "looked_at")));
        check("schemas", () -> rows(meta.getSchemas(), "TABLE_SCHEM").contains("public|"));
        check("types", () -> rows(meta.getTypeInfo(), "TYPE_NAME").contains("int8| "));
        check("kinds", () -> rows(meta.getTableTypes()).contains("MATERIALIZED VIEW|"));
        check("functions", () -> rows(meta.getFunctions(null, "public", "%")));
        check("procedures", () -> rows(meta.getProcedures(null, "public", "%")));
        check("version", () -> meta.getDatabaseMajorVersion() >= 15);
        check("columns of a statement", () -> {
            ResultSetMetaData columns = connection.prepareStatement("SELECT id, region, at FROM looked_at").getMetaData();
            return columns.getColumnTypeName(1) + columns.getColumnTypeName(2) + columns.getColumnClassName(3);
        });
    }

    private static void values(Connection connection) {
        check("parameters", () -> {
            PreparedStatement statement =
                connection.prepareStatement("SELECT ?::int + 1, ?::text, ?::numeric, ?::timestamptz, ?::date, encode(?::bytea, 'hex'), ?::bool");
            statement.setInt(1, 4);
            statement.setString(2, "ü'\\");
            statement.setBigDecimal(3, new BigDecimal("1.50"));
            statement.setTimestamp(4, new Timestamp(0));
            statement.setDate(5, Date.valueOf("2024-02-29"));
            statement.setBytes(6, new byte[] {0, -1});
            statement.setBoolean(7, true);
            String shown = "";
            // From the fifth time on it is a statement of the server's, in binary.
            for (int times = 0; times < 8; times++) {
                shown = rows(statement.executeQuery());
            }
            return shown;
        });
        check("lists", () -> {
            PreparedStatement statement = connection.prepareStatement("SELECT 5 = ANY(?), ?::text[]");
            statement.setArray(1, connection.createArrayOf("int4", new Integer[] {1, 5}));
            statement.setArray(2, connection.createArrayOf("text", new String[] {"a", null}));
            return rows(statement.executeQuery());
        });
        check("lists read", () -> {
            ResultSet row = connection.createStatement().executeQuery("SELECT ARRAY[1, 2]::bigint[], ARRAY['a']");
            row.next();
            return Arrays.toString((Object[]) row.getArray(1).getArray()) + row.getArray(2).getBaseTypeName();
        });
        check("uuid", () -> {
            PreparedStatement statement = connection.prepareStatement("SELECT ?::uuid, ?::int IS NULL");
            statement.setObject(1, new UUID(0, 5));
            statement.setNull(2, Types.INTEGER);
            return rows(statement.executeQuery());
        });
        check("numbers", () -> rows(connection.createStatement().executeQuery(
            "SELECT 1::int2, 2::bigint, 0.1::float8, 1.5::real, 'NaN'::float8, 12345678901234567890.5::numeric, '1 day'::interval")));
    }

    private static void session(Connection connection) {
        check("fetch size", () -> {
            connection.setAutoCommit(false);
            Statement statement = connection.createStatement();
            statement.setFetchSize(100);
            ResultSet rows = statement.executeQuery("SELECT n FROM generate_series(1, 10000) g(n)");
            int count = 0;
            while (rows.next()) {
                count++;
            }
            connection.commit();
            connection.setAutoCommit(true);
            return count;
        });
        check("timeout", () -> {
            Statement statement = connection.createStatement();
            statement.setQueryTimeout(1);
            return statement.executeQuery(LONG);
        });
        check("after it", () -> rows(connection.createStatement().executeQuery("SELECT 1")));
        check("settings", () -> {
            connection.setReadOnly(true);
            connection.setReadOnly(false);
            connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            connection.setSchema("public");
            return connection.getSchema() + connection.isValid(1);
        });
        check("COPY", () -> {
            java.io.StringWriter text = new java.io.StringWriter();
            long count = connection.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY (SELECT 1, 'x') TO STDOUT", text);
            return count + text.toString().trim();
        });
        check("batch", () -> {
            Statement statement = connection.createStatement();
            statement.addBatch("SET statement_timeout = 0");
            statement.addBatch("SET application_name = 'x'");
            return statement.executeBatch().length;
        });
        check("savepoint", () -> {
            connection.setAutoCommit(false);
            Savepoint savepoint = connection.setSavepoint("a");
            try {
                connection.createStatement().executeQuery("SELECT 1 / 0");
            } catch (SQLException e) {
                connection.rollback(savepoint);
            }
            String shown = rows(connection.createStatement().executeQuery("SELECT 7"));
            connection.commit();
            connection.setAutoCommit(true);
            return shown;
        });
        check("error", () -> connection.createStatement().executeQuery("SELECT * FROM nowhere"));
    }

    public static void main(String[] arguments) throws SQLException {
        Properties properties = new Properties();
        properties.put("user", arguments[1]);
        properties.put("password", arguments[2]);
        // Both show times in one zone.
        java.util.TimeZone.setDefault(java.util.TimeZone.getTimeZone("UTC"));
        try (Connection connection = DriverManager.getConnection(arguments[0], properties)) {
            catalog(connection);
            values(connection);
            session(connection);
        }
    }
}
