//! A token bucket: what flows over time is bounded, with some room for what comes at once.

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;

/// Amount that may flow at this moment; below zero it is owed. Levels are in parts of which `Bucket::one` make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Amount in a period; 0 is no bound.
    rate: i128,
    one: i128,
    burst: i128,
    level: i128,
}

impl Bucket {
    /// A full one: `amount` in so many seconds, `burst` at once.
    pub fn new(amount: u64, seconds: u64, burst: u64) -> Bucket {
        let one = i128::from(seconds) * i128::from(SECOND_NS);
        let burst = i128::from(burst) * one;
        Bucket { rate: i128::from(amount), one, burst, level: burst }
    }

    /// One of which a tenth of a second's worth may flow at once, but always one.
    pub fn of_pace(amount: u64) -> Bucket {
        let mut bucket = Bucket::new(amount, 1, 1);
        bucket.burst = (bucket.rate * bucket.one / 10).max(bucket.one);
        bucket.level = bucket.burst;
        bucket
    }

    /// Time has passed.
    pub fn fill(&mut self, nanos: i128) {
        self.level = self.level.saturating_add(self.rate.saturating_mul(nanos)).min(self.burst);
    }

    /// Whether something may flow.
    pub fn is_open(&self) -> bool {
        self.rate == 0 || self.level > 0
    }

    /// Whether it is as full as it can be.
    pub fn is_full(&self) -> bool {
        self.level == self.burst
    }

    /// How many whole ones may flow.
    pub fn room(&self) -> u64 {
        if self.rate == 0 {
            return u64::MAX;
        }
        u64::try_from(self.level.max(0) / self.one).unwrap_or(u64::MAX)
    }

    /// Takes note of an amount that has flowed.
    pub fn spend(&mut self, amount: i128) {
        if self.rate > 0 {
            self.level -= amount.saturating_mul(self.one);
        }
    }

    /// Nanoseconds until there is room for a whole one.
    pub fn wait_ns(&self) -> i128 {
        if self.room() > 0 { 0 } else { (self.one - self.level - 1) / self.rate + 1 }
    }

    /// Nanoseconds until it is half full, if it is not open: with some room not everything that flows costs a wake-up.
    pub fn lazy_wait_ns(&self) -> i128 {
        if self.is_open() {
            return 0;
        }
        ((self.burst / 2).max(1) - self.level) / self.rate + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i128 = 1_000_000;

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate_holds() {
        let mut bucket = Bucket::new(10, 1, 3);
        assert_eq!((bucket.room(), bucket.wait_ns()), (3, 0));
        bucket.spend(3);
        assert_eq!((bucket.room(), bucket.wait_ns()), (0, 100 * MS));
        bucket.fill(50 * MS);
        assert_eq!((bucket.room(), bucket.wait_ns()), (0, 50 * MS));
        bucket.fill(50 * MS);
        assert_eq!(bucket.room(), 1);
        bucket.fill(3_600_000 * MS);
        assert_eq!(bucket.room(), 3, "a long pause allows no more than the burst");
    }

    #[test]
    fn what_was_too_much_at_once_is_owed() {
        let mut bucket = Bucket::new(6, 60, 1);
        bucket.spend(4);
        assert_eq!(bucket.wait_ns(), 40_000 * MS);
        bucket.fill(40_000 * MS - 1);
        assert_eq!(bucket.room(), 0);
        bucket.fill(1);
        assert_eq!(bucket.room(), 1);
    }
}
