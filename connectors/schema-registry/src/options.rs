//! Where the registry is and as whom it is asked. Nothing here prints itself, as it holds secrets.

use std::{path::Path, time::Duration};

use ebap_connector::{Error, Options, Result, chain};
use reqwest::{Certificate, Client, Identity, Url, redirect::Policy};

/// Its address: one, or several that hold the same, with commas between.
pub const OPTION: &str = "schema_registry";
/// What the other options begin with.
pub const PREFIX: &str = "schema_registry.";

const KNOWN: [&str; 7] = ["username", "password", "token", "ca_file", "cert_file", "key_file", "timeout"];
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

pub(crate) enum Login {
    None,
    Token(String),
    Basic { username: String, password: Option<String> },
}

pub(crate) struct Settings {
    pub(crate) urls: Vec<Url>,
    pub(crate) login: Login,
    pub(crate) http: Client,
}

/// The subject whose newest schema says what a topic holds: option `subject`, or that of the topic's values.
///
/// # Errors
/// `Option` where neither is there.
pub fn subject(options: &Options) -> Result<String> {
    match (options.get("subject"), options.get("topic")) {
        (Some(subject), _) => Ok(subject.to_owned()),
        (None, Some(topic)) => Ok(format!("{topic}-value")),
        (None, None) => Err(Error::option("subject", "is required where there is no topic")),
    }
}

impl Settings {
    /// # Errors
    /// `Option`, naming the option.
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        for (name, _) in options.with_prefix(PREFIX) {
            if !KNOWN.contains(&name) {
                let message = format!("is unknown; behind {PREFIX} there are {}", KNOWN.join(", "));
                return Err(Error::option(format!("{PREFIX}{name}"), message));
            }
        }
        let text = options.get(OPTION).ok_or_else(|| Error::option(OPTION, "is required by the format"))?;
        let urls = text.split(',').map(url).collect::<Result<Vec<Url>>>()?;
        Ok(Self { urls, login: login(options)?, http: http(options)? })
    }
}

fn named(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn url(text: &str) -> Result<Url> {
    // The parser's own message could repeat the URL, and with it a password.
    let mut url = Url::parse(text.trim()).map_err(|error| Error::option(OPTION, format!("cannot be used: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(Error::option(OPTION, "must begin with http:// or https://, and name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let message = format!("must not hold a login; use the options {PREFIX}username and {PREFIX}password");
        return Err(Error::option(OPTION, message));
    }
    url.set_fragment(None);
    url.set_query(None);
    Ok(url)
}

fn login(options: &Options) -> Result<Login> {
    let get = |name: &str| options.get(&named(name)).map(str::to_owned);
    match (get("token"), get("username"), get("password")) {
        (None, None, None) => Ok(Login::None),
        (Some(token), None, None) => Ok(Login::Token(token)),
        (None, Some(username), password) => Ok(Login::Basic { username, password }),
        (None, None, Some(_)) => Err(Error::option(named("password"), format!("needs {PREFIX}username"))),
        (Some(_), _, _) => Err(Error::option(named("token"), "is another login than username and password")),
    }
}

fn http(options: &Options) -> Result<Client> {
    let timeout = options.duration(&named("timeout"))?.unwrap_or(TIMEOUT_DEFAULT);
    if timeout.is_zero() {
        return Err(Error::option(named("timeout"), "must be more than nothing"));
    }
    let mut builder = Client::builder()
        .timeout(timeout)
        .user_agent(concat!("ebap/", env!("CARGO_PKG_VERSION")))
        // A login must not follow to another host.
        .redirect(Policy::none());
    let bad = |name: &str, what: String| Error::option(named(name), what);
    let read = |name: &str, file: &str| {
        std::fs::read(Path::new(file)).map_err(|error| bad(name, format!("\"{file}\" cannot be read: {error}")))
    };
    if let Some(file) = options.get(&named("ca_file")) {
        let found = Certificate::from_pem_bundle(&read("ca_file", file)?);
        let found = found.map_err(|error| bad("ca_file", format!("\"{file}\" holds no certificate: {error}")))?;
        if found.is_empty() {
            return Err(bad("ca_file", format!("\"{file}\" holds no certificate in PEM")));
        }
        for certificate in found {
            builder = builder.add_root_certificate(certificate);
        }
    }
    match (options.get(&named("cert_file")), options.get(&named("key_file"))) {
        (None, None) => {}
        (Some(certificate), Some(key)) => {
            let mut pem = read("cert_file", certificate)?;
            pem.push(b'\n');
            pem.extend(read("key_file", key)?);
            let found = Identity::from_pem(&pem);
            let found = found.map_err(|error| bad("cert_file", format!("cannot be used with its key: {error}")))?;
            builder = builder.identity(found);
        }
        (Some(_), None) => return Err(bad("cert_file", format!("needs {PREFIX}key_file"))),
        (None, Some(_)) => return Err(bad("key_file", format!("needs {PREFIX}cert_file"))),
    }
    builder.build().map_err(|error| Error::internal(chain(&error.without_url())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pairs: &[(&str, &str)]) -> String {
        let mut options = Options::default();
        for (name, value) in pairs {
            options.set(*name, *value);
        }
        match Settings::parse(&options) {
            Ok(_) => "taken".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_cannot_work_is_refused_and_no_password_is_repeated() {
        const HOST: (&str, &str) = (OPTION, "http://registry:8081, https://other/base/");
        assert_eq!(refused(&[HOST]), "taken");
        assert_eq!(refused(&[HOST, ("schema_registry.token", "t")]), "taken");
        assert_eq!(refused(&[]), "option \"schema_registry\": is required by the format");
        assert!(refused(&[(OPTION, "registry:8081")]).contains("must begin with http:// or https://"));
        let login = refused(&[(OPTION, "http://me:secret@registry")]);
        assert!(login.contains("must not hold a login") && !login.contains("secret"), "{login}");
        assert!(refused(&[HOST, ("schema_registry.password", "p")]).contains("needs schema_registry.username"));
        assert!(refused(&[HOST, ("schema_registry.user", "p")]).contains("there are username, password"));
        let absent = refused(&[HOST, ("schema_registry.ca_file", "/nowhere/ca.crt")]);
        assert!(absent.starts_with("option \"schema_registry.ca_file\": \"/nowhere/ca.crt\" cannot be read"));
    }

    #[test]
    fn the_subject_is_that_of_the_topics_values() {
        let mut options = Options::default();
        assert!(subject(&options).is_err());
        options.set("topic", "orders");
        assert_eq!(subject(&options).expect("a subject"), "orders-value");
        options.set("subject", "shop.Order");
        assert_eq!(subject(&options).expect("a subject"), "shop.Order");
    }
}
