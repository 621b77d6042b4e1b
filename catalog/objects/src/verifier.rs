//! What is kept of a password: enough to check one, and nothing that could be used as one.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// Bytes of a SHA-256.
pub const KEY_BYTES: usize = 32;
const MECHANISM: &str = "SCRAM-SHA-256";

/// A verifier in PostgreSQL's text form, `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`. Nothing but such a text becomes
/// one, so no password in clear text can get into a catalog.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: [u8; KEY_BYTES],
    server_key: [u8; KEY_BYTES],
}

impl Verifier {
    pub fn new(iterations: u32, salt: Vec<u8>, stored_key: [u8; KEY_BYTES], server_key: [u8; KEY_BYTES]) -> Self {
        Self { iterations, salt, stored_key, server_key }
    }

    /// `None` where the text has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(MECHANISM)?.strip_prefix('$')?;
        let (head, keys) = rest.split_once('$')?;
        let ((iterations, salt), (stored, server)) = (head.split_once(':')?, keys.split_once(':')?);
        let key = |text: &str| STANDARD.decode(text).ok()?.try_into().ok();
        let iterations = iterations.parse().ok().filter(|count| *count > 0)?;
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        Some(Self { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
    }

    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    pub fn stored_key(&self) -> &[u8; KEY_BYTES] {
        &self.stored_key
    }

    pub fn server_key(&self) -> &[u8; KEY_BYTES] {
        &self.server_key
    }
}

impl From<Verifier> for String {
    fn from(verifier: Verifier) -> Self {
        let Verifier { iterations, salt, stored_key, server_key } = verifier;
        let [salt, stored, server] = [&salt[..], &stored_key, &server_key].map(|bytes| STANDARD.encode(bytes));
        format!("{MECHANISM}${iterations}:{salt}${stored}:{server}")
    }
}

impl TryFrom<String> for Verifier {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a password verifier has another form")
    }
}

/// Whoever has it can guess passwords offline, so no log shows one.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_that_of_postgresql() {
        let key = STANDARD.encode([7; KEY_BYTES]);
        let text = format!("SCRAM-SHA-256$4096:{}${key}:{key}", STANDARD.encode(b"sixteen bytes ok"));
        let verifier = Verifier::parse(&text).expect("it has the form");
        assert_eq!((verifier.iterations(), verifier.salt()), (4096, &b"sixteen bytes ok"[..]));
        assert_eq!(String::from(verifier.clone()), text);
        assert_eq!(format!("{verifier:?}"), "Verifier(***)");
        let (head, keys) = text.rsplit_once('$').expect("keys");
        for wrong in [
            "secret".to_owned(),
            "SCRAM-SHA-256$4096".to_owned(),
            text.replace("4096", "0"),
            text.replace("4096", "-1"),
            text.replace("SHA-256", "SHA-512"),
            format!("{head}${}", keys.replace(':', "")),
            format!("{head}${key}:{}", STANDARD.encode([7; 31])),
            format!("{text}x"),
        ] {
            assert_eq!(Verifier::parse(&wrong), None, "{wrong}");
        }
    }
}
