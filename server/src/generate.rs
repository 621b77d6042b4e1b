//! `ebap generate`: the seeded generator by itself, as JSON lines or straight into a Kafka topic.
//!
//! Owns the flags, the pace and the summary. What a record looks like is `ebap-generator`'s.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, IsTerminal, Write},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use ebap_connector::{Offset, parse_duration, time};
use ebap_generator::{Dataset, Generator, GeneratorOptions, Quality, StartTime, parse_start_time};
use ebap_kafka::TopicWriter;
use indicatif::{ProgressBar, ProgressStyle};

const STDOUT_BUFFER_BYTES: usize = 256 << 10;
/// Rows between two looks at the progress bar.
const PROGRESS_ROWS: u64 = 4_096;

/// Write generated events, metrics or user profiles to stdout or into a Kafka topic.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// What the records are.
    #[arg(long, value_enum, default_value_t = DatasetArg::Events)]
    dataset: DatasetArg,
    /// Rows in all; without it the generator goes on until it is stopped (user profiles end after one for each user).
    #[arg(long)]
    rows: Option<u64>,
    /// Rows a second; without it as fast as they can be written.
    #[arg(long)]
    rate: Option<f64>,
    /// Rows to a second of event time, where there is no --rate.
    #[arg(long, default_value_t = 1_000.0)]
    event_rate: f64,
    /// The same seed gives the same records.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Different users.
    #[arg(long, default_value_t = 10_000)]
    users: u64,
    /// How far event times lie out of order, at the most.
    #[arg(long, default_value = "2 seconds", value_parser = duration_us)]
    disorder: i64,
    /// Part of the rows that are late, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    late_share: f64,
    /// A late row lies between this and twice this behind.
    #[arg(long, default_value = "2 hours", value_parser = duration_us)]
    late_by: i64,
    /// Part of the records that cannot become a row, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    bad_share: f64,
    /// Event time of the first row: a time or `now` [default: now with --rate, else 2026-01-01T00:00:00Z].
    #[arg(long, value_parser = parse_start_time)]
    start_time: Option<StartTime>,
    /// Write into this topic, row n into partition n modulo their number. It must exist.
    #[arg(long)]
    topic: Option<String>,
    /// Brokers of the topic.
    #[arg(long, env = "KAFKA_BOOTSTRAP", default_value = "127.0.0.1:9092")]
    bootstrap_servers: String,
    /// Use only the first partitions of the topic.
    #[arg(long, alias = "splits", requires = "topic")]
    partitions: Option<u32>,
    /// A setting of the Kafka client, such as `security.protocol=SSL`. May be given several times.
    #[arg(long = "kafka-option", value_name = "NAME=VALUE", value_parser = setting, requires = "topic")]
    kafka_options: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DatasetArg {
    #[value(alias = "ebap.events")]
    Events,
    #[value(alias = "ebap.metrics")]
    Metrics,
    /// Profiles as rows.
    #[value(alias = "ebap.users")]
    Users,
    /// The same as change events of Debezium.
    #[value(alias = "ebap.cdc.users")]
    UserChanges,
    #[value(alias = "ebap.regions")]
    Regions,
}

/// Where records go.
trait Output {
    fn write(&mut self, row: u64, key: &[u8], value: &[u8]) -> anyhow::Result<()>;
    /// Called before a pause, so that nothing that was written is kept back during it.
    fn pause(&mut self) -> anyhow::Result<()>;
    /// Returns when all that was written has arrived.
    fn flush(&mut self) -> anyhow::Result<()>;
}

struct Lines<W>(W);

struct Topic {
    writer: TopicWriter,
    partitions: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    rows: u64,
    late: u64,
    bad: u64,
}

/// Writes the records and then one JSON line about them to stderr. A reader of stdout that goes
/// away ends it without an error.
pub async fn run(args: GenerateArgs) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || run_blocking(&args)).await.context("the generator stopped")?
}

fn run_blocking(args: &GenerateArgs) -> anyhow::Result<()> {
    let generator = Generator::new(options(args))?;
    let bar = progress(generator.rows());
    let began = time::instant();
    let written = match &args.topic {
        Some(topic) => write_all(&generator, &mut open_topic(args, topic)?, &bar),
        None => {
            let stdout = BufWriter::with_capacity(STDOUT_BUFFER_BYTES, io::stdout().lock());
            write_all(&generator, &mut Lines(stdout), &bar)
        }
    };
    bar.finish_and_clear();
    let tally = match written {
        Ok(tally) => tally,
        Err(error) if is_broken_pipe(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    let seconds = began.elapsed().as_secs_f64();
    let summary = serde_json::json!({
        "rows": tally.rows,
        "late": tally.late,
        "bad": tally.bad,
        "seconds": (seconds * 1e3).round() / 1e3,
        "rows_per_second": (tally.rows as f64 / seconds.max(1e-9)).round(),
    });
    writeln!(io::stderr(), "{summary}").context("cannot write the summary")
}

fn options(args: &GenerateArgs) -> GeneratorOptions {
    let start = args.start_time.unwrap_or(if args.rate.is_some() { StartTime::Now } else { StartTime::Unset });
    GeneratorOptions {
        rate: args.rate,
        event_rate: args.event_rate,
        rows: args.rows,
        seed: args.seed,
        users: args.users,
        disorder_us: args.disorder,
        late_share: args.late_share,
        late_by_us: args.late_by,
        bad_share: args.bad_share,
        // This process is the only run there is, so now is a time like any other.
        start_time: if start == StartTime::Now { StartTime::At(time::now_us()) } else { start },
        ..GeneratorOptions::new(match args.dataset {
            DatasetArg::Events => Dataset::Events,
            DatasetArg::Metrics => Dataset::Metrics,
            DatasetArg::Users => Dataset::Users,
            DatasetArg::UserChanges => Dataset::UserChanges,
            DatasetArg::Regions => Dataset::Regions,
        })
    }
}

fn open_topic(args: &GenerateArgs, topic: &str) -> anyhow::Result<Topic> {
    let settings: BTreeMap<String, String> = args.kafka_options.iter().cloned().collect();
    let writer = TopicWriter::connect(&args.bootstrap_servers, &settings, topic)?;
    let there = u32::try_from(writer.partitions()).unwrap_or(0);
    let partitions = args.partitions.unwrap_or(there);
    if partitions == 0 || partitions > there {
        bail!("topic \"{topic}\" has {there} partitions, so {partitions} cannot be written");
    }
    Ok(Topic { writer, partitions: partitions.into() })
}

/// Row 0 to the last one, no faster than the rate.
fn write_all(generator: &Generator, output: &mut dyn Output, bar: &ProgressBar) -> anyhow::Result<Tally> {
    let began = time::instant();
    let paced = generator.options().rate.is_some();
    let period_ns = generator.period_ns();
    let rows = generator.rows().unwrap_or(u64::MAX);
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let mut tally = Tally::default();
    for row in 0..rows {
        if paced {
            let due = Duration::from_nanos(row.saturating_mul(period_ns));
            wait_for(due, began, output)?;
        }
        let written = generator.write_record(0, Offset(i64::try_from(row)?), &mut key, &mut value);
        output.write(row, &key, &value)?;
        tally.rows += 1;
        match written.quality {
            Quality::OnTime => {}
            Quality::Late => tally.late += 1,
            Quality::Bad(_) => tally.bad += 1,
        }
        if tally.rows % PROGRESS_ROWS == 0 {
            bar.set_position(tally.rows);
        }
    }
    bar.set_position(tally.rows);
    output.flush()?;
    Ok(tally)
}

/// Sleeps until the row is due.
fn wait_for(due: Duration, began: std::time::Instant, output: &mut dyn Output) -> anyhow::Result<()> {
    if due <= began.elapsed() {
        return Ok(());
    }
    output.pause()?;
    // A thread of its own for blocking work, see `run`.
    std::thread::sleep(due.saturating_sub(began.elapsed()));
    Ok(())
}

fn progress(rows: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{elapsed_precise} {wide_bar} {human_pos}/{human_len} rows, {per_sec}, {eta} left";
    match (rows, ProgressStyle::with_template(template)) {
        (Some(rows), Ok(style)) => ProgressBar::new(rows).with_style(style),
        _ => ProgressBar::new_spinner(),
    }
}

impl<W: Write> Output for Lines<W> {
    fn write(&mut self, _row: u64, _key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        self.0.write_all(value)?;
        Ok(self.0.write_all(b"\n")?)
    }

    fn pause(&mut self) -> anyhow::Result<()> {
        Ok(self.0.flush()?)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.0.flush()?)
    }
}

impl Output for Topic {
    fn write(&mut self, row: u64, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        let partition = i32::try_from(row % self.partitions)?;
        // The time of producing is left to the client: event times may be older than what the broker retains.
        Ok(self.writer.send(Some(partition), (!key.is_empty()).then_some(key), Some(value), None)?)
    }

    fn pause(&mut self) -> anyhow::Result<()> {
        // The client sends by its own timer; waiting for the brokers here would break the pace.
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.writer.flush()?)
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn duration_us(text: &str) -> Result<i64, String> {
    let duration =
        parse_duration(text).ok_or_else(|| format!("\"{text}\" is not a duration such as '30 seconds' or '5m'"))?;
    i64::try_from(duration.as_micros()).map_err(|_| format!("\"{text}\" is too long"))
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("\"{text}\" is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: GenerateArgs,
    }

    fn args(flags: &[&str]) -> GenerateArgs {
        let flags = std::iter::once("generate").chain(flags.iter().copied());
        Cli::try_parse_from(flags).map(|cli| cli.args).unwrap_or_else(|error| panic!("{error}"))
    }

    fn lines_of(flags: &[&str]) -> (Vec<String>, Tally) {
        let generator = Generator::new(options(&args(flags))).expect("the flags are valid");
        let mut output = Lines(Vec::new());
        let tally = write_all(&generator, &mut output, &ProgressBar::hidden()).expect("memory takes all");
        let text = String::from_utf8(output.0).expect("text");
        (text.lines().map(str::to_owned).collect(), tally)
    }

    #[test]
    fn every_row_is_a_line_and_is_counted() {
        let (lines, tally) = lines_of(&["--rows", "5000", "--late-share", "0.1", "--bad-share", "0.1"]);
        assert_eq!((lines.len(), tally.rows), (5_000, 5_000));
        let good = lines.iter().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count() as u64;
        // Broken JSON and empty values are a third of what is bad.
        assert!(good < 5_000 && good >= 5_000 - tally.bad);
        assert!((400..600).contains(&tally.late) && (400..600).contains(&tally.bad), "{tally:?}");
    }

    #[test]
    fn the_same_flags_give_the_same_lines() {
        assert_eq!(lines_of(&["--rows", "100"]), lines_of(&["--rows", "100"]));
        assert_ne!(lines_of(&["--rows", "100"]), lines_of(&["--rows", "100", "--seed", "2"]));
    }

    #[test]
    fn data_sets_are_chosen_by_name() {
        assert!(lines_of(&["--dataset", "metrics", "--rows", "1"]).0[0].starts_with("{\"metric_name\":"));
        assert_eq!(lines_of(&["--dataset", "ebap.users", "--users", "3"]).1.rows, 3);
        let (changes, _) = lines_of(&["--dataset", "user-changes", "--users", "3"]);
        assert!(changes.len() == 3 && changes[2].starts_with("{\"before\":null,\"after\":{\"user_id\":2,"));
        assert_eq!(lines_of(&["--dataset", "ebap.regions"]).1.rows, 8);
    }

    #[test]
    fn a_paced_run_starts_now_unless_a_time_is_given() {
        let start = |flags: &[&str]| options(&args(flags)).start_time;
        let now_us = time::now_us();
        assert!(matches!(start(&["--rate", "5"]), StartTime::At(start_us) if start_us >= now_us));
        assert_eq!(start(&["--rate", "5", "--start-time", "1970-01-01"]), StartTime::At(0));
        assert_eq!(start(&[]), StartTime::Unset);
    }

    #[test]
    fn a_reader_that_goes_away_is_no_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let generator = Generator::new(options(&args(&["--rows", "1"]))).expect("the flags are valid");
        let error = write_all(&generator, &mut Lines(Gone), &ProgressBar::hidden()).expect_err("nobody reads");
        assert!(is_broken_pipe(&error), "{error}");
    }

    #[test]
    fn bad_flags_are_refused() {
        for flags in [["--disorder", "soon"], ["--start-time", "soon"], ["--dataset", "x"], ["--partitions", "2"]] {
            assert!(Cli::try_parse_from(["generate"].iter().chain(&flags)).is_err(), "{flags:?}");
        }
    }
}
