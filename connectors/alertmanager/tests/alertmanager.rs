//! What a real Alertmanager has after it was told, and what arrives at a webhook.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use ebap_connector::{AlertEvent, AlertStatus, Notifier, NotifierContext, Options, Retry, time};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const PORT: u16 = 19_393;

/// Starts the server once per process; starting it again finds it running.
fn server() -> String {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        // What cargo says now: a build cache may be shared by clones, and the path of another be compiled in.
        let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").to_owned());
        let default = PathBuf::from(here).join("../../tests/stack");
        let stack = std::env::var_os("EBAP_STACK_DIR").map_or(default, PathBuf::from);
        let script = stack.join("alertmanager.sh");
        let started = Command::new(script).arg("start").env("ALERTMANAGER_PORT", PORT.to_string()).status();
        assert!(started.expect("tests/stack/alertmanager.sh runs").success(), "alertmanager did not start");
    });
    format!("http://127.0.0.1:{PORT}")
}

fn notifiers(options: &[(&str, &str)]) -> Vec<Box<dyn Notifier>> {
    let mut all = Options::default();
    for (name, value) in options {
        all.set(*name, *value);
    }
    let context = NotifierContext { alert: "overload".to_owned(), options: all };
    ebap_alertmanager::notifiers(&context).expect("options are fine")
}

fn event(alert: &str, status: AlertStatus) -> AlertEvent {
    let now_us = time::now_us();
    AlertEvent {
        id: format!("{alert}/1/{}", status.as_str()),
        alert: alert.to_owned(),
        key: BTreeMap::from([("region".to_owned(), "eu".to_owned()), ("a b".to_owned(), "1".to_owned())]),
        severity: Some("page".to_owned()),
        labels: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
        summary: "eu at 95".to_owned(),
        status,
        page: true,
        repeated: false,
        value: Some(95.0),
        since_us: now_us - 300_000_000,
        until_us: (status == AlertStatus::Resolved).then_some(now_us),
        decided_us: now_us,
    }
}

/// What the real one has of this name.
fn alerts(name: &str) -> Vec<Value> {
    let url = format!("{}/api/v2/alerts?filter=alertname%3D%22{name}%22", server());
    let output = Command::new("curl").args(["-sS", "-f", &url]).output().expect("curl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn what_fires_is_there_with_its_labels_and_gone_when_it_is_resolved() {
    let mut told = notifiers(&[("alertmanager", &server())]);
    told[0].notify(&[event("overload", AlertStatus::Firing)]).await.expect("taken");
    let found = alerts("overload");
    assert_eq!(found.len(), 1, "{found:?}");
    let labels = &found[0]["labels"];
    for (name, value) in [("region", "eu"), ("a_b", "1"), ("severity", "page"), ("team", "web")] {
        assert_eq!(labels[name], value, "{labels}");
    }
    assert_eq!(found[0]["annotations"]["summary"], "eu at 95");
    assert_eq!(found[0]["status"]["state"], "active");
    // The same again is the same alert.
    told[0].notify(&[AlertEvent { repeated: true, ..event("overload", AlertStatus::Firing) }]).await.expect("taken");
    assert_eq!(alerts("overload").len(), 1);
    told[0].notify(&[event("overload", AlertStatus::Resolved)]).await.expect("taken");
    assert_eq!(alerts("overload"), Vec::<Value>::new());
}

#[tokio::test]
async fn what_is_no_page_is_not_told() {
    let mut told = notifiers(&[("alertmanager", &server())]);
    let silent = AlertEvent { page: false, ..event("silent", AlertStatus::Firing) };
    told[0].notify(&[silent, AlertEvent { page: false, ..event("silent", AlertStatus::Pending) }]).await.expect("fine");
    assert_eq!(alerts("silent"), Vec::<Value>::new());
}

#[tokio::test]
async fn one_of_several_is_enough_and_none_is_tried_again() {
    let nobody = "http://127.0.0.1:1";
    let mut both = notifiers(&[("alertmanager", &format!("{nobody}, {}", server()))]);
    both[0].notify(&[event("several", AlertStatus::Firing)]).await.expect("one has it");
    assert_eq!(alerts("several").len(), 1);
    let mut none = notifiers(&[("alertmanager", nobody)]);
    let error = none[0].notify(&[event("none", AlertStatus::Firing)]).await.expect_err("nobody is there");
    assert_eq!(error.retry(), Retry::Backoff);
    assert!(error.to_string().contains("alertmanager 127.0.0.1:1"), "{error}");
}

/// Answers each request with the next status; gives what came.
async fn receiver(statuses: &'static [u16]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook?token=hunter2", listener.local_addr().expect("an address"));
    let came = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&came);
    tokio::spawn(async move {
        for status in statuses {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            loop {
                let text = String::from_utf8_lossy(&request).to_lowercase();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    if body.len() >= length.map_or(0, |length| length.parse().expect("a length")) {
                        break;
                    }
                }
                assert!(stream.read_buf(&mut request).await.expect("a request") > 0, "the request ended early");
            }
            let answer = format!("HTTP/1.1 {status} told\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(String::from_utf8_lossy(&request).into_owned());
            stream.write_all(answer.as_bytes()).await.expect("an answer");
        }
    });
    (url, came)
}

#[tokio::test]
async fn a_webhook_gets_each_change_signed_and_what_it_refuses_is_given_up() {
    let (url, came) = receiver(&[200, 503, 429, 400, 404, 401]).await;
    let mut told = notifiers(&[("webhook", &url), ("webhook_secret", "s3cret")]);
    let events =
        [event("overload", AlertStatus::Firing), AlertEvent { repeated: true, ..event("x", AlertStatus::Firing) }];
    told[0].notify(&events).await.expect("taken");
    for (status, retry) in
        [(503, Retry::Backoff), (429, Retry::Backoff), (400, Retry::Never), (404, Retry::Never), (401, Retry::Never)]
    {
        let error = told[0].notify(&[event("overload", AlertStatus::Resolved)]).await.expect_err("not taken");
        assert_eq!(error.retry(), retry, "{error}");
        assert!(error.to_string().contains(&format!("HTTP {status}")), "{error}");
        assert!(!format!("{error} {}", told[0].describe()).contains("hunter2"), "{error}");
    }

    let came = came.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(came.len(), 6, "what is told again is no change");
    let (head, body) = came[0].split_once("\r\n\r\n").expect("head and body");
    let json: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((json["status"].as_str(), json["key"]["region"].as_str()), (Some("firing"), Some("eu")));
    assert_eq!(json["summary"], "eu at 95");
    // As a receiver checks it.
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(name)).expect("a header");
        line.split_once(": ").expect("a value").1.to_owned()
    };
    let signed = format!("{}.{body}", header("x-ebap-timestamp"));
    let script = "printf %s \"$1\" | openssl dgst -sha256 -hmac s3cret | awk '{print $NF}'";
    let expected = Command::new("sh").args(["-c", script, "sh", &signed]).output().expect("openssl runs");
    let expected = format!("sha256={}", String::from_utf8_lossy(&expected.stdout).trim());
    assert_eq!(header("x-ebap-signature"), expected);
}

#[test]
fn what_cannot_work_names_its_option() {
    for (options, message) in [
        (&[("alertmanager", "am:9093")][..], "option \"alertmanager\": must begin with http:// or https://"),
        (&[("alertmanager", "http://u:hunter2@am")], "option \"alertmanager\": must not hold a login"),
        (&[("alertmanager_username", "u")], "option \"alertmanager_username\": needs alertmanager"),
        (&[("webhook_secret", "s")], "option \"webhook_secret\": needs webhook"),
        (&[("webhook", "nowhere")], "option \"webhook\": cannot be used"),
    ] {
        let mut all = Options::default();
        options.iter().for_each(|(name, value)| all.set(*name, *value));
        let context = NotifierContext { alert: "a".to_owned(), options: all };
        let error = ebap_alertmanager::notifiers(&context).err().expect("must be refused").to_string();
        assert!(error.starts_with(message) && !error.contains("hunter2"), "{error}");
    }
}
