//! Files and manifests that nothing needs any more, and when they may go.
//!
//! Manifests stay for a time: an instance that slept must still find its number taken when it wakes. Files stay for a
//! shorter one: whoever reads an epoch finds its files until it has read them.

use std::{collections::VecDeque, ops::Range, time::Duration};

/// Manifests deleted in one go, at the most.
const MANIFESTS_MAX: u64 = 1_000;
/// Epochs of one such time are kept as long as the last of them.
const MARK_US: i64 = 1_000_000;

/// To be deleted now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Old {
    pub(crate) files: Vec<String>,
    pub(crate) manifests: Range<u64>,
}

/// Times are of a clock that never goes back.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    /// Since when nobody needs them.
    files: VecDeque<(i64, Vec<String>)>,
    /// When an epoch was durable.
    marks: VecDeque<(i64, u64)>,
    /// The oldest manifest that has not been deleted.
    oldest: u64,
    /// Those below may go.
    free: u64,
}

impl Retired {
    /// Manifests from `oldest` on are there, all of them from before now.
    pub(crate) fn since(oldest: u64) -> Self {
        Self { oldest, free: oldest, ..Self::default() }
    }

    pub(crate) fn add_files(&mut self, now_us: i64, files: Vec<String>) {
        if !files.is_empty() {
            self.files.push_back((now_us, files));
        }
    }

    /// The epoch is durable, and so are all before it.
    pub(crate) fn durable(&mut self, now_us: i64, epoch: u64) {
        match self.marks.back_mut() {
            Some(mark) if mark.0 / MARK_US == now_us / MARK_US => *mark = (now_us, epoch),
            Some(_) | None => self.marks.push_back((now_us, epoch)),
        }
    }

    /// Gives up what has been kept for long enough. The manifest of `newest` stays, whatever its age.
    pub(crate) fn take_due(
        &mut self,
        now_us: i64,
        newest: u64,
        (files_kept, manifests_kept): (Duration, Duration),
    ) -> Option<Old> {
        let passed = |at_us: i64, kept: Duration| now_us.saturating_sub(at_us) >= micros(kept);
        let mut files = Vec::new();
        while let Some((_, due)) = self.files.pop_front_if(|(at_us, _)| passed(*at_us, files_kept)) {
            files.extend(due);
        }
        while let Some((_, epoch)) = self.marks.pop_front_if(|(at_us, _)| passed(*at_us, manifests_kept)) {
            self.free = self.free.max(epoch + 1);
        }
        let end = self.free.min(newest).min(self.oldest.saturating_add(MANIFESTS_MAX)).max(self.oldest);
        let manifests = self.oldest..end;
        self.oldest = end;
        (!files.is_empty() || !manifests.is_empty()).then_some(Old { files, manifests })
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: i64 = 1_000_000;
    const KEPT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));

    fn old(files: &[&str], manifests: Range<u64>) -> Option<Old> {
        Some(Old { files: files.iter().map(|file| (*file).to_owned()).collect(), manifests })
    }

    #[test]
    fn files_stay_a_minute_and_manifests_ten() {
        let mut retired = Retired::since(5);
        for epoch in 5..=20_u64 {
            let now_us = (epoch as i64 - 5) * 60 * SECOND_US;
            retired.durable(now_us, epoch);
            retired.add_files(now_us, vec![format!("{epoch}")]);
            let expected = match epoch {
                5 => None,
                6..15 => old(&[&format!("{}", epoch - 1)], 5..5),
                _ => old(&[&format!("{}", epoch - 1)], epoch - 10..epoch - 9),
            };
            assert_eq!(retired.take_due(now_us, epoch, KEPT), expected, "{epoch}");
        }
    }

    #[test]
    fn many_epochs_in_a_second_stay_as_long_as_the_last_of_them() {
        let mut retired = Retired::since(1);
        for epoch in 1..=5_000 {
            retired.durable(epoch, epoch.unsigned_abs());
        }
        assert_eq!(retired.take_due(600 * SECOND_US, 5_000, KEPT), None, "5 ms too early");
        let now_us = 600 * SECOND_US + 5_000;
        for part in 0..4 {
            let from = part * MANIFESTS_MAX + 1;
            assert_eq!(retired.take_due(now_us, 5_000, KEPT), old(&[], from..from + MANIFESTS_MAX));
        }
        assert_eq!(retired.take_due(now_us, 5_000, KEPT), old(&[], 4_001..5_000), "the newest stays");
        assert_eq!(retired.take_due(now_us, 5_000, KEPT), None);
        retired.durable(now_us, 5_001);
        assert_eq!(retired.take_due(now_us, 5_001, KEPT), old(&[], 5_000..5_001), "until there is a newer one");
    }

    #[test]
    fn an_epoch_that_is_the_newest_for_long_stays() {
        let mut retired = Retired::since(7);
        retired.durable(0, 7);
        assert_eq!(retired.take_due(i64::MAX, 7, KEPT), None);
        assert_eq!(retired.take_due(i64::MAX, 8, KEPT), old(&[], 7..8));
    }
}
