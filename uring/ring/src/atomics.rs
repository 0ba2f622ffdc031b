//! The few atomic operations that two sides of a ring share, as a trait: the product uses the machine's, the model
//! checker (`model.rs`, in tests) its own, and both run the very same counters and handshake.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// A word that two sides share: one stores it, the other loads it.
pub(crate) trait Word {
    #[cfg(test)]
    fn new(value: u64) -> Self;
    fn load(&self, ordering: Ordering) -> u64;
    fn store(&self, value: u64, ordering: Ordering);
}

/// A kind of atomics.
pub(crate) trait Atomics {
    type Word: Word;
    /// `fence(SeqCst)`.
    fn fence();
}

/// Those of the machine; a word has the size and alignment of a `u64`.
#[derive(Debug)]
pub(crate) struct Native;

impl Atomics for Native {
    type Word = AtomicU64;

    fn fence() {
        fence(Ordering::SeqCst);
    }
}

impl Word for AtomicU64 {
    #[cfg(test)]
    fn new(value: u64) -> Self {
        Self::new(value)
    }

    fn load(&self, ordering: Ordering) -> u64 {
        self.load(ordering)
    }

    fn store(&self, value: u64, ordering: Ordering) {
        self.store(value, ordering);
    }
}
