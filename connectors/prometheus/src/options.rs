//! Where to write and as whom: the options of the sink that are not about columns. Nothing here prints itself, as
//! it holds secrets.

use std::time::Duration;

use ebap_connector::{Error, Options, Result};
use reqwest::Url;

use crate::names::{self, Labels};

pub(crate) const KNOWN_OPTIONS: &[&str] = &[
    "connector",
    "connection",
    "url",
    "metric",
    "name_column",
    "value_column",
    "label_columns",
    "timestamp_column",
    "external_labels",
    "tenant",
    "bearer_token",
    "username",
    "password",
    "timeout",
    "batch_samples",
    "batch_bytes",
];
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// As Prometheus itself sends at the most.
const BATCH_SAMPLES_DEFAULT: usize = 2_000;
const BATCH_SAMPLES_MAX: usize = 100_000;
const BATCH_BYTES_DEFAULT: u64 = 1 << 20;
const BATCH_BYTES_MAX: u64 = 64 << 20;

pub(crate) enum Login {
    None,
    Bearer(String),
    Basic { username: String, password: Option<String> },
}

pub(crate) struct Receiver {
    pub(crate) url: Url,
    pub(crate) login: Login,
    /// Sent as `X-Scope-OrgID`.
    pub(crate) tenant: Option<String>,
    /// Of one request, connecting included.
    pub(crate) timeout: Duration,
}

/// What one request holds at the most, by one row.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) samples: usize,
    pub(crate) bytes: usize,
}

impl Receiver {
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        // The parser's own message could repeat the URL, and with it a password.
        let mut url = Url::parse(options.required("url")?)
            .map_err(|error| Error::option("url", format!("cannot be used: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(Error::option("url", "must begin with http:// or https://, and name a host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::option("url", "must not hold a login; use the options username and password"));
        }
        url.set_fragment(None);
        let timeout = options.duration("timeout")?.unwrap_or(TIMEOUT_DEFAULT);
        if timeout.is_zero() {
            return Err(Error::option("timeout", "must be more than nothing"));
        }
        let tenant = options.get("tenant").map(str::to_owned);
        Ok(Self { url, login: login(options)?, tenant, timeout })
    }

    /// As it is named in messages.
    pub(crate) fn system(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port_or_known_default() {
            Some(port) => format!("prometheus {host}:{port}"),
            None => format!("prometheus {host}"),
        }
    }
}

fn login(options: &Options) -> Result<Login> {
    match (options.get("bearer_token"), options.get("username"), options.get("password")) {
        (None, None, None) => Ok(Login::None),
        (Some(token), None, None) => Ok(Login::Bearer(token.to_owned())),
        (None, Some(username), password) => {
            Ok(Login::Basic { username: username.to_owned(), password: password.map(str::to_owned) })
        }
        (None, None, Some(_)) => Err(Error::option("password", "needs username")),
        (Some(_), _, _) => Err(Error::option("bearer_token", "is another login than username and password")),
    }
}

impl Bounds {
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let samples = options.number("batch_samples")?.unwrap_or(BATCH_SAMPLES_DEFAULT);
        if !(1..=BATCH_SAMPLES_MAX).contains(&samples) {
            return Err(Error::option("batch_samples", format!("must be 1 to {BATCH_SAMPLES_MAX}")));
        }
        let bytes = options.size_bytes("batch_bytes")?.unwrap_or(BATCH_BYTES_DEFAULT);
        let bytes = usize::try_from(bytes).ok().filter(|bytes| (1..=BATCH_BYTES_MAX as usize).contains(bytes));
        let bytes = bytes.ok_or_else(|| Error::option("batch_bytes", "must be 1 byte to 64 MB"))?;
        Ok(Self { samples, bytes })
    }
}

/// `cluster=eu-1, env=prod`, sorted by name.
pub(crate) fn external_labels(options: &Options) -> Result<Labels> {
    let mut labels = Labels::new();
    let entries = options.get("external_labels").unwrap_or_default().split(',').map(str::trim);
    for entry in entries.filter(|entry| !entry.is_empty()) {
        let bad = |what: String| Error::option("external_labels", what);
        let (name, value) = entry
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()))
            .ok_or_else(|| bad(format!("\"{entry}\" is not of the form name=value")))?;
        if name.is_empty() || names::label_name(name) != name || name == names::METRIC {
            return Err(bad(format!("\"{name}\" is no name of a label")));
        }
        if labels.iter().any(|(other, _)| other == name) {
            return Err(bad(format!("\"{name}\" is there twice")));
        }
        if !value.is_empty() {
            labels.push((name.to_owned(), value.to_owned()));
        }
    }
    labels.sort_unstable();
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        let mut options = Options::default();
        for (name, value) in pairs {
            options.set(*name, *value);
        }
        options
    }

    fn refused(pairs: &[(&str, &str)]) -> String {
        let mut all = vec![("url", "http://localhost:9090/api/v1/write")];
        all.extend(pairs);
        let options = options(&all);
        let parsed = Receiver::parse(&options).map(|_| ());
        let parsed = parsed.and_then(|()| Bounds::parse(&options).map(|_| ())).and_then(|()| external_labels(&options));
        parsed.expect_err("must be refused").to_string()
    }

    #[test]
    fn external_labels_are_sorted() {
        let labels =
            external_labels(&options(&[("external_labels", " env = prod,cluster=eu=1,none=,")])).expect("labels");
        let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(labels, [("cluster", "eu=1"), ("env", "prod")]);
    }

    #[test]
    fn what_cannot_work_names_its_option() {
        for (pairs, message) in [
            (&[("url", "prometheus:9090")][..], "option \"url\": must begin with http:// or https://, and name a host"),
            (&[("url", "")], "option \"url\": cannot be used: relative URL without a base"),
            (&[("password", "hunter2")], "option \"password\": needs username"),
            (
                &[("bearer_token", "hunter2"), ("username", "u")],
                "option \"bearer_token\": is another login than username and password",
            ),
            (&[("external_labels", "eu-1")], "option \"external_labels\": \"eu-1\" is not of the form name=value"),
            (&[("external_labels", "a.b=c")], "option \"external_labels\": \"a.b\" is no name of a label"),
            (&[("external_labels", "a=1,a=2")], "option \"external_labels\": \"a\" is there twice"),
            (&[("batch_samples", "0")], "option \"batch_samples\": must be 1 to 100000"),
            (&[("batch_bytes", "1 GB")], "option \"batch_bytes\": must be 1 byte to 64 MB"),
            (&[("timeout", "0s")], "option \"timeout\": must be more than nothing"),
        ] {
            assert_eq!(refused(pairs), message);
        }
    }

    #[test]
    fn a_login_in_the_url_is_refused_and_not_repeated() {
        let message = refused(&[("url", "http://user:hunter2@localhost/")]);
        assert!(message.contains("username and password") && !message.contains("hunter2"), "{message}");
    }
}
