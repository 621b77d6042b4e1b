//! What a source will hold, record by record, and when: drawn from the seed before anything runs.

use super::random::Random;

/// Noon, so that late rows stay on the same day.
pub(super) const START_US: i64 = 1_767_268_800_000_000;
pub(super) const SECOND_US: i64 = 1_000_000;

/// How long records keep coming.
const PRODUCED_S: i64 = 14;
/// What the stream's `WATERMARK` allows; disorder up to it makes nothing late by itself.
pub(super) const DELAY_US: i64 = SECOND_US;

const HOUR_US: i64 = 3_600 * SECOND_US;
/// The distance of wrong clocks from the right one.
const WRONG_US: [i64; 5] = [HOUR_US, 24 * HOUR_US, 31 * 24 * HOUR_US, 365 * 24 * HOUR_US, 365_250 * 24 * HOUR_US];

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) offset: i64,
    /// From when on it can be read.
    pub(super) at_us: i64,
    /// Offset behind it: markers may follow that are no records.
    pub(super) next: i64,
    pub(super) bytes: String,
    /// `None` where no row can be made of it.
    pub(super) row: Option<Row>,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) time_us: i64,
    pub(super) region: Option<&'static str>,
    pub(super) amount: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) struct SplitScript {
    pub(super) name: String,
    /// From when on it exists.
    pub(super) appears_us: i64,
    pub(super) records: Vec<Record>,
}

impl Row {
    /// Whether its clock is right.
    pub(super) fn is_sane(&self) -> bool {
        (self.time_us - START_US).abs() < HOUR_US / 2
    }
}

impl SplitScript {
    /// How many records can be read by then.
    pub(super) fn visible(&self, now_us: i64) -> usize {
        self.records.partition_point(|record| record.at_us <= now_us)
    }

    pub(super) fn end(&self, now_us: i64) -> i64 {
        self.visible(now_us).checked_sub(1).map_or(0, |last| self.records[last].next)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    pub(super) events: Vec<SplitScript>,
    pub(super) users: Vec<SplitScript>,
    /// While the source does not answer.
    pub(super) outages: Vec<(i64, i64)>,
    /// When a second view is created.
    pub(super) later_us: i64,
    /// By then all has been produced.
    pub(super) end_us: i64,
}

impl Script {
    pub(super) fn draw(random: &mut Random) -> Self {
        let splits = random.within(1, 3);
        let mut ids = 0..;
        let events = (0..splits).map(|number| events(number, random, &mut ids)).collect();
        let outages = (0..random.below(3)).map(|_| {
            let from = START_US + random.within(2, PRODUCED_S - 2) * SECOND_US;
            (from, from + random.within(200_000, 3 * SECOND_US))
        });
        let outages = outages.collect();
        let users = vec![users(random)];
        let later_us = START_US + random.within(3, PRODUCED_S - 3) * SECOND_US;
        Self { events, users, outages, later_us, end_us: START_US + (PRODUCED_S + 1) * SECOND_US }
    }

    /// Four splits; one record in twenty is of a clock that is wrong by an hour to a thousand years, to either side.
    pub(super) fn draw_wrong_clocks(random: &mut Random) -> Self {
        let mut script = Self::draw(random);
        let mut ids = 2_000_000..;
        let more = script.events.len() as i64..4;
        script.events.extend(more.map(|number| events(number, random, &mut ids)));
        for record in script.events.iter_mut().flat_map(|split| &mut split.records) {
            let Some(row) = &mut record.row else { continue };
            if random.chance(50) {
                let wrong_us = random.pick(&WRONG_US);
                row.time_us += if random.chance(500) { wrong_us } else { -wrong_us };
                record.bytes = json(row);
            }
        }
        script
    }

    /// One split in the order of its event times, as far as the watermark allows: nothing can be late.
    pub(super) fn draw_calm(random: &mut Random) -> Self {
        Self::draw_behind(random, DELAY_US)
    }

    /// One split in the order of its event times.
    pub(super) fn draw_ordered(random: &mut Random) -> Self {
        Self::draw_behind(random, 1)
    }

    /// One split with what is less far behind the newest event time than this.
    fn draw_behind(random: &mut Random, behind_us: i64) -> Self {
        let mut script = Self::draw(random);
        script.events.truncate(1);
        let split = &mut script.events[0];
        let mut newest_us = i64::MIN;
        split.records.retain(|record| {
            let time_us = record.row.as_ref().map_or(record.at_us, |row| row.time_us);
            let on_time = time_us > newest_us.saturating_sub(behind_us);
            newest_us = newest_us.max(time_us);
            on_time
        });
        script
    }

    /// One more record in every split, long after all others.
    pub(super) fn add_last(&mut self, at_us: i64) {
        for (id, split) in (1_000_000..).zip(&mut self.events) {
            let offset = split.records.last().map_or(0, |record| record.next);
            let row = Row { id, time_us: at_us, region: Some("eu"), amount: Some(1) };
            let bytes = json(&row);
            split.records.push(Record { offset, at_us, next: offset + 1, bytes, row: Some(row) });
        }
    }

    pub(super) fn of(&self, source: &str) -> &[SplitScript] {
        if source == "users" { &self.users } else { &self.events }
    }

    pub(super) fn away(&self, now_us: i64) -> bool {
        self.outages.iter().any(|(from, to)| (*from..*to).contains(&now_us))
    }
}

fn events(number: i64, random: &mut Random, ids: &mut impl Iterator<Item = i64>) -> SplitScript {
    let late_per_mille = random.pick(&[0, 20, 80]);
    let gaps = random.chance(500);
    // Not the first: a stream starts with at least one split.
    let appears_us =
        if number > 0 && random.chance(300) { START_US + random.within(2, 9) * SECOND_US } else { START_US };
    let mut idle: Option<(i64, i64)> = None;
    if random.chance(400) {
        let from = random.within(2, 7) * SECOND_US;
        idle = Some((START_US + from, START_US + from + random.within(4, 6) * SECOND_US));
    }
    let (mut records, mut offset, mut at_us) = (Vec::new(), 0, appears_us + random.within(0, SECOND_US));
    while at_us < START_US + PRODUCED_S * SECOND_US {
        if !idle.is_some_and(|(from, to)| (from..to).contains(&at_us)) {
            for _ in 0..random.within(1, 6) {
                let id = ids.next().expect("ids do not end");
                let next = offset + 1 + if gaps && random.chance(100) { random.within(1, 3) } else { 0 };
                records.push(event(offset, at_us, next, id, late_per_mille, random));
                offset = next;
            }
        }
        at_us += random.within(50_000, 500_000);
    }
    SplitScript { name: number.to_string(), appears_us, records }
}

fn event(offset: i64, at_us: i64, next: i64, id: i64, late_per_mille: u64, random: &mut Random) -> Record {
    let late_us = if random.chance(late_per_mille) { random.within(2, 20) * SECOND_US } else { 0 };
    let time_us = at_us - late_us - random.within(0, DELAY_US);
    let region = random.pick(&[Some("eu"), Some("us"), Some("ap"), Some(""), None]);
    let amount = random.chance(900).then(|| random.within(-5, 20));
    let row = Row { id, time_us, region, amount };
    let good = json(&row);
    match random.below(50) {
        0 => Record { offset, at_us, next, bytes: format!("{{broken {id}"), row: None },
        1 => Record { offset, at_us, next, bytes: json(&Row { region: Some("nowhere"), ..row }), row: None },
        _ => Record { offset, at_us, next, bytes: good, row: Some(row) },
    }
}

fn json(row: &Row) -> String {
    let text = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let region = text(row.region.map(|region| format!("\"{region}\"")));
    let amount = text(row.amount.map(|amount| amount.to_string()));
    let time = time_text(row.time_us);
    format!(r#"{{"id":{},"region":{region},"amount":{amount},"timestamp":"{time}"}}"#, row.id)
}

/// `2026-01-01T12:00:00.000000Z`
pub(super) fn time_text(time_us: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(time_us).expect("a time that chrono has");
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Rows of a table: the newest per key stays.
fn users(random: &mut Random) -> SplitScript {
    let records = (0..random.within(20, 60)).map(|offset| {
        let row = Row { id: random.within(0, 9), time_us: 0, region: None, amount: Some(offset) };
        let bytes = format!(r#"{{"id":{},"tier":"t{offset}"}}"#, row.id);
        let at_us = START_US + offset * 200_000;
        Record { offset, at_us, next: offset + 1, bytes, row: Some(row) }
    });
    SplitScript { name: "0".to_owned(), appears_us: START_US, records: records.collect() }
}
