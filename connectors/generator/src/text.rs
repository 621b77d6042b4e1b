//! Numbers, times and identifiers as text, written by hand into one reused buffer: formatting
//! through `fmt` costs several times the rest of a record.

const DAY_US: i64 = 86_400_000_000;
/// 9999-12-31T23:59:59.999Z: the last time that has four digits for the year.
pub(crate) const TIME_MAX_US: i64 = 253_402_300_799_999_000;
/// 0000-01-01T00:00:00Z.
pub(crate) const TIME_MIN_US: i64 = -62_167_219_200_000_000;
const HEX: &[u8; 16] = b"0123456789abcdef";

pub(crate) fn integer(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

pub(crate) fn signed(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `units / 10^decimals` with all its decimals.
pub(crate) fn decimal(out: &mut Vec<u8>, units: u64, decimals: u32) {
    let scale = 10u64.pow(decimals);
    integer(out, units / scale);
    if decimals > 0 {
        out.push(b'.');
        padded(out, units % scale, decimals);
    }
}

/// A UUID of version 4 from 128 random bits.
pub(crate) fn uuid(out: &mut Vec<u8>, high: u64, low: u64) {
    let high = (high & !0xF000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    hex(out, high >> 32, 8);
    out.push(b'-');
    hex(out, high >> 16, 4);
    out.push(b'-');
    hex(out, high, 4);
    out.push(b'-');
    hex(out, low >> 48, 4);
    out.push(b'-');
    hex(out, low, 12);
}

/// The lowest `digits` hexadecimal digits.
pub(crate) fn hex(out: &mut Vec<u8>, word: u64, digits: u32) {
    for digit in (0..digits).rev() {
        out.push(HEX[(word >> (digit * 4)) as usize & 0xF]);
    }
}

/// `2026-01-01`. Times outside the years 0 to 9999 become the nearest one inside.
pub(crate) fn date(out: &mut Vec<u8>, time_us: i64) {
    let (year, month, day) = civil(time_us.clamp(TIME_MIN_US, TIME_MAX_US).div_euclid(DAY_US));
    padded(out, year, 4);
    out.push(b'-');
    padded(out, month, 2);
    out.push(b'-');
    padded(out, day, 2);
}

/// `2026-01-01T00:00:00.000`, in UTC, without the zone.
pub(crate) fn timestamp(out: &mut Vec<u8>, time_us: i64) {
    let time_us = time_us.clamp(TIME_MIN_US, TIME_MAX_US);
    date(out, time_us);
    let ms = (time_us.rem_euclid(DAY_US) / 1_000) as u64;
    out.push(b'T');
    padded(out, ms / 3_600_000, 2);
    out.push(b':');
    padded(out, ms / 60_000 % 60, 2);
    out.push(b':');
    padded(out, ms / 1_000 % 60, 2);
    out.push(b'.');
    padded(out, ms % 1_000, 3);
}

fn padded(out: &mut Vec<u8>, number: u64, digits: u32) {
    let mut scale = 10u64.pow(digits - 1);
    for _ in 0..digits {
        out.push(b'0' + (number / scale % 10) as u8);
        scale = (scale / 10).max(1);
    }
}

/// Year, month and day of a day counted from 1970, in the proleptic Gregorian calendar. Years are
/// counted from March here, so that the leap day is the last one of its year.
fn civil(day: i64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year.unsigned_abs(), month.unsigned_abs(), day_of_month.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("only ASCII is written")
    }

    #[test]
    fn times_are_written_as_chrono_writes_them() {
        let edges = [TIME_MIN_US, -1, 0, 951_782_399_999_000, 951_868_800_000_000, 1_767_225_600_123_456, TIME_MAX_US];
        let spread = (0..5_000).map(|i| TIME_MIN_US + i * 63_113_904_000_000 / 1_000 * 997);
        for time_us in edges.into_iter().chain(spread).filter(|time| *time <= TIME_MAX_US) {
            let expected =
                chrono::DateTime::from_timestamp_micros(time_us).expect("in range").format("%Y-%m-%dT%H:%M:%S%.3f");
            assert_eq!(written(|out| timestamp(out, time_us)), expected.to_string(), "{time_us}");
        }
    }

    #[test]
    fn times_beyond_four_digit_years_are_the_last_one() {
        assert_eq!(written(|out| timestamp(out, i64::MAX)), "9999-12-31T23:59:59.999");
    }

    #[test]
    fn decimals_keep_their_zeros() {
        assert_eq!(written(|out| decimal(out, 1_205, 2)), "12.05");
        assert_eq!(written(|out| decimal(out, 7, 4)), "0.0007");
        assert_eq!(written(|out| decimal(out, 42, 0)), "42");
        assert_eq!(written(|out| integer(out, u64::MAX)), "18446744073709551615");
    }

    #[test]
    fn uuids_carry_version_and_variant() {
        assert_eq!(written(|out| uuid(out, u64::MAX, u64::MAX)), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(written(|out| uuid(out, 0, 0)), "00000000-0000-4000-8000-000000000000");
    }
}
