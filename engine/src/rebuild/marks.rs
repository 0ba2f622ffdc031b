//! What an index knows that no file says: which chunks cannot be given back, which containers are on their way out and
//! when each was checked.
//!
//! A rebuild takes it over from the old index, if that can be read to the end. If it cannot, nothing is known of the
//! containers: they count as unchecked ([`crate::unchecked`]).

use std::collections::BTreeMap;

use crate::error::Result;
use crate::ids::{ChunkHash, ContainerId};
use crate::index::{CheckedRow, ContainerRow, ContainerState, Index, MetaKey};
use crate::suspects;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Chunks that are suspect.
    pub suspects: Vec<ChunkHash>,
    /// What was found in which container, and when.
    pub checked: BTreeMap<ContainerId, CheckedRow>,
    /// Containers that are being emptied, or are quarantined.
    pub leaving: BTreeMap<ContainerId, ContainerState>,
    /// Every container that it had.
    pub containers: BTreeMap<ContainerId, ContainerRow>,
    /// When upkeep was last done, and what was unchecked already.
    pub meta: Vec<(MetaKey, Vec<u8>)>,
}

impl Marks {
    /// Those of `index`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(index: &dyn Index) -> Result<Self> {
        let rows = index.containers()?;
        let leaving = rows.iter().map(|(id, row)| (*id, row.state));
        let states = [ContainerState::Draining, ContainerState::Quarantined];
        let mut meta = Vec::new();
        for key in [MetaKey::Vacuumed, MetaKey::Scrubbed, MetaKey::Unchecked] {
            meta.extend(index.meta(key)?.map(|value| (key, value)));
        }
        meta.extend(suspects::may_be_twice(index)?.then(|| suspects::mark(true)));
        Ok(Self {
            suspects: index.suspects()?,
            checked: index.checked()?.into_iter().collect(),
            leaving: leaving.filter(|(_, state)| states.contains(state)).collect(),
            containers: rows.into_iter().collect(),
            meta,
        })
    }

    /// How far a container was durable.
    #[must_use]
    pub fn durable_len(&self, id: ContainerId) -> Option<u64> {
        self.containers.get(&id).map(|row| row.durable_len)
    }

    /// Containers with something in them.
    pub fn filled(&self) -> impl Iterator<Item = (ContainerId, ContainerRow)> {
        let is_filled = |row: &ContainerRow| match row.state {
            ContainerState::Free => false,
            ContainerState::Quarantined => true, // What is in it may not be known.
            _ => row.record_count > 0,
        };
        self.containers.iter().filter(move |(_, row)| is_filled(row)).map(|(id, row)| (*id, *row))
    }

    /// Whether chunks may have been stored twice.
    #[must_use]
    pub fn twice(&self) -> bool {
        self.meta.iter().any(|(key, _)| *key == MetaKey::Twice)
    }
}
