//! Encrypted connections, as `psql` asks for them.

use std::{fs, path::Path, process::Command, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    process::{STREAM, Server, ebap, printed},
    scram::first_password,
};

/// Longer than a server takes to see that a file has changed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The text that files have of a certificate or a key.
fn pem(of: &str, der: &[u8]) -> String {
    format!("-----BEGIN {of}-----\n{}\n-----END {of}-----\n", STANDARD.encode(der))
}

/// Somebody who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        // Of two issuers of one name openssl says something else than that it does not know them.
        let name = format!("authority {:x?}", &key.public_key_raw()[..8]);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = pem("CERTIFICATE", params.self_signed(&key).expect("a certificate").der());
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes `name.crt` and `name.key`.
    fn sign(&self, folder: &Path, name: &str, common_name: &str) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = |end: &str| folder.join(format!("{name}.{end}"));
        fs::write(file("crt"), pem("CERTIFICATE", certificate.der())).expect("a file");
        fs::write(file("key"), pem("PRIVATE KEY", key.serialized_der())).expect("a file");
        // libpq takes no key that others can read.
        let status = Command::new("chmod").arg("600").arg(file("key")).status().expect("chmod is there");
        assert!(status.success());
    }
}

/// An authority, `ca.crt`, and `server.crt` with its key.
fn folder() -> (TempDir, Authority) {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    fs::write(folder.path().join("ca.crt"), &authority.pem).expect("a file");
    authority.sign(folder.path(), "server", "server");
    (folder, authority)
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn start(folder: &TempDir, more: &[(&str, &str)]) -> Server {
    let (cert, key) = (path(folder, "server.crt"), path(folder, "server.key"));
    let own = [("EBAP_TLS_CERT", cert.as_str()), ("EBAP_TLS_KEY", key.as_str())];
    Server::start_with(&[&own[..], more].concat())
}

/// Runs a query with these parameters of the connection.
fn psql(server: &Server, parameters: &str, sql: &str) -> (bool, String) {
    let address = server.address();
    let (host, port) = address.rsplit_once(':').expect("an address");
    let connection = format!("host={host} port={port} dbname=ebap {parameters}");
    let mut psql = Command::new("psql");
    psql.args(["-X", "-w", "-At", "-d", &connection, "-c", sql]);
    printed(&psql.output().expect("psql is installed"))
}

#[tokio::test]
async fn a_client_that_asks_for_encryption_gets_it() {
    let (folder, _) = folder();
    let server = start(&folder, &[]);
    let verified = format!("user=anna sslrootcert={}", path(&folder, "ca.crt"));
    for mode in ["disable", "prefer", "require", "verify-ca", "verify-full"] {
        let (done, shown) = psql(&server, &format!("{verified} sslmode={mode}"), "SELECT count(*) FROM pg_type");
        assert!(done && shown.trim().parse::<u32>().is_ok_and(|count| count > 50), "{mode}: {shown}");
    }
    let (done, shown) = psql(&server, "user=anna sslmode=require", "\\conninfo");
    assert!(done && shown.contains("TLSv1.3"), "{shown}");
    let (other, _) = self::folder();
    let stranger = format!("user=anna sslmode=verify-full sslrootcert={}", path(&other, "ca.crt"));
    let (done, shown) = psql(&server, &stranger, "SELECT 1");
    assert!(!done && shown.contains("certificate verify failed"), "{shown}");
}

#[tokio::test]
async fn nobody_comes_in_unencrypted_where_that_is_required() {
    let (folder, _) = folder();
    let server = start(&folder, &[("EBAP_REQUIRE_TLS", "true"), ("EBAP_AUTH", "scram")]);
    let password = first_password(&server).expect("it is printed");
    let (done, shown) = psql(&server, &format!("user=ebap password={password} sslmode=disable"), "SELECT 1");
    assert!(!done && shown.contains("the connection is not encrypted"), "{shown}");
    for binding in ["disable", "prefer"] {
        let parameters = format!("user=ebap password={password} sslmode=require channel_binding={binding}");
        let (done, shown) = psql(&server, &parameters, "SELECT current_user");
        assert!(done && shown.trim() == "ebap", "{shown}");
    }
    let (done, shown) = psql(&server, "user=ebap password=wrong sslmode=require", "SELECT 1");
    assert!(!done && shown.contains("password authentication failed for user \"ebap\""), "{shown}");
}

#[tokio::test]
async fn migrate_comes_in_encrypted_with_a_password() {
    let (folder, _) = folder();
    let server = start(&folder, &[("EBAP_REQUIRE_TLS", "true"), ("EBAP_AUTH", "scram")]);
    let password = first_password(&server).expect("it is printed");
    server.file("migrations/0001_orders.sql", &format!("{STREAM};"));
    let (address, ca) = (server.address(), path(&folder, "ca.crt"));
    let (other, _) = self::folder();
    let other = path(&other, "ca.crt");
    let encrypted = |ca: &str| format!("?sslmode=verify-full&sslrootcert={ca}");
    for (user, options, given, expected) in [
        (format!("ebap:{password}"), String::new(), "", "the connection is not encrypted"),
        (format!("ebap:{password}"), encrypted(&other), "", "no server answers at"),
        ("ebap:wrong".to_owned(), encrypted(&ca), "", "password authentication failed for user \"ebap\""),
        ("ebap".to_owned(), encrypted(&ca), &password, "applied 0001_orders.sql"),
        (format!("ebap:{password}"), encrypted(&ca), "", "nothing to apply"),
    ] {
        let url = format!("postgres://{user}@{address}/ebap{options}");
        let mut command = ebap();
        command.args(["migrate", "--url", &url, "--dir"]).arg(server.folder.path().join("migrations"));
        if !given.is_empty() {
            command.env("PGPASSWORD", given);
        }
        let (_, shown) = printed(&command.output().expect("the binary starts"));
        assert!(shown.contains(expected) && !shown.contains(&password), "{expected}: {shown}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_that_of_the_user() {
    let (folder, authority) = folder();
    let ca = path(&folder, "ca.crt");
    let server = start(&folder, &[("EBAP_TLS_CLIENT_CA", &ca)]);
    authority.sign(folder.path(), "anna", "anna");
    Authority::new().sign(folder.path(), "forged", "anna");
    let with = |user: &str, file: &str| {
        let (cert, key) = (path(&folder, &format!("{file}.crt")), path(&folder, &format!("{file}.key")));
        psql(&server, &format!("user={user} sslmode=require sslcert={cert} sslkey={key}"), "SELECT session_user")
    };
    let (done, shown) = with("anna", "anna");
    assert!(done && shown.trim() == "anna", "{shown}");
    let (done, shown) = with("otto", "anna");
    assert!(!done && shown.contains("certificate authentication failed for user \"otto\""), "{shown}");
    let (done, shown) = with("anna", "forged");
    assert!(!done, "{shown}");
    let (done, shown) = psql(&server, "user=anna sslmode=require sslcert=/nowhere", "SELECT 1");
    assert!(!done, "{shown}");
    let (done, shown) = psql(&server, "user=anna sslmode=disable", "SELECT 1");
    assert!(!done && shown.contains("the connection is not encrypted"), "{shown}");
}

/// Whether a client that trusts this issuer alone gets in.
fn is_of(server: &Server, ca: &str) -> bool {
    psql(server, &format!("user=anna sslmode=verify-full sslrootcert={ca}"), "SELECT 1").0
}

#[tokio::test]
async fn certificates_are_read_again_when_they_change() {
    let (folder, _) = folder();
    let server = start(&folder, &[]);
    let first = path(&folder, "ca.crt");
    assert!(is_of(&server, &first));
    // Half of a change is none: the certificate does not go with the key.
    let (other, authority) = self::folder();
    fs::copy(path(&other, "server.crt"), path(&folder, "server.crt")).expect("copied");
    server.signal("HUP");
    until(|| server.has_logged("the TLS certificate stays what it was")).await;
    assert!(is_of(&server, &first), "the old one stays");
    authority.sign(folder.path(), "server", "server");
    let second = path(&other, "ca.crt");
    until(|| is_of(&server, &second)).await;
    let log = server.log();
    assert!(log.contains("do not go together"), "{log}");
}

async fn until(condition: impl Fn() -> bool) {
    let holds = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    });
    holds.await.expect("it comes in time");
}

#[test]
fn files_that_cannot_be_used_are_an_error_at_the_start() {
    let (folder, authority) = folder();
    authority.sign(folder.path(), "other", "other");
    fs::write(folder.path().join("empty"), "no certificate").expect("a file");
    let (cert, key) = (path(&folder, "server.crt"), path(&folder, "server.key"));
    let (empty, other) = (path(&folder, "empty"), path(&folder, "other.key"));
    for (settings, expected) in [
        (&[("EBAP_TLS_CERT", cert.as_str())][..], "tls_cert and tls_key go together"),
        (&[("EBAP_REQUIRE_TLS", "true")], "tls_client_ca and require_tls need tls_cert and tls_key"),
        (
            &[("EBAP_REQUIRE_TLS", "perhaps")],
            "require_tls = \"perhaps\" (environment EBAP_REQUIRE_TLS) is not true or false",
        ),
        (&[("EBAP_TLS_CERT", "/nowhere"), ("EBAP_TLS_KEY", &key)], "/nowhere (tls_cert) cannot be read"),
        (&[("EBAP_TLS_CERT", &empty), ("EBAP_TLS_KEY", &key)], "empty (tls_cert) has no certificate"),
        (&[("EBAP_TLS_CERT", &cert), ("EBAP_TLS_KEY", &empty)], "empty (tls_key) cannot be read"),
        (&[("EBAP_TLS_CERT", &cert), ("EBAP_TLS_KEY", &other)], "do not go together"),
        (
            &[("EBAP_TLS_CERT", &cert), ("EBAP_TLS_KEY", &key), ("EBAP_TLS_CLIENT_CA", &empty)],
            "empty (tls_client_ca) has no certificate",
        ),
    ] {
        let data = tempfile::tempdir().expect("a folder");
        let arguments = ["server", "--pg-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--data-dir"];
        let output = ebap().args(arguments).arg(data.path()).envs(settings.iter().copied()).output();
        let (done, shown) = printed(&output.expect("the binary starts"));
        assert!(!done && shown.contains(expected), "{expected}: {shown}");
    }
}

#[tokio::test]
async fn what_comes_before_the_encryption_is_no_statement() {
    let (folder, _) = folder();
    let server = start(&folder, &[]);
    // An attacker between the two puts a startup message behind the client's wish to encrypt.
    let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
    let startup = [&[0, 0, 0, 17, 0, 3, 0, 0][..], b"user\0x\0\0\0"].concat();
    let wish = [0, 0, 0, 8, 4, 210, 22, 47];
    stream.write_all(&[&wish[..], &startup].concat()).await.expect("sent");
    assert_eq!(stream.read_u8().await.expect("an answer"), b'S');
    let mut rest = Vec::new();
    // It may be reset: what it sent has not been read to the end.
    let _ = stream.read_to_end(&mut rest).await;
    // At the most an alert of TLS, and no session.
    assert!(rest.is_empty() || rest[0] == 0x15, "{rest:?}");
}
