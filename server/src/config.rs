//! The server's configuration: default, then file, then environment, then flag; the later wins.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use ebap_connector::{parse_duration, parse_size};
use ebap_stream::{EngineConfig, MemoryBudget};

use crate::{app::AppConfig, auth::AuthMethod, memory, pgwire::tls::TlsFiles};

/// Every setting: name in the file, default, what it is. The environment has it as `EBAP_` and the
/// name in capitals.
const SETTINGS: [(&str, &str, &str); 25] = [
    ("data_dir", "ebap-data", "folder of catalog and state"),
    ("pg_listen", "127.0.0.1:5410", "address of the Postgres wire"),
    ("http_listen", "127.0.0.1:8410", "address of health and metrics"),
    ("auth", "trust", "how clients prove who they are: scram, or trust on loopback addresses alone"),
    ("authentication_timeout", "60s", "time a client has until it is let in"),
    ("tls_cert", "", "PEM file with the server's certificate and those of its issuers"),
    ("tls_key", "", "PEM file with the key of tls_cert"),
    ("tls_client_ca", "", "PEM file with issuers: clients must have a certificate of theirs for the user"),
    ("require_tls", "false", "true: no client comes in unencrypted"),
    ("state_url", "", "s3://bucket/prefix or file:///folder for catalog and state instead of data_dir"),
    ("checkpoint_interval", "1s", "how often an epoch is made durable"),
    ("discover_interval", "5s", "how often new splits are looked for"),
    ("step_rows_max", "32768", "records of one step, at the most"),
    ("lanes", "auto", "cores on which the splits of a step are decoded, at the most; auto: all, up to 16"),
    ("drift_max", "60s", "how far one split is read ahead of another, in event time"),
    ("deltas_max", "120", "deltas of a view after which its whole state is written"),
    ("dead_letters_max", "1000", "rejected records of a stream kept for stream$dlq"),
    ("backoff_max", "10s", "longest wait before what has failed is tried again"),
    ("memory_limit", "auto", "memory of the whole process; auto: 60 % of what machine, cgroup and ulimit allow"),
    ("view_rows_max", "10000000", "rows of one view, at the most"),
    ("state_bytes_max", "4GB", "state and rows of one view, at the most, where it has no memory_limit"),
    ("query_memory_max", "auto", "memory of all queries together; auto: half of memory_limit"),
    ("connections_max", "500", "clients at once"),
    ("message_bytes_max", "64MB", "one message of a client, at the most"),
    ("log", "info", "log filter, as in RUST_LOG"),
];

/// Where a value comes from, by the name the user knows it by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Default,
    File(String),
    Environment(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServerArgs {
    /// TOML file with settings (also EBAP_CONFIG)
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Folder of catalog and state (also EBAP_DATA_DIR)
    #[arg(long)]
    pub data_dir: Option<String>,
    /// Address of the Postgres wire (also EBAP_PG_LISTEN) [default: 127.0.0.1:5410]
    #[arg(long)]
    pub pg_listen: Option<String>,
    /// Address of health and metrics (also EBAP_HTTP_LISTEN) [default: 127.0.0.1:8410]
    #[arg(long)]
    pub http_listen: Option<String>,
    /// Memory of the whole process (also EBAP_MEMORY_LIMIT) [default: auto]
    #[arg(long)]
    pub memory_limit: Option<String>,
    /// How clients prove who they are: scram, or trust on loopback (also EBAP_AUTH) [default: trust]
    #[arg(long)]
    pub auth: Option<String>,
    /// PEM file with the server's certificate (also EBAP_TLS_CERT)
    #[arg(long)]
    pub tls_cert: Option<String>,
    /// PEM file with its key (also EBAP_TLS_KEY)
    #[arg(long)]
    pub tls_key: Option<String>,
    /// PEM file with issuers of the certificates that clients must have (also EBAP_TLS_CLIENT_CA)
    #[arg(long)]
    pub tls_client_ca: Option<String>,
    /// No client comes in unencrypted (also EBAP_REQUIRE_TLS)
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub require_tls: Option<String>,
    /// Print the effective settings, each with where it comes from, and end
    #[arg(long)]
    pub print_config: bool,
}

/// The effective settings.
#[derive(Clone, Debug)]
pub struct Config {
    values: BTreeMap<&'static str, (String, Origin)>,
}

impl Config {
    /// # Errors
    /// For an unknown setting in the file, with its line, and for a value that does not fit.
    pub fn load(args: &ServerArgs, environment: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let mut values: BTreeMap<&'static str, (String, Origin)> =
            SETTINGS.iter().map(|(name, default, _)| (*name, ((*default).to_owned(), Origin::Default))).collect();
        let file = args.config.clone().or_else(|| environment("EBAP_CONFIG").map(PathBuf::from));
        if let Some(path) = file {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("the configuration {} cannot be read", path.display()))?;
            let table: toml::Table =
                text.parse().with_context(|| format!("the configuration {} is not TOML", path.display()))?;
            for (name, value) in table {
                let Some((known, _, _)) = SETTINGS.iter().find(|(known, _, _)| *known == name) else {
                    let line =
                        text.lines().position(|line| line.trim_start().starts_with(&name)).map_or(0, |at| at + 1);
                    bail!("{}:{line}: unknown setting \"{name}\"", path.display());
                };
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                values.insert(known, (value, Origin::File(path.display().to_string())));
            }
        }
        for (name, _, _) in SETTINGS {
            let variable = format!("EBAP_{}", name.to_uppercase());
            if let Some(value) = environment(&variable) {
                values.insert(name, (value, Origin::Environment(variable)));
            }
        }
        let flags = [
            ("data_dir", &args.data_dir),
            ("pg_listen", &args.pg_listen),
            ("http_listen", &args.http_listen),
            ("memory_limit", &args.memory_limit),
            ("auth", &args.auth),
            ("tls_cert", &args.tls_cert),
            ("tls_key", &args.tls_key),
            ("tls_client_ca", &args.tls_client_ca),
            ("require_tls", &args.require_tls),
        ];
        for (name, value) in flags {
            if let Some(value) = value {
                values.insert(name, (value.clone(), Origin::Flag(format!("--{}", name.replace('_', "-")))));
            }
        }
        let config = Self { values };
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> anyhow::Result<()> {
        if self.auth()? == AuthMethod::Trust && !self.pg_listen()?.ip().is_loopback() {
            bail!(
                "auth = trust lets anybody in, so pg_listen must be a loopback address, not {}; or use auth = scram",
                self.get("pg_listen")
            );
        }
        self.parsed("require_tls", |text| text.parse::<bool>().ok(), "true or false")?;
        self.tls()?;
        self.http_listen()?;
        self.app()?;
        Ok(())
    }

    fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", |(value, _)| value)
    }

    fn parsed<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>, what: &str) -> anyhow::Result<T> {
        let value = self.get(name);
        let origin = self.values.get(name).map_or(Origin::Default, |(_, origin)| origin.clone());
        parse(value).with_context(|| format!("{name} = \"{value}\" ({origin}) is not {what}"))
    }

    pub fn pg_listen(&self) -> anyhow::Result<SocketAddr> {
        self.parsed("pg_listen", |text| text.parse().ok(), "an address such as 127.0.0.1:5410")
    }

    pub fn http_listen(&self) -> anyhow::Result<SocketAddr> {
        self.parsed("http_listen", |text| text.parse().ok(), "an address such as 127.0.0.1:8410")
    }

    pub(crate) fn require_tls(&self) -> bool {
        self.get("require_tls") == "true"
    }

    /// `None` where connections are not encrypted.
    pub(crate) fn tls(&self) -> anyhow::Result<Option<TlsFiles>> {
        let file = |name: &str| Some(self.get(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
        match (file("tls_cert"), file("tls_key"), file("tls_client_ca")) {
            (Some(cert), Some(key), client_ca) => Ok(Some(TlsFiles { cert, key, client_ca })),
            (None, None, None) if !self.require_tls() => Ok(None),
            (None, None, _) => bail!("tls_client_ca and require_tls need tls_cert and tls_key"),
            (Some(_), None, _) | (None, Some(_), _) => bail!("tls_cert and tls_key go together"),
        }
    }

    fn auth(&self) -> anyhow::Result<AuthMethod> {
        let method = |text: &str| match text {
            "trust" => Some(AuthMethod::Trust),
            "scram" => Some(AuthMethod::Scram),
            _ => None,
        };
        self.parsed("auth", method, "trust or scram")
    }

    pub fn log(&self) -> &str {
        self.get("log")
    }

    pub fn app(&self) -> anyhow::Result<AppConfig> {
        let number = |name: &str| {
            self.parsed(name, |text| text.replace('_', "").parse::<usize>().ok().filter(|n| *n > 0), "a number")
        };
        let bytes =
            |name: &str| self.parsed(name, |text| usize::try_from(parse_size(text)?).ok(), "a size such as 2GB");
        let time = |name: &str| {
            self.parsed(
                name,
                |text| parse_duration(text).filter(|time| *time >= Duration::from_millis(1)),
                "a duration such as 1s",
            )
        };
        let size_or = |name: &str, auto: usize| {
            let size = |text: &str| match text {
                "auto" => Some(auto),
                size => usize::try_from(parse_size(size)?).ok(),
            };
            self.parsed(name, size, "auto or a size such as 2GB")
        };
        let memory_limit = size_or("memory_limit", memory::share_of_all())?;
        let state_url = Some(self.get("state_url").to_owned()).filter(|url| !url.is_empty());
        Ok(AppConfig {
            pg_port: Some(self.pg_listen()?.port()).filter(|port| *port != 0),
            data_dir: PathBuf::from(self.get("data_dir")),
            state_url,
            engine: EngineConfig {
                checkpoint_interval: time("checkpoint_interval")?,
                discover_interval: time("discover_interval")?,
                step_rows_max: number("step_rows_max")?,
                lanes: self.parsed("lanes", lanes, "auto or a number from 1 on")?,
                drift_max: time("drift_max")?,
                deltas_max: number("deltas_max")?,
                dead_letters_max: number("dead_letters_max")?,
                backoff_max: time("backoff_max")?,
                view_rows_max: number("view_rows_max")?,
                state_bytes_max: bytes("state_bytes_max")?,
                memory: MemoryBudget::new(memory_limit, memory::used),
                ..EngineConfig::default()
            },
            query_memory_max: size_or("query_memory_max", memory_limit / 2)?,
            connections_max: number("connections_max")?,
            message_bytes_max: bytes("message_bytes_max")?,
            auth: self.auth()?,
            authentication_timeout: time("authentication_timeout")?,
        })
    }
}

fn lanes(text: &str) -> Option<usize> {
    match text {
        "auto" => Some(EngineConfig::default().lanes),
        number => number.parse().ok().filter(|lanes| *lanes > 0),
    }
}

impl fmt::Display for Config {
    /// As a TOML file, with the origin of each value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, _, about) in SETTINGS {
            let (value, origin) = &self.values[name];
            writeln!(f, "{name} = \"{value}\"  # {origin}; {about}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let folder = std::env::temp_dir().join(format!("ebap-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("ebap.toml");
        std::fs::write(&file, "pg_listen = \"127.0.0.1:1\"\nhttp_listen = \"127.0.0.1:2\"\nlog = \"warn\"\n")
            .expect("a file");
        let args = ServerArgs {
            config: Some(file.clone()),
            pg_listen: Some("127.0.0.1:9".to_owned()),
            ..ServerArgs::default()
        };
        let environment =
            |name: &str| (name == "EBAP_HTTP_LISTEN" || name == "EBAP_PG_LISTEN").then(|| "127.0.0.1:5".to_owned());
        let shown = Config::load(&args, environment).expect("it fits").to_string();
        for line in [
            "pg_listen = \"127.0.0.1:9\"  # flag --pg-listen;",
            "http_listen = \"127.0.0.1:5\"  # environment EBAP_HTTP_LISTEN;",
            "log = \"warn\"  # file",
            "auth = \"trust\"  # default",
        ] {
            assert!(shown.contains(line), "{line} in {shown}");
        }
        std::fs::write(&file, "\npg_listne = \"x\"\n").expect("a file");
        let error = Config::load(&args, nothing).expect_err("unknown").to_string();
        assert!(error.ends_with("ebap.toml:2: unknown setting \"pg_listne\""), "{error}");
        std::fs::remove_dir_all(folder).expect("gone");
    }

    #[test]
    fn trust_is_for_loopback_alone() {
        let args = ServerArgs { pg_listen: Some("0.0.0.0:5410".to_owned()), ..ServerArgs::default() };
        let error = Config::load(&args, nothing).expect_err("open to all").to_string();
        assert!(error.contains("must be a loopback address"), "{error}");
        let scram = ServerArgs { auth: Some("scram".to_owned()), ..args };
        Config::load(&scram, nothing).expect("those who come have passwords");
        let unknown = ServerArgs { auth: Some("md5".to_owned()), ..ServerArgs::default() };
        let error = Config::load(&unknown, nothing).expect_err("no such method").to_string();
        assert!(error.contains("auth = \"md5\" (flag --auth) is not trust or scram"), "{error}");
    }
}
