//! The volume's file: everything of the blocks but the payload. plugin/sd/FORMAT.md has the bytes.
//!
//! ```text
//! header | group | entry entry ... | group | entry entry ...
//! ```
//!
//! Entries are only ever appended. Differences are taken within a group only, so that reading starts at any group.
//! Every entry has a checksum that also covers the volume's id and the entry's own offset: what a file system brings up
//! from a former life of these blocks is not mistaken for an entry.
//!
//! # Crash consistency
//! A group says up to where the file was synced when it was written. Bytes that make no entry are a torn end when
//! nothing behind them claims that they were synced, and damage when something does. A torn end is ignored, and cut off
//! when the volume is next written; damage is an error of every read that would have needed it.

pub mod entry;
pub mod frame;
pub mod group;
pub mod index;
pub mod reader;
pub mod walk;
pub mod writer;
