//! Bytes that nobody should send, at a running server: it answers within a bound, and never ends or panics.
//!
//! Each fuzzer runs for `EBAP_FUZZ_SECONDS` from `EBAP_FUZZ_SEED`; unless set for a minute, and so many inputs at most.
//! Inputs that once failed lie in `corpus/` and are sent first. An input that fails now is printed in hexadecimal
//! digits and written there.

mod corpus;
mod protocol;
mod records;
mod seeds;
mod statements;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{
    Ebap, EbapOptions, trials,
    wire::{Address, Answer, Session},
};

/// The memory limit of the server, in KiB.
const ADDRESSES_KB: u64 = 2_097_152;
const MEMORY_LIMIT: &str = "512MiB";
/// A server that says nothing for so long is said to hang.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let nothing = Arc::new(());
    trials::run(vec![
        trials::trial("protocol", &nothing, |_| protocol::run()),
        trials::trial("statements", &nothing, |_| statements::run()),
        trials::trial("records", &nothing, |_| records::run()),
    ])
}

/// A server of one fuzzer, and how long that may go on.
pub(crate) struct Target {
    ebap: Ebap,
    pub(crate) address: Address,
    pub(crate) seed: u64,
    ends: std::time::Instant,
    /// A time limit was given, so that the number of inputs has none.
    long: bool,
}

impl Target {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let number = |name: &str, usual: u64| match std::env::var(name) {
            Ok(text) => text.parse::<u64>().with_context(|| format!("{name}={text}")),
            Err(_) => Ok(usual),
        };
        let options = EbapOptions {
            args: ["--memory-limit", MEMORY_LIMIT].map(str::to_owned).to_vec(),
            addresses_kb: Some(ADDRESSES_KB),
            ..EbapOptions::default()
        };
        let ebap = Ebap::start_with(options).await?;
        let address = Address {
            port: ebap.pg_port,
            user: "ebap".to_owned(),
            password: String::new(),
            database: "ebap".to_owned(),
        };
        let seconds = number("EBAP_FUZZ_SECONDS", 60)?;
        let ends = time::instant() + Duration::from_secs(seconds);
        let long = std::env::var_os("EBAP_FUZZ_SECONDS").is_some();
        Ok(Self { ebap, address, seed: number("EBAP_FUZZ_SEED", 1)?, ends, long })
    }

    /// `usual`: inputs of a run that is part of `make test`, so that a fast machine tries the same as others.
    pub(crate) fn goes_on(&self, sent: u64, usual: u64) -> bool {
        time::instant() < self.ends && (self.long || sent < usual)
    }

    pub(crate) fn session(&self) -> anyhow::Result<Session> {
        Session::connect(&self.address, PATIENCE)
    }

    /// The server is there, answers, and has not panicked.
    pub(crate) fn stands(&self) -> anyhow::Result<()> {
        let answer = self.session()?.query("SELECT 1");
        ensure!(matches!(answer, Answer::Rows(_)), "{answer}");
        let log = self.ebap.log();
        // The decoder of Avro catches those of its library, and makes a dead letter of the record.
        let caught = |line: &&str| line.contains("/arrow-avro-");
        let panic = log.lines().find(|line| line.contains("panicked at") && !caught(line));
        ensure!(panic.is_none(), "{}", panic.unwrap_or_default());
        Ok(())
    }

    pub(crate) async fn again(&mut self) -> anyhow::Result<()> {
        self.ebap.kill()?;
        self.ebap.start_again().await
    }
}

/// Where the reader of a test looks.
pub(crate) fn print(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}
