//! A POST with JSON for each event, in order.
//!
//! With `webhook_secret` it is signed, so that a receiver knows who sent it and that it is not an old one:
//! `X-EBAP-Signature: sha256=` and in hex HMAC-SHA256 (RFC 2104) with the secret over the value of `X-EBAP-Timestamp`
//! (seconds since 1970), a full stop, and the body.

use async_trait::async_trait;
use ebap_connector::{AlertEvent, Error, Notifier, Options, Result, time};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Client, Url, header::CONTENT_TYPE};
use sha2::Sha256;

use crate::http;

pub(crate) struct Webhook {
    client: Client,
    url: Url,
    secret: Option<String>,
}

impl Webhook {
    pub(crate) fn parse(options: &Options) -> Result<Option<Self>> {
        let secret = options.get("webhook_secret").map(str::to_owned);
        let Some(url) = options.get("webhook") else {
            return match secret {
                Some(_) => Err(Error::option("webhook_secret", "needs webhook")),
                None => Ok(None),
            };
        };
        if secret.as_deref() == Some("") {
            return Err(Error::option("webhook_secret", "is empty"));
        }
        Ok(Some(Self { client: http::client()?, url: http::url("webhook", url)?, secret }))
    }
}

#[async_trait]
impl Notifier for Webhook {
    fn describe(&self) -> String {
        http::system("webhook", &self.url)
    }

    async fn notify(&mut self, events: &[AlertEvent]) -> Result<()> {
        for event in events.iter().filter(|event| event.page && !event.repeated) {
            let body = event.json();
            let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
            if let Some(secret) = &self.secret {
                let seconds = (time::now_us() / 1_000_000).to_string();
                let signature = signature(secret, &seconds, &body)?;
                request = request.header("X-EBAP-Timestamp", seconds).header("X-EBAP-Signature", signature);
            }
            http::send(request.body(body), &self.describe()).await?;
        }
        Ok(())
    }
}

fn signature(secret: &str, seconds: &str, body: &str) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(Error::internal)?;
    mac.update(seconds.as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    Ok(format!("sha256={}", hex(&mac.finalize().into_bytes())))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a string cannot fail");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against `printf '1767225600.{"a":1}' | openssl dgst -sha256 -hmac secret`.
    #[test]
    fn a_signature_is_what_openssl_gives() {
        assert_eq!(
            signature("secret", "1767225600", r#"{"a":1}"#).expect("a signature"),
            "sha256=96a067a1c95eb143fc00b9097bcfcbcd5456adda508c443ff219748e764dbed7"
        );
    }
}
