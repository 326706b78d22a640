//! Hashes passwords and compares them: argon2id for those that are kept, a keyed hash for those that are at hand.

use anyhow::{Context, anyhow};
use argon2::{Algorithm, Argon2, Params, Version};
use holdfast_core::config::phc::Phc;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Cost of a new hash: OWASP's choice for little memory.
const MEMORY_KIB: u32 = 7168;
const PASSES: u32 = 5;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Makes values that can be kept and compared in place of what they were made of, within one run of the agent.
#[derive(Debug)]
pub struct Seal(hmac::Key);

/// Such a value. To compare two of them tells nobody anything of what they were made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sealed([u8; 32]);

impl Seal {
    /// One with a key of its own.
    pub fn new() -> anyhow::Result<Seal> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Seal(key.map_err(|_| anyhow!("cannot get random numbers"))?))
    }

    /// The value of a name, a password and what that is compared with.
    pub fn of(&self, parts: [&str; 3]) -> Sealed {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        Sealed(context.sign().as_ref().try_into().expect("HMAC-SHA256 has 32 bytes"))
    }
}

/// A new hash of a password.
pub fn hash(password: &str) -> anyhow::Result<Phc> {
    let mut salt = vec![0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).map_err(|_| anyhow!("cannot get random numbers"))?;
    let mut phc =
        Phc { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES, salt, hash: vec![0; HASH_BYTES] };
    phc.hash = computed(&phc, password)?;
    Ok(phc)
}

/// Whether the password is the one of the hash. Takes as much memory and time as the hash says.
pub fn verify(phc: &Phc, password: &str) -> anyhow::Result<bool> {
    let seal = Seal::new()?;
    let bytes = |hash: &[u8]| hmac::sign(&seal.0, hash);
    Ok(bytes(&computed(phc, password)?).as_ref() == bytes(&phc.hash).as_ref())
}

/// One that no password has, and that costs as much to verify as this one.
pub fn decoy(like: &Phc) -> Phc {
    Phc { salt: vec![0; SALT_BYTES], hash: vec![0; HASH_BYTES], ..like.clone() }
}

fn computed(phc: &Phc, password: &str) -> anyhow::Result<Vec<u8>> {
    let cannot = |error: argon2::Error| anyhow!("{error}");
    let params = Params::new(phc.memory_kib, phc.passes, phc.lanes, Some(phc.hash.len())).map_err(cannot)?;
    let mut hash = vec![0; phc.hash.len()];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), &phc.salt, &mut hash)
        .map_err(cannot)
        .context("cannot hash a password")?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by the reference implementation: `printf password | argon2 somesalt -id -t 2 -k 256 -p 1 -e`.
    const REFERENCE: &str =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    #[test]
    fn the_hash_of_another_program_is_verified() {
        let phc = Phc::parse(REFERENCE).unwrap();
        assert!(verify(&phc, "password").unwrap());
        assert!(!verify(&phc, "passwore").unwrap() && !verify(&phc, "").unwrap());
    }

    #[test]
    fn a_new_hash_is_verified_and_no_two_are_the_same() {
        let (one, other) = (hash("s3cret").unwrap(), hash("s3cret").unwrap());
        assert_ne!(one.to_string(), other.to_string());
        assert_eq!(Phc::parse(&one.to_string()).unwrap().to_string(), one.to_string());
        assert!(verify(&one, "s3cret").unwrap() && !verify(&other, "s3crets").unwrap());
    }

    #[test]
    fn a_seal_tells_names_and_passwords_apart_and_has_a_key_of_its_own() {
        let (one, other) = (Seal::new().unwrap(), Seal::new().unwrap());
        let parts = ["a", "bc", "d"];
        assert!(one.of(parts) == one.of(parts));
        assert!(one.of(parts) != one.of(["ab", "c", "d"]) && one.of(parts) != one.of(["a", "bcd", ""]));
        assert!(one.of(parts) != other.of(parts));
    }

    #[test]
    fn a_decoy_is_the_hash_of_nothing() {
        let decoy = decoy(&Phc::parse(REFERENCE).unwrap());
        assert_eq!((decoy.memory_kib, decoy.passes), (256, 2));
        assert!(!verify(&decoy, "password").unwrap());
    }
}
