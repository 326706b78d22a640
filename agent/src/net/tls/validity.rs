//! Validity, names and key of a certificate, read from its DER: elements to step over (RFC 5280 §4.1). A parser crate would cost
//! more than this does.

use std::time::Duration;

use holdfast_core::date;

const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const DAY_S: i64 = 86_400;

/// Whole days from `now_ns` (UTC, since 1970) until the certificate ends, negative once it has ended.
pub fn certificate_days_left(der: &[u8], now_ns: u64) -> Option<i64> {
    let end_s = i64::try_from(not_after(der)?.as_secs()).ok()?;
    let now_s = i64::try_from(now_ns / 1_000_000_000).ok()?;
    Some((end_s - now_s).div_euclid(DAY_S))
}

fn not_after(der: &[u8]) -> Option<Duration> {
    bounds(der).map(|(_, until)| until)
}

/// Parts of a certificate; names are the content of their elements.
pub struct Parts<'a> {
    /// By whom it is issued.
    pub issuer: &'a [u8],
    /// For whom.
    pub subject: &'a [u8],
    /// SubjectPublicKeyInfo, the whole element.
    pub key: &'a [u8],
    validity: &'a [u8],
}

/// Takes a certificate apart; none if it is none.
pub fn parts(der: &[u8]) -> Option<Parts<'_>> {
    let (_, certificate, _) = element(der)?;
    let (_, to_be_signed, _) = element(certificate)?;
    let rest = match element(to_be_signed)? {
        (VERSION, _, rest) => rest,
        _ => to_be_signed,
    };
    let (_, _serial, rest) = element(rest)?;
    let (_, _algorithm, rest) = element(rest)?;
    let (_, issuer, rest) = element(rest)?;
    let (_, validity, rest) = element(rest)?;
    let (_, subject, rest) = element(rest)?;
    let (_, _, behind) = element(rest)?;
    Some(Parts { issuer, subject, key: &rest[..rest.len() - behind.len()], validity })
}

/// The common name (RFC 5280 §4.1.2.4) of an issuer or a subject.
pub fn common_name(name: &[u8]) -> Option<&str> {
    const COMMON_NAME: [u8; 3] = [0x55, 4, 3];
    let mut rest = name;
    while let Some((_, set, next)) = element(rest) {
        let (_, pair, _) = element(set)?;
        let (_, kind, value) = element(pair)?;
        if kind == COMMON_NAME {
            return std::str::from_utf8(element(value)?.1).ok();
        }
        rest = next;
    }
    None
}

/// From when to when it is valid, since 1970.
pub fn bounds(der: &[u8]) -> Option<(Duration, Duration)> {
    let (from_tag, from, rest) = element(parts(der)?.validity)?;
    let (until_tag, until, _) = element(rest)?;
    let read = |tag, text| time(tag, std::str::from_utf8(text).ok()?);
    // A validity that began before 1970 counts as valid since then.
    Some((read(from_tag, from).unwrap_or_default(), read(until_tag, until)?))
}

/// Splits one element off: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` with years 1950 to 2049, or `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5).
fn time(tag: u8, text: &str) -> Option<Duration> {
    let full = match tag {
        UTC_TIME => format!("{}{text}", if text < "50" { "20" } else { "19" }),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize| full.get(from..from + 2);
    let (year, month, day) = (full.get(..4)?, part(4)?, part(6)?);
    let (hour, minute, second) = (part(8)?, part(10)?, part(12)?);
    date::read_seconds(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate_until(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["hub.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1990, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn at(text: &str) -> u64 {
        date::read(text).unwrap()
    }

    #[test]
    fn days_are_counted_down_to_the_end_and_below_zero_after_it() {
        let der = certificate_until(2026, 3, 11);
        assert_eq!(certificate_days_left(&der, at("2026-03-01T00:00:00Z")), Some(10));
        assert_eq!(certificate_days_left(&der, at("2026-03-10T00:00:01Z")), Some(0));
        assert_eq!(certificate_days_left(&der, at("2026-03-11T00:00:01Z")), Some(-1));
    }

    #[test]
    fn an_end_after_2049_is_read_too() {
        let der = certificate_until(2100, 1, 1);
        assert_eq!(certificate_days_left(&der, at("2099-12-31T00:00:00Z")), Some(1));
        let endless = certificate_until(9999, 12, 31);
        assert!(
            certificate_days_left(&endless, at("2099-12-31T00:00:00Z")).is_some_and(|days| days > 2_000_000)
        );
    }

    #[test]
    fn a_broken_certificate_has_no_days_and_does_no_harm() {
        let der = certificate_until(2030, 1, 1);
        for length in 0..der.len().min(300) {
            let _ = certificate_days_left(&der[..length], 0);
        }
        assert_eq!(certificate_days_left(&der[..60], 0), None);
        assert_eq!(certificate_days_left(b"\x30\x84\xff\xff\xff\xff", 0), None);
    }
}
