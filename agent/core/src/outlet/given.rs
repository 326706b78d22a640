//! How far a run has come with its numbers, to be kept where writing costs the card nothing and where nothing outlives the
//! start of the machine. After a kill it tells exactly which numbers were given; after a power cut only the reserve on the disk is
//! known. Pure.

use crate::outlet::store_protocol::Sequences;

/// Bytes of the numbers of one outlet.
const OUTLET_LEN: usize = 24;
/// Bytes in front of them: the run, and the next id.
const HEAD_LEN: usize = 16;

/// What a run has given of its numbers until now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Names the run, as in the numbers file.
    pub run: u64,
    /// Next id of a message.
    pub ids: u64,
    /// What each outlet has given.
    pub outlets: Vec<OutletGiven>,
}

/// What an outlet has given of its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutletGiven {
    /// Stands for its name.
    pub tag: u64,
    /// Everything below is confirmed.
    pub unconfirmed: u64,
    /// Next number.
    pub next: u64,
}

/// What stands for the name of an outlet (FNV-1a).
pub fn tag(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |tag, byte| (tag ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Given {
    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let numbers = self.outlets.iter().flat_map(|own| [own.tag, own.unconfirmed, own.next]);
        [self.run, self.ids].into_iter().chain(numbers).flat_map(u64::to_le_bytes).collect()
    }

    /// From the bytes of [`Given::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Given> {
        let (head, outlets) = bytes.split_at_checked(HEAD_LEN)?;
        if outlets.len() % OUTLET_LEN != 0 {
            return None;
        }
        let [run, ids] = numbers(head)[..] else { return None };
        let outlet = |bytes: &[u8]| match numbers(bytes)[..] {
            [tag, unconfirmed, next] => Some(OutletGiven { tag, unconfirmed, next }),
            _ => None,
        };
        let outlets = outlets.chunks_exact(OUTLET_LEN).map(outlet).collect::<Option<Vec<_>>>()?;
        Some(Given { run, ids, outlets })
    }

    /// Puts what was given in the place of what was reserved, as if the run had ended in order. What another run has left says
    /// nothing.
    pub fn correct(&self, saved: &mut Sequences) {
        if saved.clean || self.run == 0 || self.run != saved.run {
            return;
        }
        saved.clean = true;
        (saved.ids.next, saved.ids.end) = (self.ids, self.ids);
        for (name, own) in &mut saved.outlets {
            let tag = tag(name);
            let mut found = self.outlets.iter().filter(|given| given.tag == tag);
            let (Some(given), None) = (found.next(), found.next()) else {
                own.tear();
                continue;
            };
            (own.block.next, own.block.end) = (given.next, given.next);
            own.confirmed = given.unconfirmed.checked_sub(1);
        }
    }
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    let (numbers, _) = bytes.as_chunks::<8>();
    numbers.iter().map(|number| u64::from_le_bytes(*number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::store_protocol::{OutletSequence, SequenceRange};

    fn given() -> Given {
        let outlets = vec![OutletGiven { tag: tag("client:a"), unconfirmed: 140, next: 150 }];
        Given { run: 7, ids: 1100, outlets }
    }

    fn saved(run: u64, clean: bool) -> Sequences {
        let outlet =
            OutletSequence { block: SequenceRange { next: 100, end: 500 }, ..OutletSequence::default() };
        let outlets = ["client:a", "client:b"].map(|name| (name.to_owned(), outlet.clone()));
        Sequences {
            run,
            clean,
            ids: SequenceRange { next: 1000, end: 2000 },
            outlets: outlets.into(),
            session: 3,
            ..Sequences::default()
        }
    }

    #[test]
    fn it_comes_back_from_its_bytes_and_from_no_others() {
        assert_eq!(Given::from_bytes(&given().to_bytes()), Some(given()));
        assert_eq!(Given::from_bytes(&given().to_bytes()[..39]), None);
        assert_eq!(Given::from_bytes(&[]), None);
    }

    #[test]
    fn what_was_given_takes_the_place_of_what_was_reserved() {
        let mut numbers = saved(7, false);
        given().correct(&mut numbers);
        assert_eq!(numbers.ids, SequenceRange { next: 1100, end: 1100 });
        let a = &numbers.outlets["client:a"];
        assert_eq!((a.block, a.confirmed, a.torn), (SequenceRange { next: 150, end: 150 }, Some(139), false));
        let b = OutletSequence { torn: true, ..saved(7, false).outlets["client:b"].clone() };
        assert_eq!(numbers.outlets["client:b"], b, "it says nothing of b");
        assert!(numbers.clean);
    }

    #[test]
    fn what_another_run_has_left_and_what_follows_a_clean_end_is_not_believed() {
        for before in [saved(8, false), saved(0, false), saved(7, true)] {
            let mut numbers = before.clone();
            given().correct(&mut numbers);
            Given { run: 0, ..given() }.correct(&mut numbers);
            assert_eq!(numbers, before);
        }
    }
}
