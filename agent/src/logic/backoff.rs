//! How long a lost link waits before the next try. Herd-safe: ten thousand agents whose server restarts must not come
//! back in one second, so every wait is drawn from zero to a ceiling that doubles ("full jitter").

use std::time::Duration;

use super::port::RefusalKind;
use super::seed::Seed;
use crate::config::client::Reconnect;

/// A peer that asks for more is asked again after this all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Close code 1012 asks for a random wait of 5 to 30 s (IANA WebSocket close code registry).
const RESTART_MIN: Duration = Duration::from_secs(5);
const RESTART_MAX: Duration = Duration::from_secs(30);

/// Why there is a next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The connection broke.
    Lost,
    /// It could not be made.
    Refused(RefusalKind),
    /// The peer closed with 1012 (service restart) or 1013 (try again later).
    Restarting,
}

/// The wait before the try that follows `failures` earlier failures in a row.
pub fn delay(reconnect: &Reconnect, failures: u32, cause: Cause, seed: &mut Seed) -> Duration {
    let ceiling = ceiling(reconnect, failures);
    match cause {
        Cause::Lost | Cause::Refused(RefusalKind::Retry) => seed.up_to(ceiling),
        Cause::Refused(RefusalKind::Unauthorized) => reconnect.max / 2 + seed.up_to(reconnect.max / 2),
        Cause::Refused(RefusalKind::Busy { retry_after: Some(asked) }) => {
            asked.min(RETRY_AFTER_MAX) + seed.up_to(ceiling)
        }
        Cause::Refused(RefusalKind::Busy { retry_after: None }) => {
            seed.up_to(ceiling.saturating_mul(4).min(reconnect.max))
        }
        Cause::Restarting => {
            let least = RESTART_MIN.min(reconnect.max);
            least + seed.up_to(RESTART_MAX.min(reconnect.max) - least)
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
        min: Duration::from_secs(1),
        max: Duration::from_secs(300),
        stable_after: Duration::from_secs(60),
    };

    fn extremes(failures: u32, cause: Cause) -> (Duration, Duration) {
        let mut seed = Seed::new(42);
        let drawn: Vec<_> = (0..2000).map(|_| delay(&RECONNECT, failures, cause, &mut seed)).collect();
        (*drawn.iter().min().expect("drawn"), *drawn.iter().max().expect("drawn"))
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
        let busy = |retry_after| Cause::Refused(RefusalKind::Busy { retry_after });
        assert!(extremes(0, busy(Some(Duration::from_secs(7)))).0 >= Duration::from_secs(7));
        assert!(extremes(0, busy(Some(Duration::from_secs(86_400)))).1 <= Duration::from_secs(3602));
    }

    #[test]
    fn refused_credentials_wait_at_least_half_of_the_longest_time() {
        assert!(extremes(0, Cause::Refused(RefusalKind::Unauthorized)).0 >= RECONNECT.max / 2);
    }

    #[test]
    fn a_restarting_peer_is_given_five_to_thirty_seconds() {
        let (least, most) = extremes(0, Cause::Restarting);
        assert!(least >= RESTART_MIN && most <= RESTART_MAX);
        assert!(most > Duration::from_secs(28));
    }
}
