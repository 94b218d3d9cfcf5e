//! How fast blocks come, and so when the next round has to begin for all that are owed to fit into their tempo.

use std::time::Duration;

use tokio::time::Instant;

/// Blocks after which what was noted longer ago no longer counts.
const REMEMBERED_BLOCKS: u64 = 32;

/// A height and when it was heard of.
#[derive(Clone, Copy, Debug)]
struct Mark {
    height: u64,
    at: Instant,
}

/// The pace of the blocks of the last while.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Where the time of a block is measured from: 32 to 64 blocks ago, once there are as many.
    from: Option<Mark>,
    /// What takes its place.
    next: Option<Mark>,
    newest: Option<Mark>,
}

impl Pace {
    /// Notes a height that was heard of at `at`.
    pub fn note(&mut self, height: u64, at: Instant) {
        let mark = Mark { height, at };
        let next = *self.next.get_or_insert(mark);
        self.from.get_or_insert(mark);
        if height.saturating_sub(next.height) >= REMEMBERED_BLOCKS {
            (self.from, self.next) = (Some(next), Some(mark));
        }
        self.newest = Some(mark);
    }

    /// Time of a block, once two heights were heard of.
    fn block(&self) -> Option<Duration> {
        let (from, newest) = (self.from?, self.newest?);
        let blocks = u32::try_from(newest.height.saturating_sub(from.height)).ok()?;
        newest.at.saturating_duration_since(from.at).checked_div(blocks)
    }

    /// Time from the beginning of one round to that of the next: `longest`, and less where `rounds_left` more would not
    /// end before the block `until` then.
    #[must_use]
    pub fn pause(&self, longest: Duration, rounds_left: u32, until: u64) -> Duration {
        let (Some(block), Some(newest)) = (self.block(), self.newest) else {
            return longest;
        };
        if rounds_left == 0 {
            return longest;
        }
        let blocks = u32::try_from(until.saturating_sub(newest.height)).unwrap_or(u32::MAX);
        // The last of them needs as much time as the others have between them.
        let each = block.saturating_mul(blocks) / rounds_left.saturating_add(1);
        each.min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A pace at which `blocks` blocks came, each after `block`.
    fn paced(blocks: u32, block: Duration) -> Pace {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for height in 0..=blocks {
            pace.note(u64::from(height), start + block * height);
        }
        pace
    }

    #[test]
    fn rounds_come_as_often_as_configured_where_they_fit() {
        assert_eq!(paced(10, SECOND).pause(5 * SECOND, 3, 1_000), 5 * SECOND);
        assert_eq!(paced(10, SECOND).pause(5 * SECOND, 0, 11), 5 * SECOND);
    }

    #[test]
    fn rounds_that_are_owed_fit_into_what_is_left() {
        // Eight blocks are left for three rounds, the last of which ends in time.
        assert_eq!(paced(10, SECOND).pause(5 * SECOND, 3, 18), 2 * SECOND);
        assert_eq!(paced(10, SECOND).pause(5 * SECOND, 3, 10), Duration::ZERO);
        assert_eq!(paced(10, SECOND).pause(5 * SECOND, 3, 5), Duration::ZERO);
    }

    #[test]
    fn before_two_blocks_nothing_is_known() {
        assert_eq!(Pace::default().pause(SECOND, 3, 1), SECOND);
        assert_eq!(paced(0, SECOND).pause(SECOND, 3, 1), SECOND);
    }

    #[test]
    fn blocks_of_long_ago_do_not_count() {
        let mut pace = paced(100, 10 * SECOND);
        let mut at = pace.newest.unwrap().at;
        for height in 101..200 {
            at += SECOND;
            pace.note(height, at);
        }
        assert_eq!(pace.block(), Some(SECOND));
    }
}
