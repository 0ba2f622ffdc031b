//! A store that cannot be used, and says why to every job that tries.

use super::{Receipt, Store, StoreError, StoreId, StreamId, Unreleased, VolumeId};
use crate::block::SessionId;
use crate::label::About;

/// Answers everything with one error.
#[derive(Debug)]
pub struct RefusingStore {
    why: StoreError,
}

impl RefusingStore {
    /// Refuses with `why`.
    pub fn new(why: StoreError) -> Self {
        Self { why }
    }

    fn refuse<T>(&self) -> Result<T, StoreError> {
        Err(self.why.clone())
    }
}

impl Store for RefusingStore {
    fn begin(&mut self, _: VolumeId, _: SessionId, _: &About) -> Result<StreamId, StoreError> {
        self.refuse()
    }

    fn append(&mut self, _: StreamId, _: bool, _: &[u8]) -> Result<(), StoreError> {
        self.refuse()
    }

    fn durable(&mut self, _: StreamId) -> Result<u64, StoreError> {
        self.refuse()
    }

    fn flush(&mut self, _: StreamId) -> Result<(), StoreError> {
        self.refuse()
    }

    fn unreleased(&mut self, _: StreamId) -> Result<Unreleased, StoreError> {
        self.refuse()
    }

    fn finish(&mut self, _: StreamId, _: u64, _: u128) -> Result<Receipt, StoreError> {
        self.refuse()
    }

    fn abandon(&mut self, _: StreamId) {}

    fn recall(&mut self, _: StreamId, _: u64, _: &mut [u8]) -> Result<(), StoreError> {
        self.refuse()
    }

    fn length(&mut self, _: StreamId) -> Result<Option<u64>, StoreError> {
        self.refuse()
    }

    fn retire(&mut self, _: VolumeId) -> Result<(), StoreError> {
        self.refuse()
    }

    fn id(&mut self) -> Result<StoreId, StoreError> {
        self.refuse()
    }

    fn reachable(&mut self) -> Result<(), StoreError> {
        self.refuse()
    }
}
