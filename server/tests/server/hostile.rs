//! Clients that send what no client should. Each is told so and no more: the server and all other sessions
//! go on.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::process::{Server, failure, value};

const VERSION: i32 = 196_608;

/// A session by hand.
struct Raw(TcpStream);

impl Raw {
    async fn open(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
        let parameters = b"user\0ebap\0\0";
        let length = i32::try_from(parameters.len() + 8).expect("short");
        let start = [&length.to_be_bytes()[..], &VERSION.to_be_bytes(), parameters].concat();
        stream.write_all(&start).await.expect("sent");
        let mut raw = Self(stream);
        raw.until_ready().await;
        raw
    }

    async fn send(&mut self, kind: u8, body: &[u8]) {
        let length = i32::try_from(body.len() + 4).expect("short");
        self.0.write_all(&[&[kind], &length.to_be_bytes()[..], body].concat()).await.expect("sent");
    }

    /// SQLSTATEs of all errors until the server is ready, or hangs up.
    async fn until_ready(&mut self) -> Vec<String> {
        let mut errors = Vec::new();
        loop {
            let Ok(kind) = self.0.read_u8().await else { return errors };
            let length = self.0.read_i32().await.expect("a length");
            let mut body = vec![0; usize::try_from(length - 4).expect("a length")];
            self.0.read_exact(&mut body).await.expect("a message");
            match kind {
                b'E' => {
                    let fields = String::from_utf8_lossy(&body).into_owned();
                    let code = fields.split('\0').find_map(|field| field.strip_prefix('C'));
                    errors.push(code.expect("a code").to_owned());
                }
                b'Z' => return errors,
                _ => {}
            }
        }
    }
}

fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let count = u16::try_from(types.len()).expect("few");
    let types: Vec<u8> = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
    [name.as_bytes(), b"\0", sql.as_bytes(), b"\0", &count.to_be_bytes(), &types].concat()
}

/// One parameter of this format.
fn bind(format: i16, value: &[u8]) -> Vec<u8> {
    let length = i32::try_from(value.len()).expect("short");
    let formats = [1_i16.to_be_bytes(), format.to_be_bytes()].concat();
    let values = [&1_i16.to_be_bytes()[..], &length.to_be_bytes(), value].concat();
    [b"\0\0", &formats[..], &values, &0_i16.to_be_bytes()].concat()
}

#[tokio::test]
async fn a_malformed_message_is_an_error_of_the_session() {
    let server = Server::start();
    let mut raw = Raw::open(&server).await;
    for (kind, body) in [
        (b'P', &b""[..]),
        (b'P', b"\0SELECT 1\0\xff\xff\0\0"),
        (b'B', b"\0\0\xff\xff"),
        (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xffx"),
        (b'B', b"\0\0\0\0\0\x01\x80\0\0\0"),
        (b'D', b""),
        (b'D', b"X\0"),
        (b'C', b""),
        (b'E', b"\0"),
    ] {
        raw.send(kind, body).await;
        raw.send(b'S', b"").await;
        assert_eq!(raw.until_ready().await, ["08P01"], "{} {body:?}", char::from(kind));
    }
    raw.send(b'Q', b"SELECT '\xff'\0").await;
    assert_eq!(raw.until_ready().await, ["22021"]);
    raw.send(b'Q', b"SELECT 1").await;
    assert_eq!(raw.until_ready().await, ["08P01"]);
    raw.send(b'Q', b"SELECT 1\0").await;
    assert_eq!(raw.until_ready().await, Vec::<String>::new());
    // Of a type that there is not, the length may be wrong as well.
    raw.send(b'!', b"").await;
    assert_eq!(raw.until_ready().await, ["08P01"]);
    assert_eq!(value(&server.connect().await, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_bind_that_does_not_fit_its_statement_is_refused() {
    let server = Server::start();
    let mut raw = Raw::open(&server).await;
    for (body, code) in [
        (b"\0\0\0\0\0\0\0\0".to_vec(), "08P01"),
        (b"\0\0\0\x02\0\0\0\0\0\x01\0\0\0\x017\0\0".to_vec(), "08P01"),
        (b"\0\0\0\x01\0\x07\0\x01\0\0\0\x017\0\0".to_vec(), "22023"),
        (b"\0\0\0\0\0\x01\0\0\0\x017\0\x02\0\0\0\0".to_vec(), "08P01"),
    ] {
        raw.send(b'P', &parse("", "SELECT $1::int", &[])).await;
        raw.send(b'B', &body).await;
        raw.send(b'D', b"P\0").await;
        raw.send(b'E', b"\0\0\0\0\0").await;
        raw.send(b'S', b"").await;
        assert_eq!(raw.until_ready().await, [code], "{body:?}");
    }
}

#[tokio::test]
async fn a_parameter_that_is_no_value_of_its_type_is_refused() {
    let server = Server::start();
    let mut raw = Raw::open(&server).await;
    let array = |count: i32| [1, 0, 23, count, 1].map(i32::to_be_bytes).concat();
    for (oid, format, bytes, code) in [
        (16, 1, vec![1, 2], "22P03"),
        (16, 0, b"perhaps".to_vec(), "22P02"),
        (21, 0, b"32768".to_vec(), "22003"),
        (23, 1, vec![0; 3], "22P03"),
        (23, 0, b"1.5".to_vec(), "22P02"),
        (20, 0, b"9223372036854775808".to_vec(), "22003"),
        (701, 0, b"1e400".to_vec(), "22003"),
        (701, 1, vec![0; 4], "22P03"),
        (1700, 1, vec![0x7f, 0xff, 0, 0, 0, 0, 0, 0], "22P03"),
        (1700, 0, b"one".to_vec(), "22P02"),
        (25, 1, vec![0xff], "22021"),
        (25, 0, vec![b'a', 0], "22021"),
        (17, 0, b"\\x0".to_vec(), "22023"),
        (1082, 1, vec![0; 8], "22P03"),
        (1082, 0, b"yesterday-ish".to_vec(), "22007"),
        (1114, 1, vec![0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], "22008"),
        (1184, 0, b"2026-13-01".to_vec(), "22008"),
        (1083, 1, vec![0x7f; 8], "22008"),
        (1186, 1, vec![0; 15], "22P03"),
        (2950, 1, vec![0; 15], "22P03"),
        (2950, 0, b"no-uuid".to_vec(), "22P02"),
        (3802, 1, b"\x02{}".to_vec(), "22P03"),
        (114, 0, b"{".to_vec(), "22P02"),
        (1007, 1, array(i32::MAX), "22P03"),
        (1007, 1, vec![0x7f; 12], "22P03"),
        (1007, 0, b"{1,2".to_vec(), "22P02"),
        (1007, 0, b"{{1}}".to_vec(), "0A000"),
    ] {
        raw.send(b'P', &parse("", "SELECT $1", &[oid])).await;
        raw.send(b'B', &bind(format, &bytes)).await;
        raw.send(b'E', b"\0\0\0\0\0").await;
        raw.send(b'S', b"").await;
        assert_eq!(raw.until_ready().await, [code], "{oid} {bytes:?}");
    }
    raw.send(b'P', &parse("", "SELECT $1", &[869])).await;
    raw.send(b'S', b"").await;
    assert_eq!(raw.until_ready().await, ["0A000"]);
}

#[tokio::test]
async fn a_number_of_a_parameter_is_no_size() {
    let server = Server::start();
    let mut raw = Raw::open(&server).await;
    for sql in ["SELECT $4000000000", "SELECT $99999999999999999999", "SELECT $65536", "SELECT $0"] {
        raw.send(b'P', &parse("", sql, &[])).await;
        raw.send(b'S', b"").await;
        assert_eq!(raw.until_ready().await, ["42P02"], "{sql}");
    }
}

#[tokio::test]
async fn a_session_keeps_no_more_than_it_may() {
    let server = Server::start();
    let mut raw = Raw::open(&server).await;
    // The session answers a thousand statements, and after them with errors alone.
    let mut codes = Vec::new();
    for at in 0..5_100 {
        raw.send(b'P', &parse(&format!("s{at}"), "", &[])).await;
        if at % 100 == 99 {
            raw.send(b'S', b"").await;
            codes.extend(raw.until_ready().await);
        }
    }
    assert_eq!(codes, ["53400"]);
    raw.send(b'Q', b"DEALLOCATE ALL\0").await;
    assert_eq!(raw.until_ready().await, Vec::<String>::new());
    raw.send(b'P', &parse("again", "", &[])).await;
    raw.send(b'S', b"").await;
    assert_eq!(raw.until_ready().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_statement_is_no_deeper_than_the_stack() {
    let server = Server::start();
    let client = server.connect().await;
    let many = |first: &str, part: &str, count: usize, last: &str| first.to_owned() + &part.repeat(count) + last;
    for sql in [
        many("SELECT ", "(", 100_000, "1"),
        many("SELECT ", "(", 100_000, "1") + &")".repeat(100_000),
        many("SELECT true", " OR true", 1_000_000, ""),
        many("SELECT 1", " + 1", 100_000, ""),
        many("SELECT 1", "::bigint", 100_000, ""),
        many("SELECT ", "- ", 100_000, "1"),
        many("SELECT ", "NOT ", 100_000, "true"),
        many("SELECT 1", " UNION ALL SELECT 1", 100_000, ""),
        many("", "EXPLAIN ", 100_000, "SELECT 1"),
        many("SELECT ", "CASE WHEN true THEN ", 10_000, "1"),
        many("SELECT ", "abs(", 900, "1") + &")".repeat(900),
        many("SELECT ", "(SELECT ", 900, "1") + &")".repeat(900),
        many("SELECT ", "ARRAY[", 900, "1") + &"]".repeat(900),
        many("CREATE STREAM s (a ", "STRUCT<a ", 100_000, "INT"),
    ] {
        let (code, _) = failure(&client, &sql).await;
        assert!(["54001", "42601"].contains(&code.as_str()), "{code}: {}…", &sql[..40]);
    }
    assert_eq!(failure(&client, &many("SELECT 1 IN (1", ", 1", 1_000_000, ")")).await.0, "54000");
    assert_eq!(failure(&client, &"SELECT 1;".repeat(100_000)).await.0, "54000");
    assert_eq!(value(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn what_is_as_deep_as_may_be_works() {
    let server = Server::start();
    let client = server.connect().await;
    let many = |first: &str, part: &str, count: usize| first.to_owned() + &part.repeat(count);
    for (sql, answer) in [
        (many("SELECT false", " OR value = 1", 400) + " FROM generate_series(1, 1) AS s(value)", "t"),
        (many("SELECT 0", " + value", 110) + " FROM generate_series(1, 1) AS s(value)", "110"),
        (many("SELECT count(*) FROM (SELECT 1", " UNION ALL SELECT 1", 190) + ")", "191"),
        (format!("SELECT 1 IN ({}1)", "2, ".repeat(100_000)), "t"),
    ] {
        assert_eq!(value(&client, &sql).await, answer, "{}…", &sql[..40]);
    }
}
