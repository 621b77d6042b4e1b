//! Samples that wait to be sent, by series.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::{
    names::Labels,
    proto::{Label, Sample, TimeSeries},
};

/// Which of several values of one series and time stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SameTime {
    /// As outside, where a sample is never replaced; another value is one that is refused.
    FirstStays,
    /// The time is that of writing, and what was written last holds from then on.
    LastStays,
}

/// Beside its strings: tags and lengths of a label, and a whole sample.
const LABEL_BYTES: usize = 6;
const SAMPLE_BYTES: usize = 20;

#[derive(Debug, Default)]
pub(crate) struct Samples {
    series: BTreeMap<Labels, Vec<Sample>>,
    samples: usize,
    bytes: usize,
}

impl Samples {
    pub(crate) fn push(&mut self, labels: Labels, timestamp: i64, value: f64) {
        // Prometheus takes one certain NaN for "this series has ended", which no row is to say by its bits.
        let value = if value.is_nan() { f64::NAN } else { value };
        let samples = match self.series.entry(labels) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let labels = entry.key().iter();
                self.bytes += labels.map(|(name, value)| name.len() + value.len() + LABEL_BYTES).sum::<usize>();
                entry.insert(Vec::new())
            }
        };
        samples.push(Sample { value, timestamp });
        self.samples += 1;
        self.bytes += SAMPLE_BYTES;
    }

    pub(crate) fn len(&self) -> usize {
        self.samples
    }

    /// About, and not compressed.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// All of them, each series in time order and with one sample a time, as Prometheus would drop others from within a
    /// request without a word; and how many are refused by that.
    pub(crate) fn take(&mut self, same_time: SameTime) -> (Vec<TimeSeries>, u64) {
        let mut conflicts = 0;
        let series = std::mem::take(self).series.into_iter().map(|(labels, mut samples)| {
            samples.sort_by_key(|sample| sample.timestamp);
            samples.dedup_by(|next, kept| {
                let same = next.timestamp == kept.timestamp;
                match same_time {
                    SameTime::FirstStays => {
                        conflicts += u64::from(same && next.value.to_bits() != kept.value.to_bits());
                    }
                    SameTime::LastStays if same => kept.value = next.value,
                    SameTime::LastStays => {}
                }
                same
            });
            let labels = labels.into_iter().map(|(name, value)| Label { name, value }).collect();
            TimeSeries { labels, samples }
        });
        (series.collect(), conflicts)
    }
}

/// The number of samples.
pub(crate) fn count(series: &[TimeSeries]) -> u64 {
    series.iter().map(|one| one.samples.len() as u64).sum()
}

/// Takes the latter half away, whole series where there are several; none where there is but one sample. What is
/// left is to be sent first: it has the older samples of a series.
pub(crate) fn split(series: &mut Vec<TimeSeries>) -> Option<Vec<TimeSeries>> {
    if series.len() > 1 {
        return Some(series.split_off(series.len() / 2));
    }
    let only = series.first_mut().filter(|only| only.samples.len() > 1)?;
    let samples = only.samples.split_off(only.samples.len() / 2);
    Some(vec![TimeSeries { labels: only.labels.clone(), samples }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(host: &str) -> Labels {
        vec![("__name__".to_owned(), "up".to_owned()), ("host".to_owned(), host.to_owned())]
    }

    fn shape(series: &[TimeSeries]) -> Vec<Vec<i64>> {
        series.iter().map(|one| one.samples.iter().map(|sample| sample.timestamp).collect()).collect()
    }

    #[test]
    fn samples_of_a_series_stand_together_in_time_order() {
        let mut samples = Samples::default();
        for (host, at) in [("b", 3), ("a", 2), ("b", 1), ("a", 1)] {
            samples.push(labels(host), at, 1.0);
        }
        assert_eq!(samples.len(), 4);
        let (series, conflicts) = samples.take(SameTime::FirstStays);
        assert_eq!((shape(&series), conflicts), (vec![vec![1, 2], vec![1, 3]], 0));
        assert_eq!((samples.len(), samples.bytes()), (0, 0));
    }

    #[test]
    fn the_first_value_of_a_time_stays_and_another_one_is_counted() {
        let mut samples = Samples::default();
        for value in [1.0, 1.0, 2.0] {
            samples.push(labels("a"), 5, value);
        }
        samples.push(labels("nan"), 5, f64::NAN);
        samples.push(labels("nan"), 5, f64::from_bits(0x7ff0_0000_0000_0002));
        let (series, conflicts) = samples.take(SameTime::FirstStays);
        assert_eq!(conflicts, 1, "the same value again is no other, and neither is NaN");
        assert_eq!(series[0].samples, [Sample { value: 1.0, timestamp: 5 }]);
        assert_eq!(series[1].samples[0].value.to_bits(), f64::NAN.to_bits(), "no row says that a series has ended");
    }

    #[test]
    fn of_what_is_written_at_one_time_the_last_value_stays() {
        let mut samples = Samples::default();
        for (at, value) in [(5, 1.0), (5, 3.0), (5, 2.0), (6, 7.0)] {
            samples.push(labels("a"), at, value);
        }
        let (series, conflicts) = samples.take(SameTime::LastStays);
        assert_eq!(conflicts, 0, "none of them is refused");
        assert_eq!(series[0].samples, [Sample { value: 2.0, timestamp: 5 }, Sample { value: 7.0, timestamp: 6 }]);
    }

    #[test]
    fn halves_come_down_to_each_sample_alone_the_older_first() {
        let mut samples = Samples::default();
        for (host, at) in [("a", 1), ("a", 2), ("a", 3), ("b", 1)] {
            samples.push(labels(host), at, 1.0);
        }
        let (mut left, mut alone) = (vec![samples.take(SameTime::FirstStays).0], Vec::new());
        while let Some(mut series) = left.pop() {
            match split(&mut series) {
                Some(latter) => left.extend([latter, series]),
                None => alone.push((series[0].labels[1].value.clone(), series[0].samples[0].timestamp)),
            }
        }
        let expected = [("a", 1), ("a", 2), ("a", 3), ("b", 1)].map(|(host, at)| (host.to_owned(), at));
        assert_eq!(alone, expected);
    }

    #[test]
    fn the_bytes_that_are_counted_are_about_those_of_the_message() {
        let mut samples = Samples::default();
        for at in 0..1_000 {
            samples.push(labels(&format!("host-{}", at % 10)), 1_700_000_000_000 + at, 0.5);
        }
        let counted = samples.bytes();
        let message = crate::proto::WriteRequest { timeseries: samples.take(SameTime::FirstStays).0 };
        let real = prost::Message::encoded_len(&message);
        assert!((real..real * 3 / 2).contains(&counted), "{counted} counted, {real} sent");
    }
}
