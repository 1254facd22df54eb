//! Which generations of a gate lost their last handle while they were open.

use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Generations whose last handle was dropped before anyone closed them, as ascending ranges.
///
/// A service outlives its handles without telling the gate, for to count services would cost two
/// shared writes per request. When it comes back and finds its generation over, this tells it
/// whether it was drained (refuse for ever) or merely forgotten (nobody can drain it any more, so
/// serve for ever and count nothing).
#[derive(Default)]
pub(super) struct Orphans {
    /// Unset for a gate that no one has ever orphaned: then a refusal takes no lock.
    ranges: OnceLock<Mutex<Vec<Range<u32>>>>,
}

impl Orphans {
    /// Adds a generation later than all that were added before.
    pub(super) fn add(&self, generation: u32) {
        let ranges = self.ranges.get_or_init(Mutex::default);
        let mut ranges = ranges.lock().unwrap_or_else(PoisonError::into_inner);
        match ranges.last_mut() {
            Some(last) if last.end == generation => last.end += 1,
            _ => ranges.push(generation..generation + 1),
        }
    }

    pub(super) fn contains(&self, generation: u32) -> bool {
        self.ranges.get().is_some_and(|ranges| {
            let ranges = ranges.lock().unwrap_or_else(PoisonError::into_inner);
            let after = ranges.partition_point(|range| range.end <= generation);
            ranges
                .get(after)
                .is_some_and(|range| range.contains(&generation))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Orphans;

    #[test]
    fn remembers_each_generation_that_was_added() {
        let added = [1, 2, 3, 7, 9, 10];
        let orphans = Orphans::default();
        assert!(!orphans.contains(1));
        for generation in added {
            orphans.add(generation);
        }
        for generation in 0..12 {
            assert_eq!(
                orphans.contains(generation),
                added.contains(&generation),
                "{generation}"
            );
        }
    }

    #[test]
    fn neighbours_share_a_range() {
        let orphans = Orphans::default();
        for generation in 1..1_000 {
            orphans.add(generation);
        }
        let ranges = orphans.ranges.get().unwrap().lock().unwrap();
        assert_eq!(ranges.as_slice(), std::slice::from_ref(&(1..1_000)));
    }
}
