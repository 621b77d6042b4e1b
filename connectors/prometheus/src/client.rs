//! One request, and what its answer means.

use std::time::Duration;

use ebap_connector::{
    Error, Result, chain,
    time::{self, Backoff},
};
use reqwest::{
    Client, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};

use crate::{
    options::{Login, Receiver},
    proto::{self, TimeSeries, WriteRequest},
};

/// Of one request; what lasts longer is the engine's to wait for.
const ATTEMPTS_MAX: u32 = 3;
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Of what the receiver says, at the most.
const TEXT_MAX: usize = 300;

pub(crate) struct Writer {
    client: Client,
    receiver: Receiver,
    system: String,
}

pub(crate) enum Answer {
    Taken,
    /// Something in the request is not taken, whenever it comes: what the receiver says.
    Refused(String),
}

/// One attempt.
enum Attempt {
    Answered(Answer),
    /// May be another one next time.
    Passing(String),
}

impl Writer {
    pub(crate) fn new(receiver: Receiver) -> Result<Self> {
        let system = receiver.system();
        let client = Client::builder()
            .timeout(receiver.timeout)
            .user_agent(concat!("ebap/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(&receiver)?)
            // A redirected POST would arrive as a GET.
            .redirect(Policy::none())
            .build()
            .map_err(|error| Error::internal(chain(&error.without_url())))?;
        Ok(Self { client, receiver, system })
    }

    pub(crate) fn system(&self) -> &str {
        &self.system
    }

    /// # Errors
    /// `Unreachable` where the receiver does not answer, or not now; `Refused` where it takes nothing from us at
    /// all, such as for a login or a path that is wrong.
    pub(crate) async fn send(&self, series: Vec<TimeSeries>) -> Result<(Answer, Vec<TimeSeries>)> {
        let request = WriteRequest { timeseries: series };
        let body = proto::body(&request)?;
        let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX);
        let mut attempts = 1;
        loop {
            match self.attempt(body.clone()).await? {
                Attempt::Answered(answer) => return Ok((answer, request.timeseries)),
                Attempt::Passing(message) if attempts == ATTEMPTS_MAX => {
                    return Err(Error::unreachable(&self.system, message));
                }
                Attempt::Passing(_) => attempts += 1,
            }
            time::sleep(backoff.advance()).await;
        }
    }

    async fn attempt(&self, body: Vec<u8>) -> Result<Attempt> {
        let mut post = self.client.post(self.receiver.url.clone()).body(body);
        post = match &self.receiver.login {
            Login::None => post,
            Login::Bearer(token) => post.bearer_auth(token),
            Login::Basic { username, password } => post.basic_auth(username, password.as_deref()),
        };
        let response = match post.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Attempt::Passing(chain(&error.without_url()))),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(Attempt::Answered(Answer::Taken));
        }
        // Also where the text does not come: the status says enough.
        let text = response.text().await.unwrap_or_default();
        let text: String = text.trim().chars().take(TEXT_MAX).collect();
        let message = if text.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {text}") };
        match status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Ok(Attempt::Answered(Answer::Refused(message)))
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Ok(Attempt::Passing(message)),
            _ if status.is_server_error() => Ok(Attempt::Passing(message)),
            _ => Err(Error::refused(&self.system, message)),
        }
    }
}

fn headers(receiver: &Receiver) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert(HeaderName::from_static("x-prometheus-remote-write-version"), HeaderValue::from_static("0.1.0"));
    if let Some(tenant) = &receiver.tenant {
        let value = HeaderValue::from_str(tenant)
            .map_err(|_| Error::option("tenant", "has characters that no header may have"))?;
        headers.insert(HeaderName::from_static("x-scope-orgid"), value);
    }
    if let Login::Bearer(token) = &receiver.login
        && HeaderValue::from_str(token).is_err()
    {
        return Err(Error::option("bearer_token", "has characters that no header may have"));
    }
    Ok(headers)
}
