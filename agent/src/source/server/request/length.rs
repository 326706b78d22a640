//! Where the body of a request ends (RFC 9112 §6). A body whose end is not told, or whose bytes are not the message, is
//! not read, so nothing of it may be called stored.

use hyper::header::{self, HeaderMap};
use hyper::{Method, StatusCode};

use crate::source::server::http::ApiError;

const MISSING: &str = "the body cannot be read, since the request has no length: send the header Content-Length \
                       (0 for an empty message) or Transfer-Encoding: chunked";

/// Whether a request may carry a body, but does not tell where it ends. RFC 9112 §6.3 says that it has none; small
/// devices send one all the same, and its bytes would be taken for the next request.
pub fn is_missing(method: &Method, headers: &HeaderMap) -> bool {
    let carries_none = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    let tells =
        headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING);
    !carries_none && !tells
}

/// Refuses a body that cannot be read to its end, or whose transfer coding is more than chunks.
pub fn check(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    if is_missing(method, headers) {
        return Err(ApiError::new(StatusCode::LENGTH_REQUIRED, MISSING));
    }
    let is_chunked = |value: &header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !headers.get_all(header::TRANSFER_ENCODING).iter().all(is_chunked) {
        let error = "no transfer coding but chunked is understood here";
        return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, error));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::server::http::HttpReply;

    fn status(method: &Method, headers: &[(&'static str, &'static str)]) -> Option<StatusCode> {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse::<header::HeaderName>().unwrap(), header::HeaderValue::from_static(value))
        });
        check(method, &headers.collect()).err().map(|problem| HttpReply::from(problem).status())
    }

    #[test]
    fn a_body_is_read_only_if_its_end_is_told_and_its_bytes_are_the_message() {
        let (length, chunked) = (("content-length", "0"), ("transfer-encoding", "Chunked"));
        assert_eq!(status(&Method::POST, &[length]), None);
        assert_eq!(status(&Method::PUT, &[chunked]), None);
        assert_eq!(status(&Method::GET, &[]), None);
        for method in [Method::POST, Method::PUT, Method::PATCH] {
            let json = ("content-type", "application/json");
            assert_eq!(status(&method, &[json]), Some(StatusCode::LENGTH_REQUIRED));
        }
        let coded = ("transfer-encoding", "gzip, chunked");
        assert_eq!(status(&Method::POST, &[coded]), Some(StatusCode::NOT_IMPLEMENTED));
        let gzip = ("transfer-encoding", "gzip");
        assert_eq!(status(&Method::POST, &[gzip, chunked]), Some(StatusCode::NOT_IMPLEMENTED));
    }
}
