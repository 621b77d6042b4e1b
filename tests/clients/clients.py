"""Clients of PostgreSQL on EBAP, over TLS with SCRAM, and on a real PostgreSQL: each check gives the same on both.

Environment: EBAP_BIN; PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE of the PostgreSQL; what `stack/clients.sh env` prints. Ends
with 1 where something differs.
"""

import asyncio
import datetime
import decimal
import os
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import uuid

import adbc_driver_postgresql.dbapi
import asyncpg
import psycopg
import psycopg2
import sqlalchemy

ADDRESSES = 4 << 30
PASSWORD = "odd \"pass'wörd $1"
LIMIT = 60

# Text, numbers, times and lists at their ordinary values and their limits.
VALUES = [
    "true", "NULL::boolean", "(-32768)::smallint", "2147483647::int", "(-9223372036854775808)::bigint", "NULL::bigint",
    "1.5::real", "'-Infinity'::real", "0.1::float8 + 0.2::float8", "'NaN'::float8", "'1e308'::float8",
    "12345678901234567890.123456789::numeric", "0::numeric", "'NaN'::numeric", "(-0.00001)::numeric", "1e30::numeric",
    "'ünï ☃ ''q'' \\'::text", "''::text", "NULL::text", "repeat('x', 100000)",
    "'\\x00ff10'::bytea", "''::bytea", "'2024-02-29'::date", "'0001-01-01'::date", "'9999-12-31'::date",
    "'23:59:59.999999'::time", "'1999-12-31 23:59:59.123456'::timestamp", "'2024-06-01 12:00:00+02'::timestamptz",
    "'3 days 04:05:06.7'::interval", "'-1 days'::interval", "'00112233-4455-6677-8899-aabbccddeeff'::uuid",
    "'{\"a\": [1, 2.50, null, \"x\"]}'::json", "'{\"b\": 1, \"a\": {\"c\": true}}'::jsonb",
    "ARRAY[1, NULL, 3]::int[]", "ARRAY['a', 'b,c', NULL, '\"q\"', '']::text[]", "ARRAY[]::bigint[]", "ARRAY[1.5, 2.25]::float8[]",
    "ARRAY[true, false]", "ARRAY['2024-01-01'::date]", "NULL::int[]",
]

# A type, and what a client sends as one.
PARAMETERS = [
    ("boolean", True), ("smallint", -5), ("int", 2**31 - 1), ("bigint", -(2**63)), ("float8", 1e-300), ("text", "ü'\\"),
    ("text", None), ("bytea", b"\x00\xff"), ("numeric", decimal.Decimal("-12345678901234567890.5")),
    ("date", datetime.date(2024, 2, 29)), ("timestamp", datetime.datetime(1999, 12, 31, 23, 59, 59, 5)),
    ("timestamptz", datetime.datetime(2024, 6, 1, 12, tzinfo=datetime.timezone.utc)), ("time", datetime.time(1, 2, 3, 4)),
    ("interval", datetime.timedelta(days=3, seconds=5, microseconds=7)), ("uuid", uuid.UUID(int=5)),
    ("int[]", [1, None, 3]), ("text[]", ["a", None, "b,\"c"]), ("float8[]", []),
]

FAILURES = ["SELECT 1 / 0", "SELECT * FROM nowhere", "SELECT SELECT 1", "SELECT nothing()", "SELECT 'x'::int", "SELECT 99999999999::int"]
LONG = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b"


class Server:
    """How to reach one of the two."""

    def __init__(self, host, port, user, password, database, ca):
        self.host, self.port, self.user, self.password, self.database, self.ca = host, port, user, password, database, ca

    def arguments(self):
        common = dict(host=self.host, port=self.port, user=self.user, password=self.password, dbname=self.database)
        return {**common, "sslmode": "verify-full", "sslrootcert": self.ca} if self.ca else {**common, "sslmode": "disable"}

    def url(self, driver):
        arguments = self.arguments()
        query = {name: arguments[name] for name in ("sslmode", "sslrootcert") if name in arguments}
        return sqlalchemy.URL.create(
            driver, username=self.user, password=self.password, host=self.host, port=self.port, database=self.database, query=query
        )

    def uri(self, scheme, user=""):
        options = {name: value for name, value in self.arguments().items() if name.startswith("ssl")}
        return f"{scheme}://{user}{self.host}:{self.port}/{self.database}?{urllib.parse.urlencode(options)}"

    async def asyncpg(self):
        context = ssl.create_default_context(cafile=self.ca) if self.ca else False
        return await asyncpg.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, database=self.database, ssl=context
        )


def failed(run):
    """The SQLSTATE that it ends with."""
    try:
        run()
    except psycopg.Error as error:
        return error.sqlstate
    except psycopg2.Error as error:
        return error.pgcode
    return "no error"


def cancelled(cancel, run):
    """Cancels again and again: a request that comes before the statement has begun is lost, as the protocol wants it."""
    ended = threading.Event()

    def ask():
        while not ended.wait(0.3):
            cancel()

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        return failed(run)
    finally:
        ended.set()
        asker.join()


def psycopg_types(server, binary):
    with psycopg.connect(**server.arguments()) as connection, connection.cursor(binary=binary) as cursor:
        connection.execute("SET TIME ZONE 'UTC'")
        for value in VALUES:
            cursor.execute(f"SELECT {value}")
            yield value, cursor.description[0].type_code, cursor.fetchone()


def psycopg_parameters(server, binary):
    with psycopg.connect(**server.arguments()) as connection, connection.cursor(binary=binary) as cursor:
        connection.execute("SET TIME ZONE 'UTC'")
        for of, value in PARAMETERS:
            for place in ("%s", "%b", "%t"):
                cursor.execute(f"SELECT {place}::{of}", [value])
                yield of, place, cursor.fetchone()


def psycopg_the_rest(server):
    with psycopg.connect(**server.arguments(), autocommit=True) as connection:
        for sql in FAILURES:
            yield sql, failed(lambda sql=sql: connection.execute(sql))
        with connection.transaction():
            yield "block", failed(lambda: connection.execute("SELECT 1 / 0")), failed(lambda: connection.execute("SELECT 1"))
            connection.execute("ROLLBACK")
    with psycopg.connect(**server.arguments()) as connection:
        with connection.transaction():
            try:
                with connection.transaction():
                    connection.execute("SELECT 1 / 0")
            except psycopg.errors.DivisionByZero:
                yield "savepoint", connection.execute("SELECT 5").fetchone()
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int * 2", [number]) for number in range(20)]
            yield "pipeline", [cursor.fetchone() for cursor in cursors]
        with connection.cursor("named") as cursor:
            cursor.itersize = 7
            cursor.execute("SELECT n, n::text FROM generate_series(1, 100) g(n)")
            yield "cursor", cursor.fetchmany(3), sum(row[0] for row in cursor)
        for form in ("TEXT", "CSV", "BINARY"):
            with connection.cursor().copy(f"COPY (SELECT n, 'a' || n, NULL::int FROM generate_series(1, 9) g(n)) TO STDOUT (FORMAT {form})") as copy:
                yield form, b"".join(bytes(part) for part in copy)
        with connection.cursor() as cursor:
            for number in range(8):
                yield "prepared", cursor.execute("SELECT %s::int + 1", [number], prepare=True).fetchone()
        yield "cancel", cancelled(connection.cancel_safe, lambda: connection.execute(LONG))


def psycopg2_all(server):
    connection = psycopg2.connect(**server.arguments())
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        for value in VALUES:
            cursor.execute(f"SELECT {value}")
            shown = cursor.fetchone()[0]
            yield value, cursor.description[0].type_code, bytes(shown) if isinstance(shown, memoryview) else shown
        for of, value in PARAMETERS:
            # It sends a negative number without parentheses, and a cast binds closer.
            if not isinstance(value, uuid.UUID) and value != -(2**63):
                cursor.execute(f"SELECT (%s::{of})::text", [value])
                yield of, cursor.fetchone()
    connection.commit()
    with connection.cursor("named") as cursor:
        cursor.execute("SELECT n FROM generate_series(1, 5000) g(n)")
        yield "cursor", sum(row[0] for row in cursor)
    yield "cancel", cancelled(connection.cancel, lambda: connection.cursor().execute(LONG))
    connection.rollback()
    yield "after", failed(lambda: connection.cursor().execute("SELECT 1"))
    connection.close()


def asyncpg_all(server):
    async def run():
        found = []
        connection = await server.asyncpg()
        await connection.execute("SET TIME ZONE 'UTC'")
        for value in VALUES:
            found.append((value, await connection.fetchval(f"SELECT {value}")))
        for of, value in PARAMETERS:
            found.append((of, await connection.fetchval(f"SELECT $1::{of}", value)))
        for sql in FAILURES:
            try:
                await connection.execute(sql)
            except asyncpg.PostgresError as error:
                found.append((sql, error.sqlstate))
        async with connection.transaction():
            rows = [row[0] async for row in connection.cursor("SELECT n FROM generate_series(1, 1000) g(n)", prefetch=50)]
            found.append(("cursor", sum(rows)))
        statement = await connection.prepare("SELECT $1::int, $2::text")
        found.append(("prepared", [kind.name for kind in statement.get_parameters()], [tuple(await statement.fetchrow(n, "x")) for n in range(3)]))
        try:
            await connection.fetch(LONG, timeout=0.3)
        except (TimeoutError, asyncio.TimeoutError):
            found.append(("timeout", await connection.fetchval("SELECT 1")))
        await connection.reset()
        await connection.close()
        return found

    return asyncio.run(run())


def sqlalchemy_all(server, driver):
    engine = sqlalchemy.create_engine(server.url(driver))
    with engine.connect() as connection:
        streamed = connection.execution_options(stream_results=True).execute(sqlalchemy.text("SELECT n FROM generate_series(1, 2000) g(n)"))
        yield "streamed", sum(row.n for row in streamed)
    with engine.connect() as connection:
        inspector = sqlalchemy.inspect(connection)
        columns = [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns("looked_at")]
        yield "columns", columns
        yield "tables", "looked_at" in inspector.get_table_names(), inspector.has_table("looked_at"), inspector.has_table("nowhere")
        yield "keys", inspector.get_pk_constraint("looked_at")["constrained_columns"], inspector.get_foreign_keys("looked_at")
        yield "indexes", inspector.get_indexes("looked_at"), inspector.get_unique_constraints("looked_at")
        yield "comment", inspector.get_table_comment("looked_at"), inspector.get_check_constraints("looked_at")
        metadata = sqlalchemy.MetaData()
        metadata.reflect(connection, only=["looked_at"])
        table = metadata.tables["looked_at"]
        yield "reflected", [column.name for column in table.columns]
        query = sqlalchemy.select(sqlalchemy.func.count()).select_from(table).where(table.c.region == "nowhere")
        yield "counted", connection.execute(query).scalar()
        yield "version", connection.dialect.server_version_info[0]
    engine.dispose()


def adbc_all(server):
    uri = server.uri("postgresql", f"{server.user}:{urllib.parse.quote(server.password, safe='')}@")
    # What Arrow has no type for comes as bytes of a type of the driver's own.
    kinds = [value for value in VALUES if "interval" not in value]
    with adbc_driver_postgresql.dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        for value in kinds:
            cursor.execute(f"SELECT {value} AS v")
            table = cursor.fetch_arrow_table()
            yield value, str(table.schema.field(0).type), repr(table.column(0).to_pylist())
        cursor.execute("SELECT n, n::text AS t, n::float8 / 3 AS f FROM generate_series(1, 100000) g(n)")
        yield "many", cursor.fetch_arrow_table().num_rows
        cursor.execute("SELECT $1::int + 1, $2::text", (5, "x"))
        yield "parameters", repr(cursor.fetchone())


def printed(*command):
    """The lines that a program prints, each of which is an answer."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ends with {done.returncode}: {done.stdout[-500:]} {done.stderr[-2000:]}")
    return done.stdout.splitlines()


def go_all(server):
    return printed(os.environ["CLIENTS_GO"], server.uri("postgres", f"{server.user}:{urllib.parse.quote(server.password, safe='')}@"))


def java_all(server):
    java = [os.environ["CLIENTS_JAVA"], "-Xmx256m", "-cp", os.environ["CLIENTS_CLASSPATH"], "Clients"]
    return printed(*java, server.uri("jdbc:postgresql"), server.user, server.password)


CHECKS = {
    "psycopg, text": lambda server: psycopg_types(server, False),
    "psycopg, binary": lambda server: psycopg_types(server, True),
    "psycopg, parameters, text": lambda server: psycopg_parameters(server, False),
    "psycopg, parameters, binary": lambda server: psycopg_parameters(server, True),
    "psycopg, the rest": psycopg_the_rest,
    "psycopg2": psycopg2_all,
    "asyncpg": asyncpg_all,
    "SQLAlchemy over psycopg": lambda server: sqlalchemy_all(server, "postgresql+psycopg"),
    "SQLAlchemy over psycopg2": lambda server: sqlalchemy_all(server, "postgresql+psycopg2"),
    "ADBC": adbc_all,
    "pgx and lib/pq": go_all,
    "pgjdbc": java_all,
}


def certificates(folder):
    """An authority, and a certificate of its for the server."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=authority")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    with open(os.path.join(folder, "names"), "w") as file:
        file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-out", "server.crt", "-days", "2", "-extfile", "names")


def started(folder):
    """EBAP with SCRAM and TLS, and the password of its superuser."""
    certificates(folder)
    at = lambda name: os.path.join(folder, name)
    listen = ["--pg-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--data-dir", at("data"), "--auth", "scram"]
    tls = ["--tls-cert", at("server.crt"), "--tls-key", at("server.key"), "--require-tls"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    process = subprocess.Popen(
        [os.environ["EBAP_BIN"], "server", *listen, *tls], stderr=subprocess.PIPE, text=True, preexec_fn=limit
    )
    password, said = None, []
    for line in process.stderr:
        said.append(line)
        if line.startswith("    ") and len(line.strip()) == 32:
            password = line.strip()
        if line.startswith("ebap is ready"):
            port = int(line.rsplit(":", 1)[1].split("/")[0])
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, Server("127.0.0.1", port, "ebap", password, "ebap", at("ca.crt"))
    raise SystemExit("ebap does not start: " + "".join(said))


def prepared(ebap, postgres):
    """The same relation in both, and in EBAP a role that may read it alone."""
    columns = "id BIGINT NOT NULL, region TEXT, amount NUMERIC(10, 2), at TIMESTAMPTZ"
    with psycopg.connect(**ebap.arguments(), autocommit=True) as connection:
        connection.execute(f"CREATE STREAM looked_at ({columns}) WITH (connector = 'generator', rows = 3)")
        connection.execute(psycopg.sql.SQL("CREATE USER app PASSWORD {}").format(psycopg.sql.Literal(PASSWORD)))
        connection.execute("GRANT SELECT ON looked_at TO app")
    with psycopg.connect(**postgres.arguments(), autocommit=True) as connection:
        connection.execute(f"DROP TABLE IF EXISTS looked_at; CREATE TABLE looked_at ({columns})")
    return Server(ebap.host, ebap.port, "app", PASSWORD, ebap.database, ebap.ca)


def compared(name, check, ebap, postgres):
    """What differs, as lines."""
    right, ours = [repr(one) for one in check(postgres)], []
    try:
        ours.extend(repr(one) for one in check(ebap))
    except Exception as error:  # What a client throws is what is looked for.
        ours.append(f"{type(error).__name__}: {error}")
    lines = [f"{name}: PostgreSQL {one[:300]}\n{name}: EBAP       {other[:300]}" for one, other in zip(right, ours) if one != other]
    if len(right) != len(ours):
        lines.append(f"{name}: {len(right)} answers of PostgreSQL, {len(ours)} of EBAP, the last: {ours[-1:]}")
    print(f"{name}: {len(right)} answers, {len(lines)} differ")
    return lines


def main():
    # Whatever a client waits for, it does not wait for ever.
    signal.alarm(5 * LIMIT)
    environment = os.environ
    postgres = Server(
        environment["PGHOST"], int(environment["PGPORT"]), environment["PGUSER"], environment["PGPASSWORD"], environment["PGDATABASE"], None
    )
    for name in [name for name in environment if name.startswith("PG")]:
        del environment[name]
    with tempfile.TemporaryDirectory() as folder:
        process, superuser = started(folder)
        try:
            app = prepared(superuser, postgres)
            different = [line for name, check in CHECKS.items() for line in compared(name, check, app, postgres)]
        finally:
            process.terminate()
            process.wait(LIMIT)
    print("\n".join(different))
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
