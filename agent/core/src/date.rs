//! Times in words (RFC 3339), read by a calendar of 64 bits on every machine: that of a small Pi's C library ends in 2038.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// UTC ns since 1970; none if the text is no time, or one before 1970 or after 2554.
pub fn read(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos()).ok()
}

/// UTC seconds since 1970, up to the year 9999; none if the text is no time, or one before 1970.
pub fn read_seconds(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_to_the_nanosecond_also_after_2038() {
        assert_eq!(read("2001-09-09T01:46:40.000000001Z"), Some(1_000_000_000_000_000_001));
        assert_eq!(read("2001-09-09T03:46:40+02:00"), Some(1_000_000_000_000_000_000));
        assert_eq!(read("2100-01-01T00:00:00Z"), Some(4_102_444_800_000_000_000));
        assert_eq!(read("2554-07-21T23:34:33.709551615Z"), Some(u64::MAX));
    }

    #[test]
    fn what_is_no_time_or_out_of_range_is_none() {
        for text in ["", "2001-09-09", "2001-13-09T01:46:40Z", "1969-12-31T23:59:59Z", "2600-01-01T00:00:00Z"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read_seconds("9999-12-31T23:59:59Z"), Some(253_402_300_799));
        assert_eq!(read_seconds("1969-12-31T23:59:59Z"), None);
    }
}
