//! What whole-system tests share: seeded data, odd directory trees, a way to run and kill the real `gdd`.
//!
//! Everything is a function of a seed, so a failure is replayed by its seed. Only [`simulation`] links the engine; the
//! other tests use the product as a user does.
//!
//! Helpers fail by assertion with the whole story in the message (command, exit code, both outputs), because a test
//! that says only "failed" is read twice.

pub use gdd_rig::{random, snapshot, stream, tree};

pub mod bacula;
pub mod bothsides;
pub mod client;
pub mod companion;
pub mod copy;
pub mod damage;
pub mod denied;
pub mod effort;
pub mod far;
pub mod faults;
pub mod gdd;
pub mod host13;
pub mod joined;
pub mod json;
pub mod memory;
pub mod meter;
pub mod mixed;
pub mod network;
pub mod running;
pub mod serial;
pub mod serving;
pub mod simulation;
pub mod small_disk;
pub mod soak;
pub mod source;
pub mod tun;
pub mod untouched;
pub mod victim;
pub mod workspace;
