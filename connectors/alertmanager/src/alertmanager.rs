//! Alertmanager's API v2. It forgets an alert at its `endsAt`, so what fires is told again every minute with an end a few
//! minutes ahead; where EBAP is gone the alert resolves by itself.
//!
//! An alert is its labels to Alertmanager: `alertname`, `severity`, the columns of `BY` and the labels of the
//! statement. Value and summary are annotations, as they change while it fires.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat};
use ebap_connector::{AlertEvent, AlertStatus, Error, Notifier, Options, Result};
use reqwest::{Client, RequestBuilder, Url};
use serde::Serialize;

use crate::http;

/// The engine tells again every minute.
const ENDS_AHEAD_US: i64 = 4 * 60_000_000;

enum Login {
    None,
    Bearer(String),
    Basic(String, Option<String>),
}

pub(crate) struct Alertmanager {
    client: Client,
    urls: Vec<Url>,
    login: Login,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
}

impl Alertmanager {
    pub(crate) fn parse(options: &Options) -> Result<Option<Self>> {
        let Some(urls) = options.get("alertmanager") else {
            for option in ["alertmanager_username", "alertmanager_password", "alertmanager_bearer_token"] {
                if options.get(option).is_some() {
                    return Err(Error::option(option, "needs alertmanager"));
                }
            }
            return Ok(None);
        };
        let endpoint = |text: &str| {
            let mut url = http::url("alertmanager", text)?;
            if !url.username().is_empty() || url.password().is_some() {
                let message = "must not hold a login; use alertmanager_username and alertmanager_password";
                return Err(Error::option("alertmanager", message));
            }
            let path = format!("{}/api/v2/alerts", url.path().trim_end_matches('/'));
            url.set_path(&path);
            Ok(url)
        };
        let urls = urls.split(',').filter(|text| !text.trim().is_empty()).map(endpoint).collect::<Result<Vec<_>>>()?;
        if urls.is_empty() {
            return Err(Error::option("alertmanager", "is empty"));
        }
        let given = |name: &str| options.get(name).map(str::to_owned);
        let login = match (given("alertmanager_bearer_token"), given("alertmanager_username")) {
            (Some(_), Some(_)) => {
                let message = "is another login than alertmanager_username";
                return Err(Error::option("alertmanager_bearer_token", message));
            }
            (Some(token), None) => Login::Bearer(token),
            (None, Some(username)) => Login::Basic(username, given("alertmanager_password")),
            (None, None) if given("alertmanager_password").is_some() => {
                return Err(Error::option("alertmanager_password", "needs alertmanager_username"));
            }
            (None, None) => Login::None,
        };
        Ok(Some(Self { client: http::client()?, urls, login }))
    }

    fn post(&self, url: &Url, alerts: &[Alert]) -> RequestBuilder {
        let request = self.client.post(url.clone()).json(alerts);
        match &self.login {
            Login::None => request,
            Login::Bearer(token) => request.bearer_auth(token),
            Login::Basic(username, password) => request.basic_auth(username, password.as_deref()),
        }
    }
}

#[async_trait]
impl Notifier for Alertmanager {
    fn describe(&self) -> String {
        let names: Vec<String> = self.urls.iter().map(|url| http::system("alertmanager", url)).collect();
        names.join(", ")
    }

    async fn notify(&mut self, events: &[AlertEvent]) -> Result<()> {
        let alerts: Vec<Alert> = events.iter().filter(|event| event.page).map(alert).collect();
        if alerts.is_empty() {
            return Ok(());
        }
        // They tell each other; one that is down must not keep the others from hearing.
        let (mut taken, mut failed) = (false, None);
        for url in &self.urls {
            match http::send(self.post(url, &alerts), &http::system("alertmanager", url)).await {
                Ok(()) => taken = true,
                Err(error) => failed = Some(error),
            }
        }
        match (taken, failed) {
            (false, Some(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

fn alert(event: &AlertEvent) -> Alert {
    let mut labels: BTreeMap<String, String> =
        event.labels.iter().chain(&event.key).map(|(name, value)| (label_name(name), value.clone())).collect();
    labels.insert("alertname".to_owned(), event.alert.clone());
    if let Some(severity) = &event.severity {
        labels.insert("severity".to_owned(), severity.clone());
    }
    let mut annotations = BTreeMap::from([("summary".to_owned(), event.summary.clone())]);
    if let Some(value) = event.value {
        annotations.insert("value".to_owned(), value.to_string());
    }
    // Event time may lie far behind; an end in the past would resolve what fires.
    let ends_us = match event.status {
        AlertStatus::Resolved => event.decided_us,
        _ => event.decided_us.saturating_add(ENDS_AHEAD_US),
    };
    let starts_us = event.since_us.min(ends_us);
    Alert { labels, annotations, starts_at: time(starts_us), ends_at: time(ends_us) }
}

fn time(us: i64) -> String {
    let time = DateTime::from_timestamp_micros(us).unwrap_or(DateTime::UNIX_EPOCH);
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// What Prometheus takes for a name of a label.
fn label_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}
