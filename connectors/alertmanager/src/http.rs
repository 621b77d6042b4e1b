//! A POST, and what its answer means. Prints no URL, as it may hold a secret.

use std::time::Duration;

use ebap_connector::{Error, Result, chain};
use reqwest::{Client, RequestBuilder, StatusCode, Url, redirect::Policy};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Of what a receiver says, at the most.
const TEXT_MAX: usize = 300;

pub(crate) fn client() -> Result<Client> {
    let builder = Client::builder().timeout(TIMEOUT).user_agent(concat!("ebap/", env!("CARGO_PKG_VERSION")));
    // A redirected POST would arrive as a GET.
    builder.redirect(Policy::none()).build().map_err(|error| Error::internal(chain(&error.without_url())))
}

pub(crate) fn url(option: &str, text: &str) -> Result<Url> {
    // The parser's own message could repeat the URL.
    let url = Url::parse(text.trim()).map_err(|error| Error::option(option, format!("cannot be used: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(Error::option(option, "must begin with http:// or https://, and name a host"));
    }
    Ok(url)
}

/// `alertmanager 127.0.0.1:9093`
pub(crate) fn system(kind: &str, url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port_or_known_default() {
        Some(port) => format!("{kind} {host}:{port}"),
        None => format!("{kind} {host}"),
    }
}

/// # Errors
/// `Unreachable` where the other side does not answer, or not now; `Refused` where it does not take this.
pub(crate) async fn send(request: RequestBuilder, system: &str) -> Result<()> {
    let response = request.send().await.map_err(|error| Error::unreachable(system, chain(&error.without_url())))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    // Also where the text does not come: the status says enough.
    let text = response.text().await.unwrap_or_default();
    let text: String = text.trim().chars().take(TEXT_MAX).collect();
    let message = if text.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {text}") };
    Err(if passes(status) { Error::unreachable(system, message) } else { Error::refused(system, message) })
}

/// Whether the same request may be taken later. That nobody is at the address (404), or that the login is wrong, is said of
/// the request: to ask again and again would hold up whatever is to be told behind it.
fn passes(status: StatusCode) -> bool {
    const TOO_EARLY: u16 = 425;
    status.is_server_error()
        || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status)
        || status.as_u16() == TOO_EARLY
}
