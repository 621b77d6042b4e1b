//! Who is let in where clients need passwords.

use std::process::Command;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_postgres::{Client, Error, NoTls};

use crate::process::{Server, error, printed, told, value};

const SCRAM: &[(&str, &str)] = &[("EBAP_AUTH", "scram")];

/// The password that a first start prints.
pub(crate) fn first_password(server: &Server) -> Option<String> {
    let words = server.said.iter().filter_map(|line| line.strip_prefix("    "));
    words.map(str::to_owned).find(|word| word.len() == 32)
}

async fn log_in(server: &Server, user: &str, password: &str) -> Result<Client, Error> {
    let (client, connection) = server.config().user(user).password(password).connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn admin(server: &Server) -> Client {
    let password = first_password(server).expect("it is printed");
    log_in(server, "ebap", &password).await.expect("the password is right")
}

async fn refused(server: &Server, user: &str, password: &str) -> (String, String) {
    told(&log_in(server, user, password).await.expect_err("it is not let in"))
}

fn wrong_password(user: &str) -> (String, String) {
    error("28P01", &format!("password authentication failed for user \"{user}\""))
}

#[tokio::test]
async fn the_first_start_prints_a_password_once() {
    let server = Server::start_with(SCRAM);
    let password = first_password(&server).expect("it is printed");
    let client = log_in(&server, "ebap", &password).await.expect("the password is right");
    assert_eq!(value(&client, "SHOW is_superuser").await, "on");
    assert_eq!(refused(&server, "ebap", "wrong").await, wrong_password("ebap"));
    drop(client);
    let server = server.restart(SCRAM);
    assert_eq!(first_password(&server), None, "{:?}", server.said);
    let client = log_in(&server, "ebap", &password).await.expect("the password is kept");
    client.batch_execute("ALTER ROLE ebap PASSWORD 'own'").await.expect("changed");
    assert_eq!(refused(&server, "ebap", &password).await, wrong_password("ebap"));
    log_in(&server, "ebap", "own").await.expect("the new one counts");
}

#[tokio::test]
async fn a_superuser_whose_password_is_not_taken_any_more_cannot_log_in() {
    let server = Server::start_with(SCRAM);
    admin(&server).await.batch_execute("ALTER ROLE ebap VALID UNTIL '2020-01-01'").await.expect("changed");
    let server = server.restart(SCRAM);
    assert_eq!(value(&admin(&server).await, "SELECT current_user").await, "ebap", "there is another password");
}

#[tokio::test]
async fn each_reason_to_be_refused_has_its_code() {
    let server = Server::start_with(SCRAM);
    let admin = admin(&server).await;
    let statements = "CREATE USER anna PASSWORD 'a'; CREATE USER bare; CREATE ROLE \"No Login\" PASSWORD 'a';
        CREATE USER old PASSWORD 'a' VALID UNTIL '2020-01-01'; CREATE USER later PASSWORD 'a' VALID UNTIL '2999-01-01';
        CREATE USER once PASSWORD 'a' CONNECTION LIMIT 1";
    admin.batch_execute(statements).await.expect("roles");
    for user in ["anna", "later", "once"] {
        let client = log_in(&server, user, "a").await.expect(user);
        assert_eq!(value(&client, "SELECT current_user").await, user);
        assert_eq!(value(&client, "SHOW is_superuser").await, "off");
    }
    for (user, password, expected) in [
        ("anna", "b", wrong_password("anna")),
        ("nobody", "a", wrong_password("nobody")),
        ("bare", "a", wrong_password("bare")),
        ("No Login", "b", wrong_password("No Login")),
        ("No Login", "a", error("28000", "role \"No Login\" is not permitted to log in")),
        ("old", "a", wrong_password("old")),
    ] {
        assert_eq!(refused(&server, user, password).await, expected, "{user}");
        // What counts is how many fail in a row.
        log_in(&server, "anna", "a").await.expect("anna is let in");
    }
    let one = log_in(&server, "once", "a").await.expect("the first");
    let full = error("53300", "too many connections for role \"once\"");
    assert_eq!(refused(&server, "once", "a").await, full);
    admin.batch_execute("ALTER ROLE once CONNECTION LIMIT -1").await.expect("changed");
    log_in(&server, "once", "a").await.expect("there is no limit any more");
    drop(one);
    admin.batch_execute("ALTER ROLE anna PASSWORD NULL").await.expect("changed");
    assert_eq!(refused(&server, "anna", "a").await, wrong_password("anna"));
}

#[tokio::test]
async fn any_text_is_a_password() {
    let server = Server::start_with(SCRAM);
    let admin = admin(&server).await;
    // The last but one is another spelling of the one before; the last one is not in SASLprep's alphabet.
    let passwords =
        [" ", "quote'd", "comma,=p", "back\\slash", "пароль", "😀", "Ångström", "A\u{30a}ngström", "\u{7}bell"];
    for (at, password) in passwords.iter().enumerate() {
        let create = format!("CREATE USER \"Üser {at}\" PASSWORD '{}'", password.replace('\'', "''"));
        admin.batch_execute(&create).await.expect(password);
        log_in(&server, &format!("Üser {at}"), password).await.expect(password);
        // A client that is not from Rust.
        let (done, shown) = psql(&server, &format!("Üser {at}"), password, "SELECT session_user");
        assert!(done && shown.trim() == format!("Üser {at}"), "{password}: {shown}");
    }
    log_in(&server, "Üser 6", passwords[7]).await.expect("both spellings are one password");
    for empty in ["", "\u{ad}"] {
        admin.batch_execute(&format!("CREATE USER empty PASSWORD '{empty}'")).await.expect("a role");
        assert_eq!(value(&admin, "SELECT count(*) FROM pg_user WHERE usename = 'empty'").await, "1");
        for tried in ["", "\u{ad}", "x"] {
            let error = log_in(&server, "empty", tried).await.expect_err("it has no password");
            assert!(error.as_db_error().is_none_or(|error| error.code().code() == "28P01"), "{error:?}");
        }
        admin.batch_execute("DROP USER empty").await.expect("gone");
        log_in(&server, "Üser 0", " ").await.expect("let in");
    }
    let verifier = postgres_protocol::password::scram_sha_256(b"from elsewhere");
    admin.batch_execute(&format!("CREATE USER moved PASSWORD '{verifier}'")).await.expect("a verifier");
    log_in(&server, "moved", "from elsewhere").await.expect("it is taken as it is");
    assert_eq!(refused(&server, "moved", &verifier).await, wrong_password("moved"));
}

fn psql(server: &Server, user: &str, password: &str, sql: &str) -> (bool, String) {
    let address = server.address();
    let (host, port) = address.rsplit_once(':').expect("an address");
    let mut psql = Command::new("psql");
    psql.args(["-X", "-w", "-At", "-h", host, "-p", port, "-U", user, "-d", "ebap", "-c", sql]);
    printed(&psql.env("PGPASSWORD", password).output().expect("psql is installed"))
}

/// A client by hand.
struct Raw(TcpStream);

impl Raw {
    async fn open(server: &Server, user: &str) -> Self {
        let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
        let parameters = [b"user\0", user.as_bytes(), b"\0\0"].concat();
        let length = i32::try_from(parameters.len() + 8).expect("short");
        let start = [&length.to_be_bytes()[..], &196_608_i32.to_be_bytes(), &parameters].concat();
        stream.write_all(&start).await.expect("sent");
        Self(stream)
    }

    async fn send(&mut self, kind: u8, body: &[u8]) {
        let length = i32::try_from(body.len() + 4).expect("short");
        // The server may have hung up at the first bytes of it.
        let _ = self.0.write_all(&[&[kind], &length.to_be_bytes()[..], body].concat()).await;
    }

    async fn initial(&mut self, mechanism: &str, message: &[u8]) {
        let length = i32::try_from(message.len()).expect("short");
        self.send(b'p', &[mechanism.as_bytes(), b"\0", &length.to_be_bytes(), message].concat()).await;
    }

    /// Type and body of the next message; `None` where the server has hung up.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let kind = self.0.read_u8().await.ok()?;
        let length = self.0.read_i32().await.expect("a length");
        let mut body = vec![0; usize::try_from(length - 4).expect("a length")];
        self.0.read_exact(&mut body).await.expect("a message");
        Some((kind, body))
    }

    /// The code of the error that ends the connection.
    async fn refusal(&mut self) -> String {
        let (kind, body) = self.next().await.expect("it says why");
        assert_eq!(kind, b'E', "{body:?}");
        let fields = String::from_utf8_lossy(&body).into_owned();
        let code = fields.split('\0').find_map(|field| field.strip_prefix('C')).expect("a code").to_owned();
        assert_eq!(self.next().await, None, "it hangs up");
        code
    }

    /// Salt and the rest of the challenge for a user.
    async fn challenge(server: &Server, user: &str) -> String {
        let mut raw = Self::open(server, user).await;
        assert_eq!(raw.next().await, Some((b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0".to_vec())));
        raw.initial("SCRAM-SHA-256", b"n,,n=,r=abc").await;
        let (_, body) = raw.next().await.expect("a challenge");
        String::from_utf8(body).expect("text").split_once(",s=").expect("a salt").1.to_owned()
    }
}

#[tokio::test]
async fn a_user_who_is_not_there_looks_like_any_other() {
    let server = Server::start_with(SCRAM);
    let admin = admin(&server).await;
    admin.batch_execute("CREATE USER anna PASSWORD 'a'").await.expect("a role");
    let anna = Raw::challenge(&server, "anna").await;
    let nobody = Raw::challenge(&server, "nobody").await;
    assert_eq!(anna, Raw::challenge(&server, "anna").await);
    assert_eq!(nobody, Raw::challenge(&server, "nobody").await);
    assert_eq!((nobody.len(), nobody.ends_with(",i=4096")), (anna.len(), anna.ends_with(",i=4096")));
    assert_ne!(nobody, Raw::challenge(&server, "nobody2").await);
    drop(admin);
    let server = server.restart(SCRAM);
    assert_eq!(nobody, Raw::challenge(&server, "nobody").await, "also after a restart");
}

#[tokio::test]
async fn a_client_that_does_not_keep_to_the_exchange_is_sent_away() {
    let server = Server::start_with(SCRAM);
    for (kind, body, code) in [
        (b'Q', b"SELECT 1\0".to_vec(), "08P01"),
        (b'P', b"\0SELECT 1\0\0\0".to_vec(), "08P01"),
        (b'p', b"password\0".to_vec(), "08P01"),
        (b'p', Vec::new(), "08P01"),
        (b'p', b"SCRAM-SHA-256\0".to_vec(), "08P01"),
        (b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xff".to_vec(), "08P01"),
        (b'p', b"SCRAM-SHA-256\0\0\0\0\x05n,,".to_vec(), "08P01"),
        (b'p', b"SCRAM-SHA-256-PLUS\0\0\0\0\x0bn,,n=,r=abc".to_vec(), "08P01"),
        (b'p', b"SCRAM-SHA-256\0\0\0\0\x0bx,,n=,r=abc".to_vec(), "08P01"),
        (b'p', b"SCRAM-SHA-256\0\0\0\0\x16p=tls-unique,,n=,r=abc".to_vec(), "08P01"),
        (b'p', vec![b'x'; 1 << 20], "08P01"),
    ] {
        let mut raw = Raw::open(&server, "ebap").await;
        raw.next().await.expect("mechanisms");
        raw.send(kind, &body).await;
        assert_eq!(raw.refusal().await, code, "{}", String::from_utf8_lossy(&body[..body.len().min(40)]));
    }
    // A proof of zeros, one that is none, and one that comes first.
    for (last, code) in [
        (format!("c=biws,r=NONCE,p={}=", "A".repeat(43)), "28P01"),
        (format!("c=eSws,r=NONCE,p={}=", "A".repeat(43)), "08P01"),
        (format!("c=biws,r=abc,p={}=", "A".repeat(43)), "08P01"),
        ("p=x".to_owned(), "08P01"),
        (String::new(), "08P01"),
    ] {
        let mut raw = Raw::open(&server, "ebap").await;
        raw.next().await.expect("mechanisms");
        raw.initial("SCRAM-SHA-256", b"n,,n=,r=abc").await;
        let (_, challenge) = raw.next().await.expect("a challenge");
        let challenge = String::from_utf8(challenge[4..].to_vec()).expect("text");
        let nonce = challenge.split(',').next().expect("a nonce").trim_start_matches("r=");
        raw.send(b'p', last.replace("NONCE", nonce).as_bytes()).await;
        assert_eq!(raw.refusal().await, code, "{last}");
    }
    admin(&server).await;
}

#[tokio::test]
async fn whoever_does_not_finish_is_hung_up_on() {
    let server = Server::start_with(&[("EBAP_AUTH", "scram"), ("EBAP_AUTHENTICATION_TIMEOUT", "300ms")]);
    let client = admin(&server).await;
    let mut silent = TcpStream::connect(server.address()).await.expect("a connection");
    let mut offered = Raw::open(&server, "ebap").await;
    offered.next().await.expect("mechanisms");
    let mut challenged = Raw::open(&server, "ebap").await;
    challenged.next().await.expect("mechanisms");
    challenged.initial("SCRAM-SHA-256", b"n,,n=,r=abc").await;
    challenged.next().await.expect("a challenge");
    assert_eq!((offered.next().await, challenged.next().await), (None, None));
    assert_eq!(silent.read(&mut [0; 1]).await.expect("the end"), 0);
    // Who is in stays.
    assert_eq!(value(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn whoever_guesses_is_slowed_down() {
    let server = Server::start_with(SCRAM);
    let admin = admin(&server).await;
    admin.batch_execute("CREATE USER anna PASSWORD 'a'").await.expect("a role");
    let begun = ebap_connector::time::instant();
    for _ in 0..5 {
        assert_eq!(refused(&server, "anna", "b").await, wrong_password("anna"));
    }
    let mistyped = begun.elapsed();
    for _ in 0..2 {
        assert_eq!(refused(&server, "anna", "b").await, wrong_password("anna"));
    }
    let guessed = begun.elapsed() - mistyped;
    assert!(guessed.as_millis() >= 750, "250 and 500 ms: {guessed:?}");
    // With the password it takes its turn once, and is free again.
    log_in(&server, "anna", "a").await.expect("the password is right");
    let begun = ebap_connector::time::instant();
    log_in(&server, "anna", "a").await.expect("the password is right");
    assert!(begun.elapsed().as_millis() < 1_000, "{:?}", begun.elapsed());
}
