//! A set of numbers, most of which have neighbours in it. Pure.

use std::collections::BTreeMap;

/// A set of numbers, kept as runs of neighbours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// First number of a run to its last.
    runs: BTreeMap<u64, u64>,
    /// How many numbers there are.
    total: u64,
}

impl RangeSet {
    /// How many numbers there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many runs there are.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether there is no number in it.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The runs: first and last number of each, rising.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.runs.iter().map(|(first, last)| (*first, *last))
    }

    /// The highest number.
    pub fn last(&self) -> Option<u64> {
        self.runs.last_key_value().map(|(_, last)| *last)
    }

    /// The run that a number belongs to.
    pub fn around(&self, number: u64) -> Option<(u64, u64)> {
        let (first, last) = self.runs.range(..=number).next_back()?;
        (*last >= number).then_some((*first, *last))
    }

    /// Whether all of these numbers are in it.
    pub fn holds(&self, from: u64, to: u64) -> bool {
        self.first_missing_from(from) > to
    }

    /// Takes out the runs that end at or before a number, which no other run may hold.
    pub fn remove_through(&mut self, number: u64) {
        while let Some(run) = self.runs.first_entry().filter(|run| *run.get() <= number) {
            self.total -= size(*run.key(), *run.get());
            run.remove();
        }
    }

    /// Adds the numbers and tells how many of them are new.
    pub fn insert(&mut self, from: u64, to: u64) -> u64 {
        let (mut first, mut last, mut had) = (from, to, 0u64);
        while let Some((start, end)) = self.neighbour(first, last) {
            self.runs.remove(&start);
            had = had.saturating_add(size(start, end));
            first = first.min(start);
            last = last.max(end);
        }
        self.runs.insert(first, last);
        let new = size(first, last).saturating_sub(had);
        self.total = self.total.saturating_add(new);
        new
    }

    /// A run that overlaps or touches these numbers.
    fn neighbour(&self, first: u64, last: u64) -> Option<(u64, u64)> {
        let (&start, &end) = self.runs.range(..=last.saturating_add(1)).next_back()?;
        (end.saturating_add(1) >= first).then_some((start, end))
    }

    /// The first number from this one on that is not in it.
    pub fn first_missing_from(&self, seq: u64) -> u64 {
        match self.runs.range(..=seq).next_back() {
            Some((_, &end)) if end >= seq => end.saturating_add(1),
            Some(_) | None => seq,
        }
    }
}

fn size(first: u64, last: u64) -> u64 {
    (last - first).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_plain_set_holds(spans in prop::collection::vec((0..60_u64, 0..6_u64), 0..20)) {
            let mut runs = RangeSet::default();
            let mut plain = std::collections::BTreeSet::new();
            for (from, more) in spans {
                let before = plain.len();
                plain.extend(from..=from + more);
                prop_assert_eq!(runs.insert(from, from + more), (plain.len() - before) as u64);
            }
            prop_assert_eq!(runs.total(), plain.len() as u64);
            prop_assert_eq!(runs.iter().flat_map(|(from, to)| from..=to).collect::<Vec<_>>(), plain.iter().copied().collect::<Vec<_>>());
            for number in 0..70 {
                prop_assert_eq!(runs.holds(number, number), plain.contains(&number));
                prop_assert_eq!(Some(runs.first_missing_from(number)), (number..).find(|n| !plain.contains(n)));
            }
        }
    }

    #[test]
    fn what_is_passed_is_taken_out() {
        let mut runs = RangeSet::default();
        runs.insert(3, 5);
        runs.insert(9, 9);
        runs.remove_through(5);
        assert_eq!((runs.total(), runs.iter().collect::<Vec<_>>()), (1, vec![(9, 9)]));
    }
}
