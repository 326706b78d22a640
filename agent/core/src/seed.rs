//! Chance as an argument: one seed gives one sequence, so that a run can be repeated.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): enough to spread retries, nothing more.
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// Starts a sequence.
    pub fn new(seed: u64) -> Self {
        Seed(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number from 0 up to but not including `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.draw()) * u128::from(bound)) >> 64).expect("below a u64")
    }

    /// A duration from zero up to `longest`.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX - 1);
        Duration::from_nanos(self.below(nanos.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_another_seed_another() {
        let draw = |seed| {
            let mut seed = Seed::new(seed);
            (0..8).map(|_| seed.draw()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn durations_spread_over_the_whole_range() {
        let mut seed = Seed::new(1);
        let longest = Duration::from_secs(10);
        let drawn: Vec<_> = (0..1000).map(|_| seed.up_to(longest)).collect();
        assert!(drawn.iter().all(|d| *d <= longest));
        assert!(drawn.iter().any(|d| *d < Duration::from_secs(1)));
        assert!(drawn.iter().any(|d| *d > Duration::from_secs(9)));
        assert_eq!(seed.up_to(Duration::ZERO), Duration::ZERO);
    }
}
