//! A container that is found damaged while the store is in use: nobody relies on it from there on.
//!
//! What it holds counts as unknown, now and after the next opening, and is stored again when it comes again. The vacuum
//! takes out of it what is needed and can be read.

use std::sync::Arc;

use crate::error::Result;
use crate::ids::ContainerId;
use crate::index::{Batch, CheckedRow, ContainerRow, ContainerState, Index};
use crate::leaving::Leaving;
use crate::suspects::Suspects;
use crate::visits::Visits;

/// See the module. Shared by all tasks of one open store.
#[derive(Clone)]
pub struct Doubts {
    /// Where it is written down.
    pub index: Arc<dyn Index>,
    /// Told first: what is stored again lies twice.
    pub suspects: Suspects,
    /// Told then.
    pub leaving: Leaving,
    /// The clock of those who may rely on it already.
    pub visits: Visits,
}

impl Doubts {
    /// Give up `id`. `open` is its row if it was to be filled, which it is not any more.
    ///
    /// # Errors
    /// The index failed: in this opening it is given up all the same.
    pub fn give_up(&self, id: ContainerId, open: Option<ContainerRow>) -> Result<()> {
        let raised = self.suspects.raise();
        self.leaving.add(id, || self.visits.now());
        raised?;
        let draining = open.map(|row| (id, ContainerRow { state: ContainerState::Draining, ..row }));
        let checked = vec![(id, CheckedRow::MET_DAMAGE)];
        self.index.commit(Batch { containers: draining.into_iter().collect(), checked, ..Batch::default() })
    }
}
