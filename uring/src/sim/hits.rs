//! How often each kind of bad luck really struck: a run without any proves nothing about surviving it.

/// What struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Hit {
    /// A read failed with `EIO`, by a drawn fault.
    ReadError,
    /// A write failed with `EIO`, and left a part of its sectors.
    WriteError,
    /// A sync of a file failed with `EIO`.
    SyncError,
    /// A sync of a directory failed with `EIO`.
    DirSyncError,
    /// A failed sync dropped a write that it should have made durable.
    SyncDropped,
    /// Something failed with `ENOSPC`.
    NoSpace,
    /// A read or write stopped half-way and went on later.
    Short,
    /// A completion took fifty times as long as others.
    Late,
    /// A poll gave out a part of the completions that it had.
    HeldBack,
    /// A write was reported done and lost.
    WriteLost,
    /// A write landed somewhere else.
    WriteMisdirected,
    /// A bit of a write rotted.
    BitFlipped,
    /// A sector of a write became unreadable.
    SectorDead,
    /// A read gave an older version of a page.
    StaleRead,
    /// A read gave other bytes than were written, or failed, because of damage at rest.
    DamageRead,
    /// The process was ended.
    Kill,
    /// The power was cut.
    PowerCut,
    /// A power cut left a write that was not synced in part: some sectors new, some old.
    WriteTorn,
    /// A power cut lost a write that was not synced.
    WriteUnsynced,
    /// A power cut lost a change of names that was not synced.
    NameUnsynced,
    /// A power cut kept a write that was not synced although one before it, in the same file, was lost.
    Reordered,
}

impl Hit {
    /// How many kinds there are.
    pub(super) const COUNT: usize = Self::Reordered as usize + 1;

    /// Every kind.
    pub const ALL: [Self; Self::COUNT] = [
        Self::ReadError,
        Self::WriteError,
        Self::SyncError,
        Self::DirSyncError,
        Self::SyncDropped,
        Self::NoSpace,
        Self::Short,
        Self::Late,
        Self::HeldBack,
        Self::WriteLost,
        Self::WriteMisdirected,
        Self::BitFlipped,
        Self::SectorDead,
        Self::StaleRead,
        Self::DamageRead,
        Self::Kill,
        Self::PowerCut,
        Self::WriteTorn,
        Self::WriteUnsynced,
        Self::NameUnsynced,
        Self::Reordered,
    ];
}

/// A count of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hits([u64; Hit::COUNT]);

impl Default for Hits {
    fn default() -> Self {
        Self([0; Hit::COUNT])
    }
}

impl Hits {
    /// It struck once more.
    pub(super) fn add(&mut self, hit: Hit) {
        self.0[hit as usize] += 1;
    }

    /// How often it struck.
    #[must_use]
    pub fn of(&self, hit: Hit) -> u64 {
        self.0[hit as usize]
    }

    /// Take in what struck elsewhere.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

impl std::fmt::Display for Hits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut first = true;
        for hit in Hit::ALL {
            write!(f, "{}{hit:?} {}", if first { "" } else { ", " }, self.of(hit))?;
            first = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_at_its_place() {
        for (place, hit) in Hit::ALL.into_iter().enumerate() {
            assert_eq!(hit as usize, place);
        }
        let mut hits = Hits::default();
        hits.add(Hit::Late);
        hits.merge(&hits.clone());
        assert_eq!((hits.of(Hit::Late), hits.of(Hit::Short)), (2, 0));
        assert!(hits.to_string().contains("Late 2, "), "{hits}");
    }
}
