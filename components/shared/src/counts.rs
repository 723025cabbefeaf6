//! What passes have done, for the metrics.

use std::time::Duration;

/// The upper bounds of the buckets that passes are counted in by how long they took, in seconds.
pub const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Sums; by topic, in the order of [`Topic::ALL`](crate::event::Topic::ALL).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that the sidecar has accepted.
    pub published: [i64; 3],
    /// Attempts that failed and are repeated.
    pub failed: [i64; 3],
    /// Events that were refused for good.
    pub refused: [i64; 3],
    /// Passes, by the first bucket that holds them; the last is for those that took longer than every bound.
    pub passes: [i64; BOUNDS.len() + 1],
    /// How long they took together, in microseconds.
    pub microseconds: i64,
}

impl Counts {
    /// Counts a pass: claiming and publishing.
    pub fn took(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.iter().filter(|bound| **bound < seconds).count();
        if let Some(passes) = self.passes.get_mut(bucket) {
            *passes += 1;
        }
        self.microseconds += i64::try_from(duration.as_micros()).unwrap_or_default();
    }

    /// Every number, by its position in `delivery_counts.totals`. New ones are added at the end.
    pub fn positions(&mut self) -> impl Iterator<Item = &mut i64> {
        let topics = [&mut self.published, &mut self.failed, &mut self.refused];
        topics.into_iter().flatten().chain(&mut self.passes).chain([&mut self.microseconds])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_in_the_first_bucket_that_holds_it() {
        let mut counts = Counts::default();
        for milliseconds in [0, 5, 6, 10_000, 10_001] {
            counts.took(Duration::from_millis(milliseconds));
        }
        assert_eq!(counts.passes, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(counts.microseconds, 20_012_000);
    }

    #[test]
    fn every_number_has_a_position_of_its_own() {
        let mut counts = Counts::default();
        for (place, number) in counts.positions().enumerate() {
            *number = place as i64;
        }
        let expected = Counts {
            published: [0, 1, 2],
            failed: [3, 4, 5],
            refused: [6, 7, 8],
            passes: [9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20],
            microseconds: 21,
        };
        assert_eq!(counts, expected);
    }
}
