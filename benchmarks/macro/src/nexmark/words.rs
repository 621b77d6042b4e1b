//! Names, channels, urls and letters of Nexmark's events.

use std::fmt::{Display, Formatter, Result, Write};

use crate::events::Draw;

pub(super) const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
pub(super) const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
pub(super) const PLACES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
/// q3 asks for half of them.
pub(super) const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];

const KNOWN: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const OTHERS: u64 = 10_000;
/// Letters of each of a url's three directories.
const DIRECTORY: usize = 5;
/// Tells the draws of a channel from those of an event with its number.
const SALT: u64 = 0x6368_616E_6E65_6C00;

/// Where a bid came from: half of them from one of four that q21 knows by name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Channel {
    Known(usize),
    Other(u64),
}

impl Channel {
    pub(super) fn draw(draw: &mut Draw) -> Self {
        match draw.below(2) {
            0 => Self::Other(draw.below(OTHERS)),
            _ => Self::Known(draw.below(KNOWN.len() as u64) as usize),
        }
    }
}

impl Display for Channel {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Known(at) => f.write_str(KNOWN[*at]),
            Self::Other(number) => write!(f, "channel-{number}"),
        }
    }
}

/// A channel has one url. Nine of ten that have no name have an id.
pub(super) fn write_url(channel: Channel, out: &mut String) -> Result {
    let number = match channel {
        Channel::Known(at) => OTHERS + at as u64,
        Channel::Other(number) => number,
    };
    let mut draw = Draw::new(SALT + number);
    out.push_str("https://www.nexmark.com");
    for _ in 0..3 {
        out.push('/');
        write_letters(&mut draw, DIRECTORY, out);
    }
    out.push_str("/item.htm?query=1");
    if matches!(channel, Channel::Other(_)) && draw.below(10) > 0 {
        write!(out, "&channel_id={}", draw.below(1 << 31))?;
    }
    Ok(())
}

/// Twelve letters of one word: 26^12 is below 2^57.
const LETTERS_OF_A_WORD: usize = 12;

pub(super) fn write_letters(draw: &mut Draw, count: usize, out: &mut String) {
    let mut left = count;
    while left > 0 {
        let mut word = draw.word() >> 7;
        for _ in 0..left.min(LETTERS_OF_A_WORD) {
            out.push(char::from(b'a' + (word % 26) as u8));
            word /= 26;
        }
        left = left.saturating_sub(LETTERS_OF_A_WORD);
    }
}
