//! A disk that is made of memory, one seed and bad luck: the third backend of [`crate::io::Io`].
//!
//! Code that survives power cuts and lying disks cannot be tested on disks that work. Here every un-synced sector may
//! be lost or torn, completions come late and in any order, syncs fail and then lie, and space runs out; and whatever
//! went wrong happens again, exactly, from the same seed. The engine cannot tell the difference: the simulator passes
//! the same [`crate::conformance`] suite as the real backends.
//!
//! # Use
//! Make a [`SimDisk`], run the program on doors of [`SimDisk::source`], cut the power ([`SimDisk::crash_at`]), and run
//! recovery on [`SimDisk::crash`] or on every one of [`SimDisk::crash_images`].
//!
//! # Invariants
//! - One seed and one order of calls give one history. There is no real clock, no system call and no other chance.
//! - Nothing that the durability contract of [`crate::io`] promises is ever lost, but by faults that were asked for.
//! - Whatever that contract leaves open does happen, under some seed.
//! - True bytes are kept under all damage at rest, so [`SimDisk::heal`] can show them.
//!
//! # What it does not do
//! It knows no links, no permissions, no renaming of folders, and no page cache: reads see accepted writes at once, as
//! with direct I/O.

mod crash;
mod damage;
mod disk;
mod door;
mod faults;
mod file;
mod flight;
mod hits;
mod image;
mod inspect;
mod log;
mod names;
mod rng;
mod world;

pub use crash::CrashImages;
pub use disk::SimDisk;
pub use door::{SimIo, SimSource};
pub use faults::{Fault, Faults, Latency, OpKind, Planned, is_power_cut};
pub use hits::{Hit, Hits};
pub use inspect::{SimDamage, SimEntry};
pub use rng::Rng;
