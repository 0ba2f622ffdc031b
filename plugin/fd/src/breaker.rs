//! The circuit breaker: an independent look at what a job opens and reads. The failure it answers is a whole tree that
//! gives no bytes, by a mistake of ours or a file system that has gone away, and a job that calls each of its files an
//! accident. Single files that a bad disk has lost do not open it: see docs/decisions.md.

/// So many files in a row without a byte.
const EMPTY_MAX: u32 = 8;
/// From so many expected bytes on, half of them must have come.
const EXPECTED_MIN: u64 = 64 << 20;

/// From so many files on, nine in ten of them must have given something.
const FILES_MIN: u64 = 100;

/// What was expected, and what came.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    empty: u32,
    files: u64,
    /// Of those, how many gave nothing.
    lost: u64,
    expected: u64,
    found: u64,
}

impl Breaker {
    /// A file had `expected` bytes when it was looked at, and gave `found`. The reason, when the job must end.
    pub fn saw(&mut self, expected: u64, found: u64) -> Option<String> {
        self.expected = self.expected.saturating_add(expected);
        self.found = self.found.saturating_add(found.min(expected));
        let is_lost = expected > 0 && found == 0;
        self.files += 1;
        self.lost += u64::from(is_lost);
        self.empty = if is_lost { self.empty + 1 } else { 0 };
        if self.empty >= EMPTY_MAX {
            return Some(format!("{EMPTY_MAX} files in a row gave no data"));
        }
        if self.files >= FILES_MIN && self.lost * 10 > self.files {
            return Some(format!("of {} files, {} gave no data", self.files, self.lost));
        }
        let few = self.expected >= EXPECTED_MIN && self.found < self.expected / 2;
        few.then(|| format!("of {} bytes that files had, {} could be read", self.expected, self.found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_files_in_a_row_open_it() {
        let mut breaker = Breaker::default();
        for _ in 0..EMPTY_MAX - 1 {
            assert_eq!(breaker.saw(1000, 0), None);
        }
        assert_eq!(breaker.saw(1000, 1000), None, "one file with data closes the row");
        for _ in 0..EMPTY_MAX - 1 {
            assert_eq!(breaker.saw(1000, 0), None);
        }
        assert!(breaker.saw(1000, 0).is_some());
    }

    #[test]
    fn a_tenth_of_many_files_opens_it_and_a_few_do_not() {
        let mut breaker = Breaker::default();
        for file in 0..100_000 {
            // One in 500, twice the share of the rule that was rejected.
            assert_eq!(breaker.saw(1000, if file % 500 == 499 { 0 } else { 1000 }), None, "file {file}");
        }
        let mut breaker = Breaker::default();
        let opened = (0..).find(|file| breaker.saw(1000, if file % 5 == 4 { 0 } else { 1000 }).is_some());
        assert_eq!(opened, Some(FILES_MIN - 1), "one in five, never two in a row");
    }

    #[test]
    fn half_the_bytes_missing_opens_it() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.saw(EXPECTED_MIN - 1, 1), None);
        assert!(breaker.saw(1, 1).is_some());
        let mut breaker = Breaker::default();
        assert_eq!(breaker.saw(EXPECTED_MIN, EXPECTED_MIN / 2), None);
        assert_eq!(breaker.saw(1, u64::MAX), None, "a file that grew does not stand for others");
    }
}
