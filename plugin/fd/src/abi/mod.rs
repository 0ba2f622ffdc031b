//! The C interface of bacula-fd, in the versions that are known here. The only place with `unsafe`.

pub mod entry;
pub mod host;
pub mod layout;
