//! The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.
//!
//! The one of the `pgwire` crate needs what is as good as the password; this one needs a verifier alone. Each step takes
//! the message of the step before by value, so that none can be replayed within a connection; a nonce of ours is in what
//! is signed, so none can be replayed in another.

use base64::{Engine, engine::general_purpose::STANDARD};
use ebap_catalog::{KEY_BYTES, MockKey, Verifier};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::pgwire::sqlstate::SqlError;

pub(crate) const MECHANISM: &str = "SCRAM-SHA-256";
const ITERATIONS: u32 = 4_096;
const SALT_BYTES: usize = 16;

/// The mechanism has been offered.
#[derive(Debug)]
pub(crate) struct Offered {
    verifier: Verifier,
    /// Whatever the client proves, it does not come in.
    doomed: bool,
}

/// The client has been told the salt.
#[derive(Debug)]
pub(crate) struct Challenged {
    verifier: Verifier,
    doomed: bool,
    /// The text that `c=` must say again.
    gs2_header: String,
    nonce: String,
    /// `client-first-message-bare,server-first-message`
    signed: String,
}

/// The outcome of a proof.
pub(crate) enum Proved {
    /// To be sent with the last message.
    Right(String),
    Wrong,
}

fn malformed(detail: &str) -> SqlError {
    let mut error = SqlError::new("08P01", "malformed SCRAM message");
    error.detail = Some(detail.to_owned());
    error
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    // Any length of key will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; KEY_BYTES] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

impl Offered {
    pub(super) fn of(verifier: Verifier) -> Self {
        Self { verifier, doomed: false }
    }

    /// The salt is the same each time for a name, as that of a real user is.
    pub(super) fn doomed(key: Option<&MockKey>, user: &str) -> Self {
        let key = key.map(MockKey::as_bytes).unwrap_or_default();
        let salt = hmac(key, &[b"salt:", user.as_bytes()])[..SALT_BYTES].to_vec();
        let (stored, server) = (hmac(key, &[b"stored:", user.as_bytes()]), hmac(key, &[b"server:", user.as_bytes()]));
        Self { verifier: Verifier::new(ITERATIONS, salt, stored, server), doomed: true }
    }

    /// Takes the client's first message; gives the server's.
    ///
    /// # Errors
    /// 08P01 for a message of another form, 0A000 for what is not supported.
    pub(crate) fn first(self, message: &[u8]) -> Result<(String, Challenged), SqlError> {
        let text = std::str::from_utf8(message).map_err(|_| malformed("It is not UTF-8."))?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(authorize), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed("It has too few attributes."));
        };
        match flag {
            // With "y" a client could have bound the channel and believes that this server cannot, which is so.
            "n" | "y" => {}
            flag if flag.starts_with("p=") => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256 without channel binding, but the message includes channel binding data.",
                ));
            }
            _ => return Err(malformed("Unexpected channel-binding flag.")),
        }
        if !authorize.is_empty() {
            return Err(SqlError::new("0A000", "client uses authorization identity, but it is not supported"));
        }
        if bare.starts_with("m=") {
            return Err(SqlError::new("0A000", "client requires an unsupported SCRAM extension"));
        }
        let mut attributes = bare.split(',');
        if !attributes.next().is_some_and(|user| user.starts_with("n=")) {
            return Err(malformed("Attribute \"n\" is missing."));
        }
        let nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r="));
        let nonce = nonce.ok_or_else(|| malformed("Attribute \"r\" is missing."))?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
            return Err(malformed("Non-printable characters in the nonce."));
        }
        let nonce = format!("{nonce}{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let Self { verifier, doomed } = self;
        let server_first = format!("r={nonce},s={},i={}", STANDARD.encode(verifier.salt()), verifier.iterations());
        let signed = format!("{bare},{server_first}");
        let gs2_header = format!("{flag},,");
        Ok((server_first, Challenged { verifier, doomed, gs2_header, nonce, signed }))
    }
}

impl Challenged {
    /// Takes the client's final message; tells what it proves.
    ///
    /// # Errors
    /// 08P01 for a message of another form.
    pub(crate) fn last(self, message: &[u8]) -> Result<Proved, SqlError> {
        let text = std::str::from_utf8(message).map_err(|_| malformed("It is not UTF-8."))?;
        let (unproved, proof) = text.rsplit_once(",p=").ok_or_else(|| malformed("Attribute \"p\" is missing."))?;
        let mut attributes = unproved.split(',');
        let binding = attributes.next().and_then(|binding| binding.strip_prefix("c="));
        if binding != Some(STANDARD.encode(&self.gs2_header).as_str()) {
            return Err(malformed("Unexpected SCRAM channel-binding attribute in client-final-message."));
        }
        if attributes.next().and_then(|nonce| nonce.strip_prefix("r=")) != Some(self.nonce.as_str()) {
            return Err(malformed("Nonce does not match."));
        }
        let proof: [u8; KEY_BYTES] = STANDARD
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or_else(|| malformed("Malformed proof in client-final-message."))?;
        let signed = [self.signed.as_bytes(), b",", unproved.as_bytes()];
        let signature = hmac(self.verifier.stored_key(), &signed);
        let mut client_key = [0; KEY_BYTES];
        for (key, (proof, signature)) in client_key.iter_mut().zip(proof.iter().zip(signature)) {
            *key = proof ^ signature;
        }
        let found: [u8; KEY_BYTES] = Sha256::digest(client_key).into();
        let is_right = bool::from(found.ct_eq(self.verifier.stored_key()));
        let server_signature = hmac(self.verifier.server_key(), &signed);
        Ok(match is_right && !self.doomed {
            true => Proved::Right(format!("v={}", STANDARD.encode(server_signature))),
            false => Proved::Wrong,
        })
    }
}

#[cfg(test)]
mod tests {
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    use super::*;

    fn verifier(password: &str) -> Verifier {
        super::super::password::verifier(password).expect("short")
    }

    /// The exchange with a client that is not ours.
    fn proves(offered: Offered, password: &str, binding: ChannelBinding) -> Result<bool, SqlError> {
        let mut client = ScramSha256::new(password.as_bytes(), binding);
        let (challenge, challenged) = offered.first(client.message())?;
        client.update(challenge.as_bytes()).expect("the client understands");
        match challenged.last(client.message())? {
            Proved::Right(signature) => {
                client.finish(signature.as_bytes()).expect("the server has proved that it knows the verifier");
                Ok(true)
            }
            Proved::Wrong => Ok(false),
        }
    }

    #[test]
    fn a_password_proves_itself_and_no_other_one() {
        // The last is longer than a block of SHA-256; the one before is not in its normal form.
        for password in ["x", "pass word", "comma,=", "Пароль", "😀🎉", "ﬁ\u{ad}", &"long".repeat(50)] {
            let right = || Offered::of(verifier(password));
            for binding in [ChannelBinding::unsupported, ChannelBinding::unrequested] {
                assert_eq!(proves(right(), password, binding()), Ok(true), "{password}");
            }
            let wrong = format!("{password}!");
            assert_eq!(proves(right(), &wrong, ChannelBinding::unsupported()), Ok(false), "{password}");
        }
        assert_eq!(proves(Offered::of(verifier("fi")), "ﬁ", ChannelBinding::unsupported()), Ok(true));
    }

    #[test]
    fn nobody_comes_in_as_a_user_who_is_not_there() {
        let key = MockKey::new("k".to_owned());
        let salt = |user: &str| Offered::doomed(Some(&key), user).verifier.salt().to_vec();
        assert_eq!(salt("nobody"), salt("nobody"));
        assert_ne!(salt("nobody"), salt("somebody"));
        let doomed = Offered::doomed(Some(&key), "nobody");
        assert_eq!(proves(doomed, "x", ChannelBinding::unsupported()), Ok(false));
        let late = Offered { verifier: verifier("x"), doomed: true };
        assert_eq!(proves(late, "x", ChannelBinding::unsupported()), Ok(false));
    }

    #[test]
    fn what_is_signed_cannot_be_used_again() {
        let verifier = verifier("x");
        let mut client = ScramSha256::new(b"x", ChannelBinding::unsupported());
        let first = client.message().to_vec();
        let (challenge, challenged) = Offered::of(verifier.clone()).first(&first).expect("it has the form");
        client.update(challenge.as_bytes()).expect("the client understands");
        let last = client.message().to_vec();
        assert!(matches!(challenged.last(&last), Ok(Proved::Right(_))));
        let (_, again) = Offered::of(verifier).first(&first).expect("it has the form");
        let replayed = again.last(&last).err().expect("the nonce is another one");
        assert_eq!((replayed.code, replayed.detail.as_deref()), ("08P01", Some("Nonce does not match.")));
    }

    #[test]
    fn messages_of_another_form_are_refused() {
        let first = |message: &[u8]| Offered::of(verifier("x")).first(message);
        for (message, code) in [
            (&b""[..], "08P01"),
            (b"n", "08P01"),
            (b"n,,", "08P01"),
            (b"n,,n=,r=", "08P01"),
            (b"n,,n=", "08P01"),
            (b"n,,r=abc", "08P01"),
            (b"n,,n=,r=a\x01b", "08P01"),
            (b"x,,n=,r=abc", "08P01"),
            (b"p=tls-server-end-point,,n=,r=abc", "08P01"),
            (b"n,a=other,n=,r=abc", "0A000"),
            (b"n,,m=ext,n=,r=abc", "0A000"),
            (b"n,,n=\xff,r=abc", "08P01"),
        ] {
            assert_eq!(first(message).err().map(|error| error.code), Some(code), "{message:?}");
        }
        let proof = STANDARD.encode([0; KEY_BYTES]);
        for (with, expected) in [
            (format!("c=biws,r=NONCE,p={proof}"), None),
            (format!("c=biws,r=NONCE,x=more,p={proof}"), None),
            (format!("c=eSws,r=NONCE,p={proof}"), Some("08P01")),
            (format!("c=biws,r=NONCEx,p={proof}"), Some("08P01")),
            (format!("c=biws,r=,p={proof}"), Some("08P01")),
            ("c=biws,r=NONCE".to_owned(), Some("08P01")),
            ("c=biws,r=NONCE,p=".to_owned(), Some("08P01")),
            ("c=biws,r=NONCE,p=AAAA".to_owned(), Some("08P01")),
            (String::new(), Some("08P01")),
        ] {
            let (_, challenged) = first(b"n,,n=,r=abc").expect("it has the form");
            let message = with.replace("NONCE", &challenged.nonce);
            assert_eq!(challenged.last(message.as_bytes()).err().map(|error| error.code), expected, "{with}");
        }
    }
}
