//! Bugs that can be planted on purpose, to prove that the simulation would see them.
//!
//! A test that cannot fail proves nothing. Each of these is a mistake that some storage engine made for real; with one
//! planted, the simulation must report a loss within a bounded number of seeds. Compiled in only with the feature
//! `planted-bugs`, which no product build has; otherwise `has` is the constant `false`.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Streams hear "durable" although the data was never synced.
    AckBeforeSync,
    /// The index names data whose writes are not complete.
    IndexBeforeData,
    /// A new container's name is not made durable.
    SkipDirectorySync,
    /// Payloads are believed whatever their CRC-32 says, by recovery, which takes it for the payload's only check, by
    /// recall and by fsck. A torn batch whose headers are whole is adopted, and what is stored against it is lost.
    IgnoreChecksum,
    /// A batch or record is believed although it says that it belongs elsewhere or is another chunk. Over bytes that
    /// belong elsewhere BLAKE3 covers the lack of every other check, so it goes along: it is compared with what the
    /// record says of itself, and still sees bytes that rotted.
    BelieveMisdirected,
    /// A failed data sync is tried again, as often as the disk has power, and its success believed.
    RetrySync,
    /// Recovery adopts the tail of a container as it reads it, though a sync that failed may have left it in a cache
    /// only.
    AdoptFromCache,
    /// Recovery adopts recipes whose names are not durable.
    AdoptUnsyncedNames,
    /// What an unfinished stream has so far is called safe although its journal was not synced.
    SkipJournalSync,
    /// Chunks in a container that the vacuum empties still count as known.
    HitInLeaving,
    /// The vacuum does not wait for streams that were begun before a container left.
    NoGrace,
    /// The vacuum looks for what is needed before it waits for streams, not after.
    RootsBeforeGrace,
    /// The vacuum frees a container although a stream is being read that was begun before it was emptied.
    FreeUnderReader,
    /// The vacuum frees a container whose chunks it has not moved.
    FreeUndrained,
    /// The vacuum frees a container before what it has moved is durable.
    FreeBeforeDurable,
    /// The vacuum forgets chunks that were stored anew elsewhere meanwhile.
    ForgetMoved,
    /// The vacuum gives the file away before the index says that the container is free.
    UnlinkBeforeCommit,
    /// The scrub does not keep the vacuum from freeing what it reads.
    ScrubUnseen,
    /// Slices are taken of chunks that nobody was asked about.
    SliceUnasked,
    /// The store goes on although a stream that was given up may come back after a crash.
    GiveUpUnsynced,
    /// The file of a container that a crash left empty is used again, though a write may still be on its way to it.
    RecycleEmptied,
}

impl Bug {
    /// Those that chance shows within a thousand seeds; the others have tests of their own.
    pub const ALL: [Self; 19] = [
        Self::AckBeforeSync,
        Self::IndexBeforeData,
        Self::SkipDirectorySync,
        Self::IgnoreChecksum,
        Self::BelieveMisdirected,
        Self::RetrySync,
        Self::AdoptFromCache,
        Self::AdoptUnsyncedNames,
        Self::SkipJournalSync,
        Self::HitInLeaving,
        Self::NoGrace,
        Self::RootsBeforeGrace,
        Self::FreeUnderReader,
        Self::FreeUndrained,
        Self::FreeBeforeDurable,
        Self::ForgetMoved,
        Self::UnlinkBeforeCommit,
        Self::ScrubUnseen,
        Self::SliceUnasked,
    ];
}

#[cfg(feature = "planted-bugs")]
mod planting {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plant a bug in everything that this thread runs, or remove it.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether a bug is planted in this thread.
    pub(crate) fn has(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(feature = "planted-bugs")]
pub(crate) use planting::has;
#[cfg(feature = "planted-bugs")]
pub use planting::plant;

/// Without the feature there are no planted bugs.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn has(_: Bug) -> bool {
    false
}
