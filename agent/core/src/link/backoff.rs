//! How long a lost link waits before the next try. Herd-safe: ten thousand agents whose server restarts must not come
//! back in one second, so every wait is drawn from zero to a ceiling that doubles ("full jitter"), and whatever a peer asks
//! for has chance on top of it. `tests/sim/fleet.rs` shows what such a fleet does to its server.

use std::time::Duration;

use serde::Serialize;

use crate::config::client::Reconnect;
use crate::link::protocol::RefusalKind;
use crate::seed::Seed;

/// Close code 1012 asks for a random wait of 5 to 30 s (IANA WebSocket close code registry).
const RESTART_MIN: Duration = Duration::from_secs(5);
const RESTART_MAX: Duration = Duration::from_secs(30);

/// What the loss of a stable connection counts for, in failures. Those who lose a stable connection at one moment may be a
/// whole fleet, and spread over 8 times `min`; a connection that never proved itself is one's own affair.
pub const STABLE_LOST: u32 = 3;

/// Why there is a next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The connection broke.
    Lost,
    /// It could not be made.
    Refused(RefusalKind),
    /// The peer closed with 1012 (service restart) or 1013 (try again later).
    Restarting,
    /// Another client of the same id took the session over: the two would push each other off for ever.
    TakenOver,
}

/// Why the wait before the next try is as long as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitReason {
    /// Each failure doubles the bound of the wait.
    BackOff,
    /// `reconnect.interval` is set.
    Interval,
    /// The peer refuses the login; half of `reconnect.max` at the least.
    Login,
    /// The peer said how long, by `Retry-After`.
    RetryAfter,
    /// The peer asks for time and does not say how much.
    Busy,
    /// The peer said that it restarts.
    Restarting,
    /// Another client uses the same id.
    SameId,
    /// Another url of the link is ready to be tried.
    NextUrl,
}

impl WaitReason {
    /// Why the wait after this cause is as long as it is.
    pub fn of(cause: Cause, has_interval: bool) -> WaitReason {
        match cause {
            Cause::Refused(RefusalKind::Busy { retry_after: Some(_) }) => WaitReason::RetryAfter,
            _ if has_interval => WaitReason::Interval,
            Cause::Lost | Cause::Refused(RefusalKind::Retry) => WaitReason::BackOff,
            Cause::Refused(RefusalKind::Unauthorized) => WaitReason::Login,
            Cause::Refused(RefusalKind::Busy { retry_after: None }) => WaitReason::Busy,
            Cause::Restarting => WaitReason::Restarting,
            Cause::TakenOver => WaitReason::SameId,
        }
    }

    /// In a word: `retry-after`.
    pub fn word(self) -> &'static str {
        match self {
            WaitReason::BackOff => "back-off",
            WaitReason::Interval => "interval",
            WaitReason::Login => "login",
            WaitReason::RetryAfter => "retry-after",
            WaitReason::Busy => "busy",
            WaitReason::Restarting => "restarting",
            WaitReason::SameId => "same-id",
            WaitReason::NextUrl => "next-url",
        }
    }
}

/// The wait before the try that follows `failures` earlier failures in a row.
pub fn delay(reconnect: &Reconnect, failures: u32, cause: Cause, seed: &mut Seed) -> Duration {
    let ceiling = ceiling(reconnect, failures);
    match cause {
        Cause::Lost | Cause::Refused(RefusalKind::Retry) => seed.up_to(ceiling),
        Cause::Refused(RefusalKind::Unauthorized) | Cause::TakenOver => {
            reconnect.max / 2 + seed.up_to(reconnect.max / 2)
        }
        Cause::Refused(RefusalKind::Busy { retry_after: Some(asked) }) => {
            // All who were refused in one second were told the same.
            let asked = asked.min(reconnect.max);
            asked + seed.up_to(ceiling.max(asked / 2).min(reconnect.max / 2))
        }
        Cause::Refused(RefusalKind::Busy { retry_after: None }) => {
            seed.up_to(ceiling.saturating_mul(2).min(reconnect.max))
        }
        Cause::Restarting => {
            let least = RESTART_MIN.min(reconnect.max / 2);
            least + seed.up_to(RESTART_MAX.max(ceiling).min(reconnect.max) - least)
        }
    }
}

/// The same between tries at a fixed interval: `first` spreads those who lost one server together, and they stay so. A peer that
/// asks for time is believed up to `max` and the interval.
pub fn fixed(interval: Duration, max: Duration, first: bool, cause: Cause, seed: &mut Seed) -> Duration {
    match cause {
        Cause::Refused(RefusalKind::Busy { retry_after: Some(asked) }) => {
            asked.min(max.max(interval)) + seed.up_to(interval)
        }
        Cause::Lost | Cause::Refused(_) | Cause::Restarting | Cause::TakenOver => {
            if first {
                seed.up_to(interval)
            } else {
                interval
            }
        }
    }
}

fn ceiling(reconnect: &Reconnect, failures: u32) -> Duration {
    reconnect.min.saturating_mul(1 << failures.min(20)).min(reconnect.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECONNECT: Reconnect = Reconnect {
        active: true,
        interval: None,
        min: Duration::from_secs(1),
        max: Duration::from_secs(300),
        stable_after: Duration::from_secs(60),
    };

    fn extremes(failures: u32, cause: Cause) -> (Duration, Duration) {
        let mut seed = Seed::new(42);
        let drawn: Vec<_> = (0..2000).map(|_| delay(&RECONNECT, failures, cause, &mut seed)).collect();
        (*drawn.iter().min().expect("drawn"), *drawn.iter().max().expect("drawn"))
    }

    fn busy(retry_after_s: Option<u64>) -> Cause {
        Cause::Refused(RefusalKind::Busy { retry_after: retry_after_s.map(Duration::from_secs) })
    }

    #[test]
    fn the_first_retry_is_spread_from_zero_to_min() {
        let (least, most) = extremes(0, Cause::Lost);
        assert!(least < Duration::from_millis(10), "{least:?}");
        assert!(most > Duration::from_millis(990) && most <= RECONNECT.min, "{most:?}");
    }

    #[test]
    fn the_ceiling_doubles_with_each_failure_and_ends_at_max() {
        assert!(extremes(3, Cause::Lost).1 <= Duration::from_secs(8));
        assert!(extremes(3, Cause::Lost).1 > Duration::from_secs(7));
        assert!(extremes(31, Cause::Lost).1 <= RECONNECT.max);
    }

    #[test]
    fn a_peer_that_names_a_time_is_not_asked_earlier() {
        assert!(extremes(0, busy(Some(7))).0 >= Duration::from_secs(7));
    }

    #[test]
    fn a_peer_that_asks_for_a_day_or_for_ever_is_believed_up_to_max_and_half_as_long_more() {
        for asked in [86_400, u64::MAX] {
            for failures in [0, 31] {
                let (least, most) = extremes(failures, busy(Some(asked)));
                assert!(least >= RECONNECT.max && most <= RECONNECT.max * 3 / 2, "{least:?} {most:?}");
                assert!(most - least > RECONNECT.max / 3, "{least:?} {most:?}");
            }
            let (interval, mut seed) = (Duration::from_secs(10), Seed::new(42));
            let wait = fixed(interval, RECONNECT.max, false, busy(Some(asked)), &mut seed);
            assert!(wait >= RECONNECT.max && wait <= RECONNECT.max + interval, "{wait:?}");
        }
    }

    #[test]
    fn all_who_were_told_the_same_time_come_spread_over_half_of_it_or_the_ceiling() {
        let (least, most) = extremes(0, busy(Some(60)));
        assert!(least < Duration::from_secs(61) && most > Duration::from_secs(89), "{least:?} {most:?}");
        let (least, most) = extremes(5, busy(Some(2)));
        assert!(least < Duration::from_secs(3) && most > Duration::from_secs(33), "{least:?} {most:?}");
    }

    #[test]
    fn refused_credentials_wait_at_least_half_of_the_longest_time() {
        assert!(extremes(0, Cause::Refused(RefusalKind::Unauthorized)).0 >= RECONNECT.max / 2);
    }

    #[test]
    fn each_wait_has_its_reason_and_an_interval_gives_way_to_a_time_that_the_peer_names() {
        let reasons = [
            (Cause::Lost, WaitReason::BackOff, WaitReason::Interval),
            (Cause::Refused(RefusalKind::Retry), WaitReason::BackOff, WaitReason::Interval),
            (Cause::Refused(RefusalKind::Unauthorized), WaitReason::Login, WaitReason::Interval),
            (busy(Some(7)), WaitReason::RetryAfter, WaitReason::RetryAfter),
            (busy(None), WaitReason::Busy, WaitReason::Interval),
            (Cause::Restarting, WaitReason::Restarting, WaitReason::Interval),
        ];
        for (cause, drawn, fixed) in reasons {
            assert_eq!((WaitReason::of(cause, false), WaitReason::of(cause, true)), (drawn, fixed));
        }
        for reason in [WaitReason::BackOff, WaitReason::RetryAfter] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.word());
        }
    }

    #[test]
    fn a_restarting_peer_is_given_five_to_thirty_seconds() {
        let (least, most) = extremes(0, Cause::Restarting);
        assert!(least >= RESTART_MIN && most <= RESTART_MAX);
        assert!(most > Duration::from_secs(28));
    }

    #[test]
    fn a_peer_that_says_so_again_and_again_is_given_more_each_time() {
        assert!(extremes(6, Cause::Restarting).1 > Duration::from_secs(60));
        assert!(extremes(31, Cause::Restarting).1 <= RECONNECT.max);
    }

    #[test]
    fn a_restart_is_spread_out_however_short_the_longest_wait_is() {
        for max in [100, 5_000, 10_000].map(Duration::from_millis) {
            let reconnect = Reconnect { min: max, max, ..RECONNECT };
            let mut seed = Seed::new(42);
            let drawn = (0..2000).map(|_| delay(&reconnect, 0, Cause::Restarting, &mut seed));
            let (least, most) = drawn.fold((max, Duration::ZERO), |(a, b), d| (a.min(d), b.max(d)));
            assert!(most <= max && most - least > max / 3, "{max:?}: {least:?} to {most:?}");
        }
    }
}
