//! Completion I/O for gdd: one trait, three backends (io_uring, `pread`/`pwrite`, a seeded simulator).

pub mod buffer;
pub mod conformance;
pub mod io;
