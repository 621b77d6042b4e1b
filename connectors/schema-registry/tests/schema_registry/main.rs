//! Against a real registry, which `make unit` starts.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};

use ebap_connector::{Error, Options};
use ebap_schema_registry::{Kind, SchemaRegistry};

fn port() -> u16 {
    let port = std::env::var("SCHEMA_REGISTRY_PORT").ok().and_then(|port| port.parse().ok());
    port.expect("SCHEMA_REGISTRY_PORT: run this by `make unit`, or behind tests/with-stack.sh")
}

fn plain() -> (&'static str, String) {
    ("schema_registry", format!("http://127.0.0.1:{}/apis/ccompat/v7", port()))
}

fn client(pairs: &[(&str, String)]) -> SchemaRegistry {
    let mut options = Options::default();
    for (name, value) in pairs {
        options.set(*name, value);
    }
    SchemaRegistry::new(&options).expect("options fit")
}

/// A subject that no other run has used.
fn subject(name: &str) -> String {
    format!("{name}-{}-{}", std::process::id(), ebap_connector::time::now_us())
}

const ONE: &str = r#"{"type":"record","name":"E","fields":[{"name":"x","type":"long"}]}"#;

#[tokio::test]
async fn a_schema_is_found_by_its_id_and_as_the_newest_of_its_subject() -> anyhow::Result<()> {
    let (registry, subject) = (client(&[plain()]), subject("with/slash and space"));
    assert!(registry.latest(&subject).await?.is_none());
    let id = registry.register(&subject, Kind::Avro, ONE).await?;
    assert_eq!(registry.register(&subject, Kind::Avro, ONE).await?, id, "the same schema has the same id");
    let found = client(&[plain()]).schema(id).await?.expect("it is there");
    assert_eq!((found.id, found.kind, found.text.as_str()), (id, Kind::Avro, ONE));
    let two = ONE.replace("]}", r#",{"name":"y","type":["null","string"],"default":null}]}"#);
    let newer = registry.register(&subject, Kind::Avro, &two).await?;
    let latest = registry.latest(&subject).await?.expect("it is there");
    assert_eq!((latest.id, latest.text.as_str()), (newer, two.as_str()));
    assert!(registry.schema(u32::MAX / 2).await?.is_none(), "no schema has this id");
    Ok(())
}

#[tokio::test]
async fn what_does_not_fit_those_before_it_is_refused_in_the_words_of_the_registry() -> anyhow::Result<()> {
    let (registry, subject) = (client(&[plain()]), subject("refused"));
    registry.register(&subject, Kind::Avro, ONE).await?;
    let error =
        registry.register(&subject, Kind::Avro, &ONE.replace("long", "string")).await.expect_err("incompatible");
    assert!(matches!(&error, Error::Refused { message, .. } if message.contains("ncompatible")), "{error}");
    Ok(())
}

#[tokio::test]
async fn what_a_schema_refers_to_comes_with_it() -> anyhow::Result<()> {
    let (inner, outer) = (subject("money"), subject("order"));
    let http = format!("{}/subjects", plain().1);
    client(&[plain()])
        .register(&inner, Kind::Protobuf, "syntax = \"proto3\"; message Money { int64 cents = 1; }")
        .await?;
    let text = "syntax = \"proto3\"; import \"money.proto\"; message Order { Money price = 1; }";
    let body = serde_json::json!({
        "schema": text, "schemaType": "PROTOBUF",
        "references": [{ "name": "money.proto", "subject": inner, "version": 1 }],
    });
    let answer = reqwest::Client::new()
        .post(format!("{http}/{outer}/versions"))
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(body.to_string())
        .send()
        .await?;
    assert!(answer.status().is_success(), "{}", answer.text().await?);
    let found = client(&[plain()]).latest(&outer).await?.expect("it is there");
    assert_eq!(found.kind, Kind::Protobuf);
    let names: Vec<&str> = found.references.iter().map(|reference| reference.name.as_str()).collect();
    assert_eq!(names, ["money.proto"]);
    assert!(found.references[0].text.contains("int64 cents"));
    Ok(())
}

#[tokio::test]
async fn tls_is_trusted_by_the_issuer_that_is_named_and_by_no_other() -> anyhow::Result<()> {
    let secure = ("schema_registry", format!("https://127.0.0.1:{}/apis/ccompat/v7", port() + 1));
    let error = client(std::slice::from_ref(&secure)).latest("any").await.expect_err("its issuer is unknown");
    assert!(matches!(&error, Error::Unreachable { message, .. } if message.contains("certificate")), "{error}");
    let home = std::env::var("STACK_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cache/ebap-stack")))?;
    let issuer = format!("{home}/data/schema-registry-{}/tls/ca.crt", port());
    let trusting = client(&[secure, ("schema_registry.ca_file", issuer)]);
    assert!(trusting.latest(&subject("none")).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn an_address_that_is_down_is_passed_over_and_all_of_them_down_is_said() -> anyhow::Result<()> {
    let both = ("schema_registry", format!("http://127.0.0.1:1,{}", plain().1));
    assert!(client(&[both]).latest(&subject("none")).await?.is_none());
    let down = client(&[("schema_registry", "http://127.0.0.1:1".to_owned())]);
    let error = down.schema(1).await.expect_err("nothing listens there").to_string();
    assert!(error.starts_with("schema registry 127.0.0.1:1 cannot be reached: "), "{error}");
    let elsewhere = client(&[("schema_registry", format!("http://127.0.0.1:{}/wrong", port()))]);
    let error = elsewhere.schema(1).await.expect_err("no registry is there").to_string();
    assert!(error.contains("HTTP 404"), "a wrong path is no unknown schema: {error}");
    Ok(())
}

/// Answers one request that there is no such schema; gives the headers of it.
fn once() -> anyhow::Result<(String, std::thread::JoinHandle<Vec<String>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let lines = BufReader::new(stream.try_clone().expect("the same connection")).lines();
        let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let body = r#"{"error_code":40403,"message":"Schema not found"}"#;
        let head = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).expect("it is read");
        headers
    });
    Ok((address, heard))
}

#[tokio::test]
async fn a_login_goes_with_every_request() -> anyhow::Result<()> {
    for (options, expected) in [
        (vec![("username", "me"), ("password", "p:w")], "authorization: Basic bWU6cDp3"),
        (vec![("token", "secret")], "authorization: Bearer secret"),
    ] {
        let (address, heard) = once()?;
        let mut pairs = vec![("schema_registry".to_owned(), address)];
        pairs.extend(options.iter().map(|(name, value)| (format!("schema_registry.{name}"), (*value).to_owned())));
        let pairs: Vec<(&str, String)> = pairs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        assert!(client(&pairs).schema(7).await?.is_none());
        let headers = heard.join().expect("a request came");
        assert_eq!(headers[0], "GET /schemas/ids/7 HTTP/1.1");
        assert!(headers.iter().any(|header| header == expected), "{headers:?}");
    }
    Ok(())
}
