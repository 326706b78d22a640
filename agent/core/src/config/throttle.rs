//! How many messages a second someone may send: `"200/s"`, `"200/s burst 400"`, `"30/min"`.

use super::table::Reading;
use super::tree::Node;
use super::value;

const MOST: u64 = 1_000_000;
const PER: [(&str, Per); 3] = [("s", Per::Second), ("min", Per::Minute), ("h", Per::Hour)];

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// So many, at least one.
    pub amount: u64,
    /// In so much time.
    pub per: Per,
    /// So many at once after a pause, at least one.
    pub burst: u64,
}

/// What a rate is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// `/s`
    Second,
    /// `/min`
    Minute,
    /// `/h`
    Hour,
}

impl Per {
    /// How long it is, in seconds.
    pub fn seconds(self) -> u64 {
        match self {
            Per::Second => 1,
            Per::Minute => 60,
            Per::Hour => 3600,
        }
    }
}

impl Throttle {
    /// Without a burst it is what one unit of time allows.
    fn parse(text: &str) -> Option<Throttle> {
        let mut words = text.split_whitespace();
        let (amount, unit) = words.next()?.split_once('/')?;
        let (_, per) = *PER.iter().find(|(word, _)| *word == unit)?;
        let amount = number(amount)?;
        let burst = match (words.next(), words.next(), words.next()) {
            (None, ..) => amount,
            (Some("burst"), Some(burst), None) => number(burst)?,
            _ => return None,
        };
        Some(Throttle { amount, per, burst })
    }
}

impl std::fmt::Display for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = PER.iter().find(|(_, per)| *per == self.per).map_or("", |(word, _)| word);
        write!(f, "{}/{unit}", self.amount)?;
        if self.burst == self.amount { Ok(()) } else { write!(f, " burst {}", self.burst) }
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && (1..=MOST).contains(number))
}

/// A throttle; an empty text is none.
pub(super) fn throttle(node: &Node, _: &Reading) -> Result<Option<Throttle>, String> {
    const SHAPE: &str = "must be a rate such as \"200/s\", \"200/s burst 400\" or \"30/min\", or \"\"";
    match value::text(node).map_err(|_| SHAPE)? {
        "" => Ok(None),
        text => Throttle::parse(text).map(Some).ok_or_else(|| SHAPE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_is_shown_as_it_is_read() {
        for text in ["200/s", "200/s burst 400", "30/min", "1/h burst 5"] {
            assert_eq!(Throttle::parse(text).unwrap().to_string(), text);
        }
        let burst = Throttle::parse("200/s").unwrap().burst;
        assert_eq!(burst, 200, "a burst that is not given is what a second allows");
    }

    #[test]
    fn what_is_no_throttle_is_refused() {
        for text in
            ["200", "200/d", "0/s", "+1/s", "1/s burst", "1/s burst 0", "1/s brust 2", "1/s burst 2 3"]
        {
            assert_eq!(Throttle::parse(text), None, "{text}");
        }
    }
}
