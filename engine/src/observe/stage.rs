//! The stages whose time is recorded, each named once: here.

/// A stage of the work on a store.
///
/// A record is one piece of work, large enough that reading the clock twice is nothing beside it: an extent, a batch of
/// chunks, a group commit. Chunks are too small for that on the way in; on the way out each is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A service waited for its ring to bring something, while a stream was open.
    RingWait,
    /// A message lay in a service's ring, from when it was read until it was durable and given back.
    RingHeld,
    /// A stream waited for the workers: its window was full, or it was ending.
    StreamWait,
    /// An extent was cut and hashed.
    CutHash,
    /// The filter was asked about a batch of chunks.
    Filter,
    /// The index was asked about a batch of chunks.
    Index,
    /// The new chunks of a batch were compressed, summed and copied into a container.
    Append,
    /// A group commit waited for its container writes.
    Write,
    /// A group commit synced its containers.
    Sync,
    /// A group commit made its index entries durable.
    Commit,
    /// A chunk was handed out that was in the cache.
    RecallCacheHit,
    /// A chunk was handed out that read-ahead had brought.
    RecallReadAhead,
    /// A chunk was handed out after waiting for the disk.
    RecallCold,
}

impl Stage {
    /// Every stage, in the order in which data meets them.
    pub const ALL: [Self; 13] = [
        Self::RingWait,
        Self::RingHeld,
        Self::StreamWait,
        Self::CutHash,
        Self::Filter,
        Self::Index,
        Self::Append,
        Self::Write,
        Self::Sync,
        Self::Commit,
        Self::RecallCacheHit,
        Self::RecallReadAhead,
        Self::RecallCold,
    ];

    /// Its name in tables, files and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingWait => "ring_wait",
            Self::RingHeld => "ring_held",
            Self::StreamWait => "stream_wait",
            Self::CutHash => "cut_hash",
            Self::Filter => "filter",
            Self::Index => "index",
            Self::Append => "append",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Commit => "commit",
            Self::RecallCacheHit => "recall_cache_hit",
            Self::RecallReadAhead => "recall_read_ahead",
            Self::RecallCold => "recall_cold",
        }
    }

    /// What one record is the time of.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::RingWait => "waiting for a ring",
            Self::RingHeld => "a message, until durable",
            Self::StreamWait => "a stream waiting for workers",
            Self::CutHash => "an extent",
            Self::Filter => "a batch of chunks",
            Self::Index => "a batch of chunks",
            Self::Append => "the new chunks of a batch",
            Self::Write => "a commit's writes",
            Self::Sync => "a commit's data sync",
            Self::Commit => "a commit's index entries",
            Self::RecallCacheHit | Self::RecallReadAhead | Self::RecallCold => "a chunk",
        }
    }
}

/// How a chunk was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// In the cache.
    CacheHit,
    /// Brought by read-ahead before it was asked for.
    ReadAhead,
    /// By waiting for the disk.
    Cold,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::CacheHit, Self::ReadAhead, Self::Cold];

    /// Where its times are recorded.
    #[must_use]
    pub const fn stage(self) -> Stage {
        match self {
            Self::CacheHit => Stage::RecallCacheHit,
            Self::ReadAhead => Stage::RecallReadAhead,
            Self::Cold => Stage::RecallCold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_stands_at_its_place_under_a_name_of_its_own() {
        let mut names: Vec<_> = Stage::ALL.iter().map(|stage| stage.name()).collect();
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, place, "slots are found by number");
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Stage::ALL.len());
    }
}
