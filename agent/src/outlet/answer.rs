//! Facts from an HTTP answer, of an upgrade or of a POST.

use std::time::{Duration, SystemTime};

use async_tungstenite::tungstenite::http::StatusCode;

use crate::os::clock;

/// The status line in words: `HTTP 503 Service Unavailable`.
pub fn status_words(status: u16) -> String {
    let known = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    format!("HTTP {status} {}", known.unwrap_or_default()).trim_end().to_owned()
}

/// `Retry-After`: seconds, or a date (RFC 9110 §10.2.3). A date is measured against the server's own clock if it tells it, since
/// ours may not be set yet.
pub fn retry_after<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Option<Duration> {
    let value = field("Retry-After")?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let server_now = field("Date").and_then(|date| httpdate::parse_http_date(date).ok());
    let now =
        server_now.unwrap_or_else(|| SystemTime::UNIX_EPOCH + Duration::from_nanos(clock::now().wall_ns));
    Some(date.duration_since(now).unwrap_or_default())
}
