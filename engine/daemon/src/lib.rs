//! What the daemon serves, apart from its command line.

pub mod jobs;
pub mod net;
pub mod storage;
