//! Which records exist when, by a clock that the test moves.

use async_trait::async_trait;
use ebap_connector::Options;

use super::*;
use arrow::datatypes::Schema;

/// 2026-01-01T00:00:10Z.
const NOW_US: i64 = crate::FIXED_START_US + 10_000_000;

struct HandClock(AtomicI64);

impl HandClock {
    fn at(now_us: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(now_us)))
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic_us(&self) -> i64 {
        self.now_us()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.fetch_add(i64::try_from(duration.as_micros()).expect("short"), Ordering::Relaxed);
    }
}

fn open(options: &[(&str, &str)], clock: &Arc<HandClock>) -> GeneratorSource {
    let mut all = Options(options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect());
    all.set("dataset", "ebap.events");
    let schema = Arc::new(Schema::empty());
    let context =
        SourceContext { name: "events".into(), id: "1".into(), connector: "generator".into(), schema, options: all };
    GeneratorSource::new(&context, clock.clone()).expect("the options are valid")
}

fn split(number: u32) -> SplitId {
    SplitId::new(number.to_string())
}

async fn reader_at(source: &GeneratorSource, offsets: &[i64]) -> (Box<dyn SourceReader>, Vec<SplitId>) {
    let mut reader = source.reader().await.expect("a reader");
    for (number, offset) in offsets.iter().enumerate() {
        reader.assign(split(number as u32), Offset(*offset)).await.expect("the split exists");
    }
    (reader, (0..offsets.len() as u32).map(split).collect())
}

async fn count(reader: &mut dyn SourceReader, splits: &[SplitId], wait_ms: u64) -> usize {
    let polled = reader.poll(splits, 1_000, Duration::from_millis(wait_ms)).await.expect("no fault");
    polled.iter().map(Records::len).sum()
}

#[tokio::test]
async fn a_bounded_source_gives_its_rows_and_finishes() {
    let source = open(&[("rows", "10"), ("splits", "3")], &HandClock::at(NOW_US));
    assert!(!source.unbounded());
    assert_eq!(source.bounds(&split(0)).await.ok(), Some(SplitBounds { earliest: Offset(0), end: Offset(4) }));
    let (mut reader, splits) = reader_at(&source, &[0, 0, 0]).await;
    assert!(reader.status().iter().all(|status| status.state == SplitState::Running));
    assert_eq!(count(reader.as_mut(), &splits, 1).await, 10);
    assert_eq!(count(reader.as_mut(), &splits, 1).await, 0);
    assert!(reader.status().iter().all(|status| status.state == SplitState::Finished));
}

#[tokio::test]
async fn reading_again_from_an_offset_gives_the_same_records() {
    let clock = HandClock::at(NOW_US);
    let options = [("rate", "1000"), ("start_time", "2026-01-01"), ("late_share", "0.1"), ("bad_share", "0.1")];
    let (mut first, splits) = reader_at(&open(&options, &clock), &[0]).await;
    let whole = first.poll(&splits, 100, Duration::ZERO).await.expect("no fault").remove(0);
    clock.0.fetch_add(3_600_000_000, Ordering::Relaxed);
    let (mut second, _) = reader_at(&open(&options, &clock), &[40]).await;
    let tail = second.poll(&splits, 60, Duration::ZERO).await.expect("no fault").remove(0);
    assert_eq!(tail.next_offset, whole.next_offset);
    for index in 0..60 {
        assert_eq!(tail.offsets[index], whole.offsets[40 + index]);
        assert_eq!(tail.timestamps_ms[index], whole.timestamps_ms[40 + index]);
        assert_eq!(tail.keys.get(index), whole.keys.get(40 + index));
        assert_eq!(tail.values.get(index), whole.values.get(40 + index));
    }
}

#[tokio::test]
async fn with_a_start_time_rows_exist_once_the_clock_has_passed_them() {
    let clock = HandClock::at(NOW_US);
    let source = open(&[("rate", "10"), ("start_time", "2026-01-01"), ("splits", "2")], &clock);
    assert!(source.unbounded());
    // Rows 0 to 100 are due after ten seconds: 51 in split 0, 50 in split 1.
    assert_eq!(source.start(&split(0), false).await.ok(), Some(Offset(0)));
    assert_eq!(source.bounds(&split(0)).await.ok().map(|bounds| bounds.end), Some(Offset(51)));
    assert_eq!(source.bounds(&split(1)).await.ok().map(|bounds| bounds.end), Some(Offset(50)));
    let (mut reader, splits) = reader_at(&source, &[0, 0]).await;
    assert_eq!(count(reader.as_mut(), &splits, 0).await, 101);
    assert_eq!(count(reader.as_mut(), &splits, 0).await, 0);
    assert_eq!(count(reader.as_mut(), &splits, 5_000).await, 2, "one row in each split is due after its period");
}

#[tokio::test]
async fn without_a_start_time_reading_begins_with_the_row_due_now_and_offsets_tell_the_time() {
    let clock = HandClock::at(NOW_US);
    let source = open(&[("rate", "10")], &clock);
    let start = source.start(&split(0), false).await.expect("a start");
    assert_eq!(source.bounds(&split(0)).await.ok(), Some(SplitBounds { earliest: start, end: start }));
    let (mut reader, splits) = reader_at(&source, &[start.0]).await;
    assert_eq!(count(reader.as_mut(), &splits, 0).await, 0);
    clock.0.fetch_add(1_000_000, Ordering::Relaxed);
    let records = reader.poll(&splits, 1_000, Duration::ZERO).await.expect("no fault").remove(0);
    assert_eq!(records.len(), 10);
    assert_eq!(records.timestamps_ms[0] * 1_000, NOW_US + 100_000);

    // Another process, later: the same offset is the same record, and what was missed is there.
    clock.0.fetch_add(60_000_000, Ordering::Relaxed);
    let (mut again, _) = reader_at(&open(&[("rate", "10")], &clock), &[start.0]).await;
    let later = again.poll(&splits, 1_000, Duration::ZERO).await.expect("no fault").remove(0);
    assert_eq!(later.len(), 610);
    assert_eq!(later.values.get(0), records.values.get(0));
}

#[tokio::test]
async fn an_older_position_is_within_the_bounds_once_it_is_assigned() {
    let source = open(&[("rate", "10")], &HandClock::at(NOW_US));
    let start = source.start(&split(0), false).await.expect("a start");
    let _reader = reader_at(&source, &[start.0 - 1_000]).await;
    assert_eq!(source.bounds(&split(0)).await.ok().map(|bounds| bounds.earliest), Some(Offset(start.0 - 1_000)));
}

#[tokio::test]
async fn with_rows_and_rate_a_reader_is_held_to_the_rate() {
    let clock = HandClock::at(NOW_US);
    let source = open(&[("rate", "10"), ("rows", "25")], &clock);
    let (mut reader, splits) = reader_at(&source, &[0]).await;
    assert_eq!(count(reader.as_mut(), &splits, 0).await, 1);
    for expected in [10, 10, 4, 0] {
        clock.0.fetch_add(1_000_000, Ordering::Relaxed);
        assert_eq!(count(reader.as_mut(), &splits, 0).await, expected);
    }
    assert_eq!(reader.status()[0].state, SplitState::Finished);
}

#[tokio::test]
async fn without_rate_and_end_there_is_always_more_and_the_end_is_what_was_read() {
    let source = open(&[], &HandClock::at(NOW_US));
    let (mut reader, splits) = reader_at(&source, &[0]).await;
    for round in 1..4 {
        assert_eq!(count(reader.as_mut(), &splits, 0).await, 1_000);
        assert_eq!(source.bounds(&split(0)).await.ok().map(|bounds| bounds.end), Some(Offset(round * 1_000)));
    }
}

#[tokio::test]
async fn rows_are_shared_out_among_the_wanted_splits() {
    let source = open(&[("rows", "3000"), ("splits", "3")], &HandClock::at(NOW_US));
    let (mut reader, splits) = reader_at(&source, &[0, 0, 0]).await;
    let polled = reader.poll(&splits, 300, Duration::ZERO).await.expect("no fault");
    assert_eq!(polled.iter().map(Records::len).collect::<Vec<_>>(), [100, 100, 100]);
    let mut first: Vec<SplitId> = Vec::new();
    for _ in 0..3 {
        first.push(reader.poll(&splits, 1, Duration::ZERO).await.expect("no fault").remove(0).split);
    }
    first.sort();
    assert_eq!(first, splits, "with one row at a time every split has its turn");
}

#[tokio::test]
async fn latest_skips_what_is_there() {
    let source = open(&[("rate", "10"), ("start_time", "2026-01-01"), ("start", "latest")], &HandClock::at(NOW_US));
    assert_eq!(source.start(&split(0), false).await.ok(), Some(Offset(101)));
    assert_eq!(source.start(&split(0), true).await.ok(), Some(Offset(0)));
}
