//! The events of Nexmark: persons who come, auctions that they open, bids on these. An event is a function of its
//! number.
//!
//! Proportions, hot keys, prices, lengths and sizes are the documented defaults of the public benchmark at 10,000
//! events a second; the draws are our own, so single values are not those of its generator. Event time rises with
//! the number, so that in a partition nothing is out of order.
//!
//! ```text
//! number    0      1  2  3     4 … 49   50     51 …
//!           person auctions    bids     person
//! ```

use std::fmt::{Result, Write};

use super::words::{Channel, FIRST_NAMES, LAST_NAMES, PLACES, STATES, write_letters, write_url};
use crate::events::{Draw, TimeText};

/// 2026-01-01T00:00:00Z.
const FIRST_MS: i64 = 1_767_225_600_000;
const EVENTS_PER_MS: u64 = 10;
/// How far behind the last event the records that end the partitions are: every window is closed, and rows that
/// are kept for an hour are still there.
const CLOSING_AFTER_MS: i64 = 30 * 60_000;

const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
const BIDS: u64 = 46;
const GROUP: u64 = PERSONS + AUCTIONS + BIDS;

const FIRST_PERSON: u64 = 1_000;
const FIRST_AUCTION: u64 = 1_000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;
/// One of so many is hot for a while, then the next.
const HOT_EVERY: u64 = 100;
/// One bid of two is on the hot auction; three auctions and bids of four are of the hot seller and bidder.
const HOT_AUCTION_OF: u64 = 2;
const HOT_PERSON_OF: u64 = 4;
const OPEN_AUCTIONS: u64 = 100;
const ACTIVE_PERSONS: u64 = 1_000;
/// A bid may be on an auction, and an auction of a person, that is still to come.
const LEAD: u64 = 10;

const PERSON_BYTES: usize = 200;
const AUCTION_BYTES: usize = 500;
const BID_BYTES: usize = 100;
const NUMBER_BYTES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Person,
    Auction,
    Bid,
}

impl Kind {
    pub(crate) fn of(number: u64) -> Self {
        match number % GROUP {
            at if at < PERSONS => Self::Person,
            at if at < PERSONS + AUCTIONS => Self::Auction,
            _ => Self::Bid,
        }
    }
}

/// Writes events as JSON; keeps the text of the last time, which ten events share.
#[derive(Default)]
pub(crate) struct Generator {
    at: TimeText,
    expires: TimeText,
    extra: String,
}

impl Generator {
    pub(crate) fn write(&mut self, number: u64, out: &mut String) -> Result {
        let mut draw = Draw::new(number);
        let at_ms = time_ms(number);
        match Kind::of(number) {
            Kind::Person => self.person(number, at_ms, &mut draw, out)?,
            Kind::Auction => self.auction(number, at_ms, &mut draw, out)?,
            Kind::Bid => self.bid(number, at_ms, &mut draw, out)?,
        }
        write!(out, r#","dateTime":"{}"}}"#, self.at.of(at_ms))
    }

    /// Neither person nor auction nor bid: it moves the watermark, and no query counts it.
    pub(crate) fn write_closing(&mut self, events: u64, out: &mut String) -> Result {
        let at = self.at.of(time_ms(events) + CLOSING_AFTER_MS);
        write!(out, r#"{{"event_type":3,"person":null,"auction":null,"bid":null,"dateTime":"{at}"}}"#)
    }

    fn person(&mut self, number: u64, at_ms: i64, draw: &mut Draw, out: &mut String) -> Result {
        let id = FIRST_PERSON + persons(number) - 1;
        let (first, last) = (draw.pick(&FIRST_NAMES), draw.pick(&LAST_NAMES));
        let (city, state) = (draw.pick(&PLACES), draw.pick(&STATES));
        let begin = out.len();
        write!(out, r#"{{"event_type":0,"person":{{"id":{id},"name":"{first} {last}","emailAddress":""#)?;
        write_letters(draw, 7, out);
        out.push('@');
        write_letters(draw, 5, out);
        let card = draw.below(10_000_000_000_000_000);
        let part = |at: u32| card / 10_000_u64.pow(at) % 10_000;
        write!(out, r#".com","creditCard":"{:04} {:04} {:04} {:04}""#, part(3), part(2), part(1), part(0))?;
        write!(out, r#","city":"{city}","state":"{state}""#)?;
        // Names of fields and quotes are no part of the size that is meant.
        let used = out.len() - begin - 90;
        self.rest(used, PERSON_BYTES, at_ms, draw, out)?;
        out.push_str(r#"},"auction":null,"bid":null"#);
        Ok(())
    }

    fn auction(&mut self, number: u64, at_ms: i64, draw: &mut Draw, out: &mut String) -> Result {
        let id = FIRST_AUCTION + auctions(number) - 1;
        let persons = persons(number);
        let seller = match draw.below(HOT_PERSON_OF) {
            0 => active_person(persons, draw),
            _ => (persons - 1) / HOT_EVERY * HOT_EVERY,
        };
        let category = FIRST_CATEGORY + draw.below(CATEGORIES);
        let first_bid = price(draw);
        let reserve = first_bid + price(draw);
        // As long, on average, as it takes until the auctions that are open now are all followed by others.
        let horizon_ms = OPEN_AUCTIONS * GROUP / AUCTIONS / EVENTS_PER_MS;
        let expires = self.expires.of(at_ms + 1 + draw.below(2 * horizon_ms) as i64);
        write!(out, r#"{{"event_type":1,"person":null,"auction":{{"id":{id},"itemName":""#)?;
        let begin = out.len();
        let (name, description) = (3 + draw.below(17), 3 + draw.below(97));
        write_letters(draw, name as usize, out);
        out.push_str(r#"","description":""#);
        write_letters(draw, description as usize, out);
        let used = out.len() - begin - r#"","description":""#.len() + 6 * NUMBER_BYTES;
        write!(
            out,
            r#"","initialBid":{first_bid},"reserve":{reserve},"expires":"{expires}","seller":{},"category":{category}"#,
            FIRST_PERSON + seller
        )?;
        self.rest(used, AUCTION_BYTES, at_ms, draw, out)?;
        out.push_str(r#"},"bid":null"#);
        Ok(())
    }

    fn bid(&mut self, number: u64, at_ms: i64, draw: &mut Draw, out: &mut String) -> Result {
        let (persons, auctions) = (persons(number), auctions(number));
        let auction = match draw.below(HOT_AUCTION_OF) {
            0 => {
                let oldest = (auctions - 1).saturating_sub(OPEN_AUCTIONS);
                oldest + draw.below(auctions - oldest + LEAD)
            }
            _ => (auctions - 1) / HOT_EVERY * HOT_EVERY,
        };
        // The one beside the hot seller.
        let bidder = match draw.below(HOT_PERSON_OF) {
            0 => active_person(persons, draw),
            _ => (persons - 1) / HOT_EVERY * HOT_EVERY + 1,
        };
        let (auction, bidder, price) = (FIRST_AUCTION + auction, FIRST_PERSON + bidder, price(draw));
        let channel = Channel::draw(draw);
        write!(
            out,
            r#"{{"event_type":2,"person":null,"auction":null,"bid":{{"auction":{auction},"bidder":{bidder},"price":{price},"channel":"{channel}","url":""#
        )?;
        write_url(channel, out)?;
        out.push('"');
        self.rest(4 * NUMBER_BYTES, BID_BYTES, at_ms, draw, out)?;
        out.push('}');
        Ok(())
    }

    /// The time, and letters that bring a record from `used` to its size, a fifth more or less.
    fn rest(&mut self, used: usize, size: usize, at_ms: i64, draw: &mut Draw, out: &mut String) -> Result {
        self.extra.clear();
        let missing = size.saturating_sub(used) as u64;
        let spread = (missing + 2) / 5;
        let letters = missing - spread + draw.below(2 * spread + 1);
        write_letters(draw, letters as usize, &mut self.extra);
        write!(out, r#","dateTime":"{}","extra":"{}""#, self.at.of(at_ms), self.extra)
    }
}

fn time_ms(number: u64) -> i64 {
    FIRST_MS + (number / EVENTS_PER_MS) as i64
}

/// Persons up to this event, itself included.
fn persons(number: u64) -> u64 {
    number / GROUP * PERSONS + (number % GROUP + 1).min(PERSONS)
}

/// The same for auctions; before the first there is none, and none is asked for.
fn auctions(number: u64) -> u64 {
    number / GROUP * AUCTIONS + (number % GROUP + 1).saturating_sub(PERSONS).min(AUCTIONS)
}

/// From 0: one of the newest, or one of the next to come.
fn active_person(persons: u64, draw: &mut Draw) -> u64 {
    let active = persons.min(ACTIVE_PERSONS);
    persons - active + draw.below(active + LEAD)
}

/// In cents: as many between 1 and 10 dollars as between 10 and 100, up to a million.
fn price(draw: &mut Draw) -> u64 {
    let share = (draw.word() >> 11) as f64 / (1_u64 << 53) as f64;
    (10_f64.powf(share * 6.0) * 100.0).round() as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;

    use super::*;

    const EVENTS: u64 = 20_000;

    fn event(number: u64) -> Value {
        let mut text = String::new();
        Generator::default().write(number, &mut text).expect("strings take all");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn share(of: &[Value], wanted: impl Fn(&Value) -> bool) -> f64 {
        of.iter().filter(|one| wanted(one)).count() as f64 / of.len() as f64
    }

    fn most(values: &[Value], field: &str) -> f64 {
        let mut counts: HashMap<i64, usize> = HashMap::new();
        for value in values {
            *counts.entry(value[field].as_i64().expect("a number")).or_default() += 1;
        }
        *counts.values().max().expect("some") as f64 / values.len() as f64
    }

    #[test]
    fn an_event_is_a_function_of_its_number() {
        let mut generator = Generator::default();
        let (mut one, mut other) = (String::new(), String::new());
        for number in (0..1_000).chain([777_777_777]) {
            one.clear();
            other.clear();
            generator.write(number, &mut one).expect("strings take all");
            Generator::default().write(number, &mut other).expect("strings take all");
            assert_eq!(one, other);
        }
    }

    #[test]
    fn of_fifty_events_one_is_a_person_three_are_auctions_and_the_rest_bids() {
        let events: Vec<Value> = (0..EVENTS).map(event).collect();
        let of = |kind: u64, field: &str| {
            let of_kind = events.iter().filter(|event| event["event_type"] == kind);
            of_kind.map(|event| event[field].clone()).collect::<Vec<_>>()
        };
        let (persons, auctions, bids) = (of(0, "person"), of(1, "auction"), of(2, "bid"));
        assert_eq!((persons.len(), auctions.len(), bids.len()), (400, 1_200, 18_400));
        for (kind, rows) in [("person", &persons), ("auction", &auctions)] {
            let ids: Vec<_> = rows.iter().map(|row| row["id"].as_u64().expect("an id")).collect();
            assert!(ids.iter().copied().eq(1_000..1_000 + ids.len() as u64), "{kind}: ids have no gap");
        }
        // Half of the bids are on hot auctions, one hundredth of the auctions at a time; the like for persons.
        let hot = share(&bids, |bid| bid["auction"].as_u64().is_some_and(|id| id % 100 == 0));
        assert!((0.48..0.54).contains(&hot), "{hot}");
        let hot = share(&bids, |bid| bid["bidder"].as_u64().is_some_and(|id| id % 100 == 1));
        assert!((0.73..0.79).contains(&hot), "{hot}");
        let hot = share(&auctions, |auction| auction["seller"].as_u64().is_some_and(|id| id % 100 == 0));
        assert!((0.71..0.80).contains(&hot), "{hot}");
        assert!(most(&bids, "bidder") < 0.3, "a hot bidder is hot for a quarter of these events");
        let cheap = share(&bids, |bid| bid["price"].as_u64().is_some_and(|price| price < 10_000));
        assert!((0.31..0.36).contains(&cheap), "{cheap}");
        let known = share(&bids, |bid| !bid["channel"].as_str().expect("a channel").starts_with("channel-"));
        assert!((0.48..0.52).contains(&known), "{known}");
        for rows in [&persons, &auctions, &bids] {
            assert!(rows.iter().all(|row| row["dateTime"].is_string()));
        }
    }

    #[test]
    fn event_time_rises_and_the_record_of_an_event_has_its_size() {
        let events: Vec<Value> = (0..2_000).map(event).collect();
        let times: Vec<_> = events.iter().map(|event| event["dateTime"].as_str().expect("a time")).collect();
        assert!(times.is_sorted());
        assert_eq!((times[0], times[1_999]), ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.199Z"));
        for event in &events {
            let inner = ["person", "auction", "bid"].map(|name| &event[name]);
            let there: Vec<_> = inner.iter().filter(|one| one.is_object()).collect();
            assert_eq!(there.len(), 1, "{event}");
            assert_eq!(there[0]["dateTime"], event["dateTime"]);
        }
        let extra = |kind: &str| {
            let sizes: Vec<_> = events.iter().filter_map(|event| event[kind]["extra"].as_str()).map(str::len).collect();
            sizes.iter().sum::<usize>() / sizes.len()
        };
        assert!((60..76).contains(&extra("bid")), "{}", extra("bid"));
        assert!((360..420).contains(&extra("auction")), "{}", extra("auction"));
        let mut closing = String::new();
        Generator::default().write_closing(600_000, &mut closing).expect("strings take all");
        assert!(closing.contains("2026-01-01T00:31:00.000Z"), "{closing}");
    }
}
