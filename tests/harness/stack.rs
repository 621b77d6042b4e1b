//! Real services, started by the scripts in `tests/stack` on ports of their own.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, bail};

use crate::process;

/// `kafka.sh` puts the controller this far from the broker.
const CONTROLLER_DISTANCE: u16 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Redis,
    Minio,
    IcebergRest,
    Kafka,
    Trino,
    Prometheus,
    Alertmanager,
    Postgres,
    Connect,
    SchemaRegistry,
}

impl Service {
    fn script(self) -> &'static str {
        match self {
            Self::Redis => "redis.sh",
            Self::Minio => "minio.sh",
            Self::IcebergRest => "iceberg-rest.sh",
            Self::Kafka => "kafka.sh",
            Self::Trino => "trino.sh",
            Self::Prometheus => "prometheus.sh",
            Self::Alertmanager => "alertmanager.sh",
            Self::Postgres => "postgres.sh",
            Self::Connect => "connect.sh",
            Self::SchemaRegistry => "schema-registry.sh",
        }
    }
}

/// Services of one test run; stopped, with their data, when dropped.
#[derive(Debug)]
pub struct Stack {
    redis_port: u16,
    minio_port: u16,
    iceberg_port: u16,
    kafka_port: u16,
    trino_port: u16,
    prometheus_port: u16,
    alertmanager_port: u16,
    /// Whether Redis keeps what it has over a restart.
    pub redis_keeps: bool,
    postgres_port: u16,
    connect_port: u16,
    registry_port: u16,
    registry_tls_port: u16,
    /// The brokers of Kafka Connect, where they are not this stack's.
    pub connect_bootstrap: Option<String>,
    started: Vec<Service>,
}

impl Stack {
    /// Reserves ports; starts nothing.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            redis_port: process::free_port()?,
            minio_port: process::free_port()?,
            iceberg_port: process::free_port()?,
            kafka_port: process::free_port_with(CONTROLLER_DISTANCE)?,
            trino_port: process::free_port()?,
            prometheus_port: process::free_port()?,
            alertmanager_port: process::free_port()?,
            redis_keeps: false,
            postgres_port: process::free_port()?,
            connect_port: process::free_port()?,
            registry_port: process::free_port()?,
            registry_tls_port: process::free_port()?,
            connect_bootstrap: None,
            started: Vec::new(),
        })
    }

    /// Starts those that do not run yet, in this order.
    pub fn need(&mut self, services: &[Service]) -> anyhow::Result<()> {
        for service in services {
            if !self.started.contains(service) {
                self.started.push(*service);
                self.run(*service, &["start"])?;
            }
        }
        Ok(())
    }

    /// Runs a script of the stack with the ports of this run; gives what it printed.
    pub fn run(&self, service: Service, args: &[&str]) -> anyhow::Result<String> {
        let folder =
            std::env::var_os("EBAP_STACK_DIR").map_or_else(|| process::tests_dir().join("stack"), PathBuf::from);
        let script = folder.join(service.script());
        let output = Command::new("bash")
            .arg(&script)
            .args(args)
            .envs([
                ("REDIS_PORT", self.redis_port.to_string()),
                ("MINIO_PORT", self.minio_port.to_string()),
                ("ICEBERG_REST_PORT", self.iceberg_port.to_string()),
                ("KAFKA_PORT", self.kafka_port.to_string()),
                ("TRINO_PORT", self.trino_port.to_string()),
                ("PROMETHEUS_PORT", self.prometheus_port.to_string()),
                ("ALERTMANAGER_PORT", self.alertmanager_port.to_string()),
                ("REDIS_AOF", if self.redis_keeps { "yes" } else { "no" }.to_owned()),
                ("POSTGRES_PORT", self.postgres_port.to_string()),
                ("CONNECT_PORT", self.connect_port.to_string()),
                ("SCHEMA_REGISTRY_PORT", self.registry_port.to_string()),
                ("SCHEMA_REGISTRY_TLS_PORT", self.registry_tls_port.to_string()),
            ])
            .envs(self.connect_bootstrap.iter().map(|bootstrap| ("CONNECT_BOOTSTRAP", bootstrap)))
            .output()
            .with_context(|| format!("{} does not run", script.display()))?;
        if !output.status.success() {
            bail!("{} {}: {}", script.display(), args.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.kafka_port)
    }

    pub fn connect_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.connect_port)
    }

    /// The database of the application, as `tokio_postgres` takes it.
    pub fn postgres_url(&self) -> String {
        format!("postgresql://ebap:ebap@127.0.0.1:{}/ebap", self.postgres_port)
    }

    pub fn postgres_port(&self) -> u16 {
        self.postgres_port
    }

    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.redis_port)
    }

    pub fn catalog_uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.iceberg_port)
    }

    pub fn prometheus_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.prometheus_port)
    }

    pub fn alertmanager_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.alertmanager_port)
    }

    pub fn registry_url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.registry_port)
    }

    pub fn s3_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.minio_port)
    }

    /// Rows of a query by Trino, each as the text of its columns.
    pub fn trino(&self, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let args = ["cli", "--user", "admin", "--output-format", "TSV", "--execute", sql];
        let text = self.run(Service::Trino, &args)?;
        Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        while let Some(service) = self.started.pop() {
            if let Err(error) = self.run(service, &["clean"]) {
                let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{error:#}\n").as_bytes());
            }
        }
    }
}
