//! Slows down whoever guesses passwords: after some failures in a row the attempts from an address take turns, each later
//! than the one before. Many connections at once do not help, as they wait for the same turns.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Failures in a row that cost nothing: people mistype.
const FREE: u32 = 5;
const FIRST: Duration = Duration::from_millis(250);
const MOST: Duration = Duration::from_secs(8);
/// After this time without a failure all is forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// Turns are given this far ahead. Whoever comes later waits for none, and is hung up on.
const AHEAD: Duration = Duration::from_secs(60);
/// Longer than anybody has until he is let in.
const NEVER: Duration = Duration::from_secs(24 * 3_600);
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
    /// Nobody's turn is before.
    next: Instant,
}

impl Failures {
    fn pause(&self) -> Duration {
        match self.count.checked_sub(FREE) {
            Some(beyond) => FIRST.saturating_mul(1_u32.checked_shl(beyond).unwrap_or(u32::MAX)).min(MOST),
            None => Duration::ZERO,
        }
    }

    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last.max(self.next)) >= FORGET
    }
}

#[derive(Debug, Default)]
pub(super) struct Delays(Mutex<HashMap<IpAddr, Failures>>);

impl Delays {
    /// Takes the next turn of the address; gives how long it is until then.
    pub(super) fn turn(&self, from: IpAddr, now: Instant) -> Duration {
        let mut all = self.0.lock();
        let Some(failures) = all.get_mut(&network(from)) else { return Duration::ZERO };
        let pause = failures.pause();
        if pause.is_zero() || failures.is_old(now) {
            return Duration::ZERO;
        }
        let turn = failures.next.max(now) + pause;
        if turn.saturating_duration_since(now) > AHEAD {
            return NEVER;
        }
        failures.next = turn;
        turn.saturating_duration_since(now)
    }

    pub(super) fn failed(&self, from: IpAddr, now: Instant) {
        let mut all = self.0.lock();
        let network = network(from);
        if all.len() >= ADDRESSES_MAX && !all.contains_key(&network) {
            all.retain(|_, failures| !failures.is_old(now));
            let oldest = all.iter().min_by_key(|(_, failures)| failures.last).map(|(network, _)| *network);
            if let Some(oldest) = oldest.filter(|_| all.len() >= ADDRESSES_MAX) {
                all.remove(&oldest);
            }
        }
        let failures = all.entry(network).or_insert(Failures { count: 0, last: now, next: now });
        if failures.is_old(now) {
            *failures = Failures { count: 0, last: now, next: now };
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    pub(super) fn succeeded(&self, from: IpAddr) {
        self.0.lock().remove(&network(from));
    }
}

/// One of IPv6 has as many addresses as it likes within its network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use ebap_connector::time::instant;

    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn attempts_after_failures_take_turns() {
        let (delays, now) = (Delays::default(), instant());
        let fail = |times: u32| (0..times).for_each(|_| delays.failed(A, now));
        fail(FREE - 1);
        assert_eq!(delays.turn(A, now), Duration::ZERO);
        fail(1);
        let turns = [1, 2, 3].map(|_| delays.turn(A, now).as_millis());
        assert_eq!(turns, [250, 500, 750], "those that come at once wait for each other");
        assert_eq!(delays.turn(B, now), Duration::ZERO);
        fail(100);
        assert_eq!(delays.turn(A, now + Duration::from_secs(60)), MOST);
        delays.succeeded(A);
        assert_eq!(delays.turn(A, now), Duration::ZERO);
    }

    #[test]
    fn whoever_fills_the_turns_fills_a_minute_of_them() {
        let (delays, now) = (Delays::default(), instant());
        (0..100).for_each(|_| delays.failed(A, now));
        let given = (0..1_000).map(|_| delays.turn(A, now)).filter(|turn| *turn <= AHEAD).count();
        assert_eq!(given, 7, "of eight seconds each");
        assert_eq!(delays.turn(A, now + AHEAD), MOST, "a minute later all of them are over");
    }

    #[test]
    fn failures_are_forgotten_and_the_table_is_bounded() {
        let (delays, now) = (Delays::default(), instant());
        (0..20).for_each(|_| delays.failed(A, now));
        assert_eq!(delays.turn(A, now + FORGET), Duration::ZERO);
        for number in 0..u32::try_from(ADDRESSES_MAX).expect("small") + 10 {
            delays.failed(IpAddr::V4(number.into()), now + Duration::from_secs(1));
        }
        assert_eq!(delays.0.lock().len(), ADDRESSES_MAX);
        assert_eq!(delays.turn(A, now + Duration::from_secs(1)), Duration::ZERO, "the oldest has gone");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let (delays, now) = (Delays::default(), instant());
        for number in 0..FREE {
            delays.failed(format!("2001:db8::{number}").parse().expect("an address"), now);
        }
        assert_eq!(delays.turn("2001:db8::ffff".parse().expect("an address"), now), FIRST);
        assert_eq!(delays.turn("2001:db8:0:1::1".parse().expect("an address"), now), Duration::ZERO);
    }
}
