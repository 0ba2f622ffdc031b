//! The store.

pub mod error;
pub mod ids;
pub mod limits;
