//! How far long work is, told to whoever asked.

/// A report of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, as a verb: "store", "verify", "read".
    pub stage: &'static str,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, where known.
    pub total: Option<u64>,
}
