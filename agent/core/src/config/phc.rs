//! Hashes of passwords as they are written: `$argon2id$v=19$m=7168,t=5,p=1$SALT$HASH` (the PHC string format).

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Most memory that a verification may take, in KiB.
const MEMORY_KIB_MAX: u32 = 64 * 1024;
/// Most passes over the memory.
const PASSES_MAX: u32 = 16;
/// Most lanes.
const LANES_MAX: u32 = 16;
/// Shortest salt (RFC 9106 §3.1), and the longest that anybody makes.
const SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=64;
/// Shortest hash that is worth a comparison, and the longest that anybody makes.
const HASH_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// An argon2id hash (RFC 9106) with what it was made of.
#[derive(Clone, PartialEq, Eq)]
pub struct Phc {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// Salt.
    pub salt: Vec<u8>,
    /// The hash itself.
    pub hash: Vec<u8>,
}

impl Phc {
    /// Reads one. The error says what is wrong and quotes nothing of it.
    pub fn parse(text: &str) -> Result<Phc, String> {
        const SHAPE: &str =
            "must be an argon2id hash as `holdfast hash-password` prints it: $argon2id$v=19$m=…";
        let mut parts = text.split('$');
        let (Some(""), Some(kind)) = (parts.next(), parts.next()) else { return Err(SHAPE.to_owned()) };
        if kind != "argon2id" {
            return Err(SHAPE.to_owned());
        }
        let (Some("v=19"), Some(costs), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SHAPE.to_owned());
        };
        let costs: Vec<(&str, u32)> = costs
            .split(',')
            .map(|cost| cost.split_once('=').and_then(|(name, value)| Some((name, value.parse().ok()?))))
            .collect::<Option<_>>()
            .ok_or(SHAPE)?;
        let [("m", memory_kib), ("t", passes), ("p", lanes)] = costs[..] else {
            return Err(SHAPE.to_owned());
        };
        check_costs(memory_kib, passes, lanes)?;
        let salt = STANDARD_NO_PAD.decode(salt).map_err(|_| SHAPE)?;
        let hash = STANDARD_NO_PAD.decode(hash).map_err(|_| SHAPE)?;
        if !SALT_BYTES.contains(&salt.len()) || !HASH_BYTES.contains(&hash.len()) {
            return Err(SHAPE.to_owned());
        }
        Ok(Phc { memory_kib, passes, lanes, salt, hash })
    }
}

fn check_costs(memory_kib: u32, passes: u32, lanes: u32) -> Result<(), String> {
    let sound = (1..=LANES_MAX).contains(&lanes)
        && (1..=PASSES_MAX).contains(&passes)
        && (8 * lanes..=MEMORY_KIB_MAX).contains(&memory_kib);
    sound.then_some(()).ok_or_else(|| {
        format!(
            "asks for m={memory_kib} (KiB), t={passes}, p={lanes}; a login may take m={MEMORY_KIB_MAX}, t={PASSES_MAX}, \
             p={LANES_MAX} at most, and m at least 8 for each p"
        )
    })
}

impl std::fmt::Display for Phc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Phc { memory_kib, passes, lanes, salt, hash } = self;
        let [salt, hash] = [salt, hash].map(|bytes| STANDARD_NO_PAD.encode(bytes));
        write!(f, "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &str = "c29tZXNhbHQ";
    const HASH: &str = "RdescudvJCsgt3ub+b4dWRWJTmaaJObGRdescudvJCs";

    #[test]
    fn a_hash_is_written_as_it_is_read() {
        let text = format!("$argon2id$v=19$m=7168,t=5,p=1${SALT}${HASH}");
        let phc = Phc::parse(&text).unwrap();
        assert_eq!((phc.memory_kib, phc.passes, phc.lanes), (7168, 5, 1));
        assert_eq!(phc.salt, b"somesalt");
        assert_eq!(phc.to_string(), text);
    }

    #[test]
    fn a_hash_that_would_take_all_memory_or_an_hour_is_refused() {
        for costs in
            ["m=4194304,t=1,p=1", "m=7168,t=4000000,p=1", "m=7168,t=1,p=255", "m=8,t=1,p=2", "m=7168,t=0,p=1"]
        {
            let error = Phc::parse(&format!("$argon2id$v=19${costs}${SALT}${HASH}")).err().unwrap();
            assert!(error.starts_with("asks for m="), "{error}");
        }
    }

    #[test]
    fn what_is_no_argon2id_hash_is_refused_without_a_word_of_it() {
        let others = [
            "s3cret".to_owned(),
            format!("$argon2i$v=19$m=7168,t=5,p=1${SALT}${HASH}"),
            format!("$argon2id$v=16$m=7168,t=5,p=1${SALT}${HASH}"),
            format!("$argon2id$v=19$m=7168,p=1${SALT}${HASH}"),
            format!("$argon2id$v=19$m=7168,t=5,p=1$c2hvcnQ${HASH}"),
            format!("$argon2id$v=19$m=7168,t=5,p=1${SALT}$c2hvcnQ"),
            format!("$argon2id$v=19$m=7168,t=5,p=1${SALT}${HASH}$x"),
        ];
        for text in others {
            let error = Phc::parse(&text).err().unwrap();
            assert!(
                error.starts_with("must be an argon2id hash") && !error.contains(SALT),
                "{text}: {error}"
            );
        }
    }
}
