//! Completion I/O for gdd: one trait, three backends (io_uring, `pread`/`pwrite`, a seeded simulator).

pub mod abort;
pub mod buffer;
pub mod conformance;
pub mod io;
pub mod kernel;
pub mod lock;
pub mod mapped;
pub mod probe;
pub mod sim;

mod blocking;
mod complete;
mod doorbell;
mod file;
mod in_flight;
mod live;
mod notes;
mod remedy;
mod ring;
mod submit;
mod transfer;
