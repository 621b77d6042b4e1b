//! What a stream over a topic and a dead-letter topic promise, against a real broker.

mod broker;
mod dead_letters;
mod faults;
mod reading;
mod sinks;
mod writing;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, bail};
use broker::Broker;
use ebap_connector::{Offset, Options, Records, Source, SourceContext, SourceReader, SplitId, time};
use libtest_mimic::{Arguments, Failed, Trial};
use sinks::{finals, rows, upserts};

/// For what should take a second, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);
const WAIT: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let shared: Arc<Mutex<Option<Arc<Broker>>>> = Arc::default();
    let mut trials = Vec::new();
    macro_rules! trials {
        ($($module:ident::$name:ident),* $(,)?) => {
            $(trials.push(trial(stringify!($name), &shared, |broker| Box::pin($module::$name(broker))));)*
        };
    }
    trials!(
        reading::every_record_of_every_partition_is_read_once_from_the_earliest,
        reading::keys_headers_times_and_tombstones_are_carried,
        reading::a_split_given_again_is_read_again_from_there,
        reading::a_reader_that_goes_back_after_a_pause_skips_nothing,
        reading::the_end_of_an_empty_partition_is_known,
        reading::a_split_joins_a_reader_that_is_reading_without_losing_a_record,
        reading::only_wanted_splits_are_read_and_evenly,
        reading::next_offset_reaches_the_end_behind_aborted_records,
        reading::records_of_an_open_transaction_wait_for_its_end,
        reading::each_start_begins_where_it_says,
        reading::a_partition_added_later_is_read_from_its_first_record,
        faults::a_topic_that_is_missing_is_said_and_found_once_it_exists,
        faults::an_offset_that_has_expired_is_refused_with_its_place,
        faults::a_broker_that_is_away_is_shown_and_nothing_is_lost,
        faults::a_split_given_again_while_the_broker_is_away_loses_nothing,
        dead_letters::a_letter_keeps_its_bytes_and_tells_where_it_came_from,
        dead_letters::a_letter_is_delivered_once_when_the_writer_is_opened_again,
        dead_letters::of_two_servers_the_one_that_took_over_delivers_each_letter,
        rows::rows_become_visible_with_their_position,
        rows::what_a_crash_left_open_is_never_seen,
        rows::of_two_instances_the_newer_one_writes,
        rows::a_key_is_in_the_partition_where_java_puts_it,
        rows::a_record_that_is_too_large_is_named,
        rows::a_broker_that_goes_and_comes_back_has_each_row_once,
        rows::a_transaction_that_took_too_long_is_done_again,
        upserts::changes_are_seen_when_their_epoch_is_durable,
        upserts::an_update_is_one_record_and_a_row_that_goes_a_tombstone,
        upserts::a_view_that_is_written_again_adds_only_what_differs,
        upserts::what_others_write_to_the_topic_stays,
        finals::each_window_is_written_once_whatever_is_written_again,
        finals::a_row_for_a_window_that_is_outside_is_refused,
        writing::all_records_arrive_in_the_order_of_each_partition,
        writing::a_topic_that_does_not_exist_is_refused,
    );
    // One after the other: one of them stops the broker.
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(shared.lock().map(|mut broker| broker.take()));
    conclusion.exit_code()
}

type Scenario = std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

fn trial(
    name: &str,
    shared: &Arc<Mutex<Option<Arc<Broker>>>>,
    scenario: impl FnOnce(Arc<Broker>) -> Scenario + Send + 'static,
) -> Trial {
    let shared = Arc::clone(shared);
    Trial::test(name, move || {
        let outcome = (|| {
            let mut shared = shared.lock().map_err(|_| anyhow::anyhow!("the broker did not start"))?;
            let broker = match &*shared {
                Some(broker) => Arc::clone(broker),
                None => Arc::clone(shared.insert(Arc::new(Broker::start()?))),
            };
            drop(shared);
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(scenario(broker))
        })();
        outcome.map_err(|error: anyhow::Error| Failed::from(format!("{error:?}")))
    })
}

fn context(broker: &Broker, stream: &str, topic: &str, more: &[(&str, &str)]) -> SourceContext {
    let mut options = Options::default();
    options.set("bootstrap_servers", broker.bootstrap());
    options.set("topic", topic);
    for (name, value) in more {
        options.set(*name, *value);
    }
    let schema = Arc::new(arrow::datatypes::Schema::empty());
    SourceContext { name: stream.to_owned(), id: format!("{stream}-1"), connector: "kafka".to_owned(), schema, options }
}

fn source(broker: &Broker, topic: &str, more: &[(&str, &str)]) -> anyhow::Result<Arc<dyn Source>> {
    Ok(ebap_kafka::source(&context(broker, "events", topic, more))?)
}

fn split(partition: i32) -> SplitId {
    SplitId::new(partition.to_string())
}

/// A record as `partition`, `offset`, value as text.
type Row = (i32, i64, String);

fn rows(records: &[Records]) -> Vec<Row> {
    let of = |records: &Records, at: usize| {
        let value = records.values.get(at).map(|value| String::from_utf8_lossy(value).into_owned());
        (records.partition, records.offsets[at], value.unwrap_or_else(|| "tombstone".to_owned()))
    };
    records.iter().flat_map(|one| (0..one.len()).map(|at| of(one, at))).collect()
}

/// Reads these splits until each has got as far as asked, and gives what came.
async fn read_to(reader: &mut Box<dyn SourceReader>, ends: &[(SplitId, Offset)]) -> anyhow::Result<Vec<Records>> {
    let wanted: Vec<SplitId> = ends.iter().map(|(split, _)| split.clone()).collect();
    let (mut left, mut all) = (ends.to_vec(), Vec::new());
    let began = time::instant();
    left.retain(|(_, end)| end.0 > 0);
    while !left.is_empty() {
        if began.elapsed() > PATIENCE {
            bail!("not reached: {left:?}, {} records came", rows(&all).len());
        }
        for records in reader.poll(&wanted, 1_000, WAIT).await? {
            left.retain(|(split, end)| *split != records.split || *end > records.next_offset);
            all.push(records);
        }
    }
    Ok(all)
}

/// Reads every split from where the source says to its end now.
async fn read_all(source: &Arc<dyn Source>) -> anyhow::Result<Vec<Records>> {
    let mut reader = source.reader().await?;
    let mut ends = Vec::new();
    for split in source.splits().await? {
        let (start, end) = (source.start(&split, false).await?, source.bounds(&split).await?.end);
        reader.assign(split.clone(), start).await?;
        // Nothing comes where there is nothing to read.
        if start < end {
            ends.push((split, end));
        }
    }
    read_to(&mut reader, &ends).await
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let began = time::instant();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            bail!("waited in vain until {what}");
        }
        time::sleep(Duration::from_millis(20)).await;
    }
}

fn partition_rows(all: &[Row], partition: i32) -> Vec<(i64, &str)> {
    all.iter().filter(|row| row.0 == partition).map(|row| (row.1, row.2.as_str())).collect()
}

fn ensure_eq<T: PartialEq + std::fmt::Debug>(got: T, expected: T, what: &str) -> anyhow::Result<()> {
    if got == expected {
        Ok(())
    } else {
        Err(anyhow::anyhow!("got {got:?}, expected {expected:?}")).context(what.to_owned())
    }
}
