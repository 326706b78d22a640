//! Meaning of the status with which a server answers a batch. Pure.

use std::time::Duration;

use crate::link::closing::Closing;
use crate::link::protocol::RefusalKind;

/// Meaning of an HTTP status for the batch that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// 2xx: all of it is the server's.
    Taken,
    /// 400, 422: there is something in it that the server cannot take, now or later.
    Refused,
    /// 413: it is too large, or a message in it is.
    TooLarge,
    /// The request itself fails, whatever it holds.
    Failed(Closing),
}

impl Meaning {
    /// That of a status with this `Retry-After`.
    pub fn of(status: u16, retry_after: Option<Duration>) -> Meaning {
        match status {
            200..=299 => Meaning::Taken,
            400 | 422 => Meaning::Refused,
            413 => Meaning::TooLarge,
            401 | 403 => Meaning::Failed(Closing::Unauthorized),
            // RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4, RFC 9110 §15.6.
            408 | 425 | 429 | 500..=599 => Meaning::Failed(Closing::Busy { retry_after }),
            _ => Meaning::Failed(Closing::Plain),
        }
    }

    /// Its meaning for the next try, if it says that a request without messages failed. One that complains of an empty
    /// batch has been reached.
    pub fn refusal(self) -> Option<RefusalKind> {
        match self {
            Meaning::Taken | Meaning::Refused | Meaning::TooLarge => None,
            Meaning::Failed(Closing::Unauthorized) => Some(RefusalKind::Unauthorized),
            Meaning::Failed(Closing::Busy { retry_after }) => Some(RefusalKind::Busy { retry_after }),
            Meaning::Failed(
                Closing::Plain
                | Closing::Restarting
                | Closing::Message
                | Closing::TooLarge
                | Closing::TakenOver
                | Closing::Unexplained,
            ) => Some(RefusalKind::Retry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_speaks_of_the_batch_or_of_the_server() {
        for status in [200, 201, 202, 204, 207, 299] {
            assert_eq!(Meaning::of(status, None), Meaning::Taken, "{status}");
        }
        for status in [400, 422] {
            assert_eq!(Meaning::of(status, None), Meaning::Refused, "{status}");
        }
        for status in [401, 403] {
            assert_eq!(Meaning::of(status, None), Meaning::Failed(Closing::Unauthorized), "{status}");
        }
        let retry_after = Some(Duration::from_secs(7));
        for status in [408, 425, 429, 500, 502, 503, 504, 507, 599] {
            let busy = Meaning::Failed(Closing::Busy { retry_after });
            assert_eq!(Meaning::of(status, retry_after), busy, "{status}");
        }
        for status in [100, 301, 304, 404, 405, 409, 410, 415, 426, 600] {
            assert_eq!(Meaning::of(status, None), Meaning::Failed(Closing::Plain), "{status}");
        }
        assert_eq!(Meaning::of(413, None), Meaning::TooLarge);
    }

    #[test]
    fn a_server_that_wants_more_than_nothing_was_reached() {
        assert_eq!(Meaning::of(422, None).refusal(), None);
        assert_eq!(Meaning::of(403, None).refusal(), Some(RefusalKind::Unauthorized));
        assert_eq!(Meaning::of(404, None).refusal(), Some(RefusalKind::Retry));
        assert_eq!(Meaning::of(503, None).refusal(), Some(RefusalKind::Busy { retry_after: None }));
    }
}
