//! The advisor behind `gdd tune`: what a storage server's settings are, what would suit a store better, and why.
//!
//! Operators copy sysctls from the web that were right for another kernel, another disk, or nobody. So every finding
//! says what was found, what is wanted, why, how sure we are, and the exact shell line; and what can be tried on the
//! machine itself names the settings of such a trial, which `gdd tune --measure` carries out.
//!
//! ```text
//! tree (files below a root) -> facts (mounts, disks, machine) -> advice (rules) -> report -> script
//! ```
//!
//! # Invariants
//! - It reads, and never writes: no file is opened for writing in this crate.
//! - Nothing that stands in a file is believed. Whatever the tree holds there is a report and no panic, and no text of
//!   a file reaches a shell unquoted.
//! - What could not be read is said; a setting that was not seen is never called fine.
//!
//! # What it does not do
//! It opens no store and asks no daemon. It does not measure; [`verdict`] judges what others measured.
#![forbid(unsafe_code)]

pub mod facts;
pub mod finding;
pub mod report;
pub mod script;
pub mod tree;
pub mod verdict;

mod advice;
mod shell;

pub use advice::advise;
