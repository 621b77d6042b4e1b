//! Points on Earth: "lat,lng" as text, distances along great circles, the nearest of some places.
//!
//! Points are unit vectors while they are compared, so the antimeridian and the poles are places like any other.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int32Array};
use ebap_values::{PgType, Result, ValueError};

use crate::array::{Lists, operand};
use crate::kernel::{Call, Input, Opt};
use crate::registry::{Arg, Book, Returns, Shape};
use crate::values::{Float8, Text};

/// The mean radius of Earth in metres (IUGG).
const RADIUS_M: f64 = 6_371_008.8;

pub(super) fn register(book: &mut Book) {
    book.add::<(Text,), Opt<Float8>>("geo_lat", |(text,)| Ok(parse(text).map(|(lat, _)| lat)));
    book.add::<(Text,), Opt<Float8>>("geo_lng", |(text,)| Ok(parse(text).map(|(_, lng)| lng)));
    book.add::<(Float8, Float8, Float8, Float8), Float8>("geo_distance", |(lat1, lng1, lat2, lng2)| {
        Ok(unit(lat1, lng1)?.angle(unit(lat2, lng2)?) * RADIUS_M)
    });
    let float8 = || Arg::Of(PgType::Float8);
    let floats = || Arg::Of(PgType::Array(Box::new(PgType::Float8)));
    let args = vec![float8(), float8(), floats(), floats()];
    let shape = Shape { args, variadic: None, returns: Returns::Of(PgType::Int4) };
    book.add_body("geo_nearest", shape, Arc::new(nearest));
}

/// Latitude and longitude in degrees of "lat,lng", in square brackets or not. None for every other text and for what
/// lies outside the ranges.
fn parse(text: &str) -> Option<(f64, f64)> {
    let text = text.trim();
    let text = match text.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None => text,
    };
    let (lat, lng) = text.split_once(',')?;
    let (lat, lng) = (degrees(lat)?, degrees(lng)?);
    (lat.abs() <= 90.0 && lng.abs() <= 180.0).then_some((lat, lng))
}

/// A plain decimal number. `f64::from_str` alone would take `inf`, `nan` and exponents too.
fn degrees(text: &str) -> Option<f64> {
    let text = text.trim();
    let is_plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-'));
    let number: f64 = text.parse().ok().filter(|_| is_plain)?;
    // Without the sign of a zero.
    Some(number + 0.0)
}

/// A point on the sphere of radius 1.
#[derive(Clone, Copy, Debug)]
struct Unit([f64; 3]);

impl Unit {
    fn added(self, other: Self, sign: f64) -> f64 {
        self.0.iter().zip(other.0).map(|(a, b)| (a + sign * b) * (a + sign * b)).sum()
    }

    /// The square of the straight distance, which grows with the distance along the sphere.
    fn chord(self, other: Self) -> f64 {
        self.added(other, -1.0)
    }

    /// In radians; precise for points that are close together and for antipodes.
    fn angle(self, other: Self) -> f64 {
        2.0 * self.chord(other).sqrt().atan2(self.added(other, 1.0).sqrt())
    }
}

/// 22003 beyond 90 or 180 degrees, and for NaN.
fn unit(lat: f64, lng: f64) -> Result<Unit> {
    for (name, degrees, limit) in [("latitude", lat, 90.0), ("longitude", lng, 180.0)] {
        let is_within = degrees.abs() <= limit;
        if !is_within {
            let message = format!("{name} {degrees} is out of range: it lies between -{limit} and {limit} degrees");
            return Err(ValueError::new("22003", message));
        }
    }
    let ((sin_lat, cos_lat), (sin_lng, cos_lng)) = (lat.to_radians().sin_cos(), lng.to_radians().sin_cos());
    Ok(Unit([cos_lat * cos_lng, cos_lat * sin_lng, sin_lat]))
}

/// The places that the rows of a call are compared with.
struct Places {
    lats: Lists,
    lngs: Lists,
    lat_values: Float64Array,
    lng_values: Float64Array,
}

impl Places {
    fn new(call: &Call<'_>) -> Result<Self> {
        let (lats, lngs) = (Lists::new(operand(call, 2)?)?, Lists::new(operand(call, 3)?)?);
        let (lat_values, lng_values) = (Float8::column(lats.values())?, Float8::column(lngs.values())?);
        Ok(Self { lats, lngs, lat_values, lng_values })
    }

    /// Those of a row with their numbers, beginning with 1. None where an array is NULL.
    fn of_row(&self, row: usize) -> Result<Option<Vec<(i32, Unit)>>> {
        let (Some(lats), Some(lngs)) = (self.lats.range(row), self.lngs.range(row)) else { return Ok(None) };
        if lats.len() != lngs.len() {
            let message = format!("{} latitudes and {} longitudes are no places", lats.len(), lngs.len());
            return Err(ValueError::new("2202E", message));
        }
        let mut places = Vec::with_capacity(lats.len());
        for (number, (lat, lng)) in (1..).zip(lats.zip(lngs)) {
            if self.lat_values.is_valid(lat) && self.lng_values.is_valid(lng) {
                places.push((number, unit(self.lat_values.value(lat), self.lng_values.value(lng))?));
            }
        }
        Ok(Some(places))
    }
}

fn nearest(call: &Call<'_>) -> Result<ArrayRef> {
    let (lat, lng) = (operand(call, 0)?, operand(call, 1)?);
    let (lats, lngs) = (Float8::column(&lat.array)?, Float8::column(&lng.array)?);
    let places = Places::new(call)?;
    // The usual call has the same places for all rows.
    let same = operand(call, 2)?.constant && operand(call, 3)?.constant;
    let of_all = if same && call.rows > 0 { places.of_row(0)? } else { None };
    let mut numbers = Int32Array::builder(call.rows);
    for row in 0..call.rows {
        let (at_lat, at_lng) = (lat.at(row), lng.at(row));
        if lats.is_null(at_lat) || lngs.is_null(at_lng) {
            numbers.append_null();
            continue;
        }
        let of_row = if same { None } else { places.of_row(row)? };
        let found = match of_all.as_ref().or(of_row.as_ref()) {
            Some(places) => nearest_of(unit(lats.value(at_lat), lngs.value(at_lng))?, places),
            None => None,
        };
        numbers.append_option(found);
    }
    Ok(Arc::new(numbers.finish()))
}

/// The first of those that are equally near.
fn nearest_of(point: Unit, places: &[(i32, Unit)]) -> Option<i32> {
    let distances = places.iter().map(|(number, place)| (*number, point.chord(*place)));
    distances.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kilometres(from: (f64, f64), to: (f64, f64)) -> f64 {
        let point = |(lat, lng)| unit(lat, lng).expect("a point");
        (point(from).angle(point(to)) * RADIUS_M / 100.0).round() / 10.0
    }

    #[test]
    fn distances_are_those_of_a_sphere() {
        let quarter = (RADIUS_M * std::f64::consts::FRAC_PI_2 / 100.0).round() / 10.0;
        for (from, to, wanted) in [
            ((51.5, -0.12), (51.5, -0.12), 0.0),
            ((0.0, 0.0), (0.0, 90.0), quarter),
            ((0.0, 0.0), (0.0, 180.0), 2.0 * quarter),
            ((0.0, 180.0), (0.0, -180.0), 0.0),
            ((0.0, 179.5), (0.0, -179.5), 111.2),
            ((90.0, 17.0), (90.0, -163.0), 0.0),
            ((90.0, 0.0), (-90.0, 0.0), 2.0 * quarter),
            ((89.0, 0.0), (89.0, 180.0), 222.4),
        ] {
            assert!((kilometres(from, to) - wanted).abs() < 0.15, "{from:?} {to:?}: {}", kilometres(from, to));
            assert_eq!(kilometres(from, to).to_bits(), kilometres(to, from).to_bits());
        }
    }

    #[test]
    fn a_metre_is_a_metre() {
        let degrees = 1.0_f64 / RADIUS_M * 180.0 / std::f64::consts::PI;
        let point = |lat| unit(lat, 12.5).expect("a point");
        let metre = point(48.0).angle(point(48.0 + degrees)) * RADIUS_M;
        assert!((metre - 1.0).abs() < 1e-6, "{metre}");
    }

    #[test]
    fn only_two_plain_numbers_within_their_ranges_are_a_point() {
        for (text, wanted) in [
            ("34.05,-118.25", (34.05, -118.25)),
            (" 34.05 , -118.25\t", (34.05, -118.25)),
            ("[34.05, -118.25]", (34.05, -118.25)),
            ("-90,+180", (-90.0, 180.0)),
            ("0.,.5", (0.0, 0.5)),
        ] {
            assert_eq!(parse(text), Some(wanted), "{text}");
        }
        assert!(parse("-0,-0").is_some_and(|(lat, lng)| lat.is_sign_positive() && lng.is_sign_positive()));
        for text in [
            "",
            ",",
            "1",
            "1,",
            ",1",
            "1,2,3",
            "1;2",
            "1 2",
            "[1,2",
            "1,2]",
            "Western Europe",
            "nan,1",
            "1,inf",
            "1e1,2",
            "0x1,2",
            "--1,2",
            "1-1,2",
            "90.0001,0",
            "-91,0",
            "0,180.0001",
            "0,-181",
            "１,２",
            "N1,E2",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
