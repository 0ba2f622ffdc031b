//! One simulated file: what reads see, what a power cut leaves, and the changes in between.
//!
//! # Invariants
//! - `shown` is `kept` with all loose changes applied, except after a sync failed in fsyncgate mode, where it may show
//!   data that is lost already, and after a power cut, where writes that were in flight are loose but not shown.
//! - A loose change becomes durable only by a sync that was submitted after the change's completion was given out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::damage::Damage;
use super::image::{Image, PAGE, Page};

/// Of a change whose completion was not given out yet: no sync covers it.
pub(super) const NEVER: u64 = u64::MAX;

/// What an operation did to a file.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// Whole pages, from this page number on.
    Write(u64, Arc<[u8]>),
    /// At least this length.
    Grow(u64),
    /// Exactly this length.
    SetLen(u64),
}

/// A change that is not durable.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// The number of the operation that made it.
    pub(super) number: u64,
    /// The place of its completion among all that were given out.
    pub(super) reaped: u64,
    pub(super) what: What,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct SimFile {
    pub(super) shown: Arc<Image>,
    pub(super) kept: Arc<Image>,
    /// In the order in which they took effect.
    pub(super) loose: Vec<Change>,
    pub(super) damage: Damage,
    /// The version before the shown one, of pages that were overwritten; kept only where reads may be stale.
    pub(super) earlier: BTreeMap<u64, Page>,
    /// Bytes from 0 on for which space is set aside.
    pub(super) reserved: u64,
    /// Pages that it takes on the disk.
    pub(super) charged: u64,
    /// Names that lead to it now.
    pub(super) links: u32,
    /// Doors that have it open, once for each handle.
    pub(super) opens: u32,
}

fn apply(image: &mut Image, what: &What) {
    match what {
        What::Write(first, data) => image.write(*first, data),
        What::Grow(len) => image.grow(*len),
        What::SetLen(len) => image.set_len(*len),
    }
}

impl SimFile {
    /// A file that a power cut would leave as it is.
    pub(super) fn durable(image: Image) -> Self {
        let kept = Arc::new(image);
        let mut file = Self { shown: Arc::clone(&kept), kept, ..Self::default() };
        file.charged = file.count_pages();
        file
    }

    /// Pages that a write of `count` pages at page `first` would take from the free space.
    pub(super) fn pages_needed(&self, first: u64, count: u64) -> u64 {
        let reserved = self.reserved.div_ceil(PAGE as u64);
        let (start, end) = (first.max(reserved), first + count);
        if start >= end {
            return 0;
        }
        let present = self.shown.pages_from(start).take_while(|(number, _)| *number < end).count();
        end - start - present as u64
    }

    /// Make a change visible, and loose.
    pub(super) fn change(&mut self, number: u64, reaped: u64, what: What, keep_earlier: bool) {
        if let (true, What::Write(first, data)) = (keep_earlier, &what) {
            for page in *first..*first + (data.len() / PAGE) as u64 {
                if let Some(old) = self.shown.page(page) {
                    self.earlier.insert(page, old.clone());
                }
            }
        }
        apply(Arc::make_mut(&mut self.shown), &what);
        match &what {
            What::Write(first, data) => {
                self.damage.overwritten(*first..*first + (data.len() / PAGE) as u64);
            }
            What::SetLen(len) => self.cut_beyond(*len),
            What::Grow(_) => {}
        }
        self.loose.push(Change { number, reaped, what });
    }

    fn cut_beyond(&mut self, len: u64) {
        let first = len.div_ceil(PAGE as u64);
        self.reserved = self.reserved.min(first * PAGE as u64);
        self.damage.overwritten(first..u64::MAX);
        drop(self.earlier.split_off(&first));
        self.charged = self.count_pages();
    }

    /// Set space aside for the first `len` bytes.
    pub(super) fn reserve(&mut self, len: u64) {
        self.reserved = self.reserved.max(len);
        self.charged = self.count_pages();
    }

    /// Pages that it takes, counted anew.
    pub(super) fn count_pages(&self) -> u64 {
        let reserved = self.reserved.div_ceil(PAGE as u64);
        reserved + self.shown.pages_from(reserved).count() as u64
    }

    /// The completion of operation `number` was given out, as the `at`-th of all; it had made `parts` changes.
    pub(super) fn reap(&mut self, number: u64, parts: u32, at: u64) {
        let own = self.loose.iter_mut().rev().filter(|change| change.number == number);
        for change in own.take(parts as usize) {
            change.reaped = at;
        }
    }

    /// Make durable what was given out up to `mark`.
    pub(super) fn sync(&mut self, mark: u64) {
        if self.loose.is_empty() {
            return;
        }
        let kept = Arc::make_mut(&mut self.kept);
        self.loose.retain(|change| {
            let covered = change.reaped <= mark;
            if covered {
                apply(kept, &change.what);
            }
            !covered
        });
    }

    /// Whether a sync up to `mark` that fails has a write to lose.
    pub(super) fn would_lose(&self, mark: u64) -> bool {
        let mut covered = self.loose.iter().filter(|change| change.reaped <= mark);
        covered.any(|change| matches!(change.what, What::Write(..)))
    }

    /// Lose what a sync up to `mark` should have made durable, as a kernel does that marks pages clean after a failed
    /// write-back. Lengths stay, so the place of the lost data can still be read. `evict`: reads notice at once;
    /// otherwise a cache hides it until the next power cut.
    pub(super) fn lose(&mut self, mark: u64, evict: bool) {
        for change in self.loose.iter_mut().filter(|change| change.reaped <= mark) {
            if let What::Write(first, data) = &change.what {
                change.what = What::Grow(first * PAGE as u64 + data.len() as u64);
            }
        }
        if evict {
            let mut shown = (*self.kept).clone();
            self.loose.iter().for_each(|change| apply(&mut shown, &change.what));
            self.shown = Arc::new(shown);
            self.charged = self.count_pages();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &mut SimFile, number: u64, reaped: u64, first: u64, byte: u8) {
        file.change(number, reaped, What::Write(first, vec![byte; PAGE].into()), false);
    }

    fn byte(image: &Image, page: u64) -> u8 {
        image.page(page).map_or(0, |page| page.bytes()[0])
    }

    #[test]
    fn a_sync_covers_what_was_given_out_before_it() {
        let mut file = SimFile::default();
        write(&mut file, 1, NEVER, 0, 1);
        write(&mut file, 2, NEVER, 1, 2);
        file.reap(1, 1, 5);
        file.sync(5);
        assert_eq!((byte(&file.kept, 0), byte(&file.kept, 1), file.kept.len()), (1, 0, PAGE as u64));
        file.reap(2, 1, 6);
        file.sync(5);
        assert_eq!(file.loose.len(), 1, "given out after the sync was submitted");
        file.sync(6);
        assert_eq!((byte(&file.kept, 1), file.loose.len()), (2, 0));
    }

    #[test]
    fn a_lost_sync_keeps_the_length() {
        for evict in [false, true] {
            let mut file = SimFile::default();
            write(&mut file, 1, 1, 0, 1);
            file.lose(1, evict);
            file.sync(1);
            assert_eq!((byte(&file.kept, 0), file.kept.len()), (0, PAGE as u64));
            assert_eq!(byte(&file.shown, 0), u8::from(!evict));
        }
    }

    #[test]
    fn space_is_charged_once() {
        let mut file = SimFile::default();
        file.reserve(4 * PAGE as u64);
        assert_eq!((file.charged, file.pages_needed(2, 4)), (4, 2));
        write(&mut file, 1, 1, 5, 1);
        assert_eq!((file.count_pages(), file.pages_needed(4, 2)), (5, 1));
        file.change(2, 1, What::SetLen(PAGE as u64), false);
        assert_eq!((file.charged, file.pages_needed(0, 2)), (1, 1));
    }
}
