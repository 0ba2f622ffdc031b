//! The store.

pub mod error;
pub mod format;
pub mod ids;
pub mod limits;
