//! Containers: append-only files of self-describing records. Made by [`prepare`], filled by [`writer`], read back after
//! a crash by [`scan`]; their bytes are drawn in FORMAT.md.

pub mod batch;
pub mod doubts;
pub mod free;
pub mod prepare;
pub mod records;
pub mod salvage;
pub mod scan;
pub mod tail;
pub mod writer;
