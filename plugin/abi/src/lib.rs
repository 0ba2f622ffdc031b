//! What a plugin must find out about the Bacula daemon that loaded it: which version it is, where its functions are,
//! how its tables of virtual functions look.
//!
//! Bacula has no stable C++ interface. An offset that was compiled in is right for one build and silently wrong for
//! the next, and wrong means a write into somebody else's memory. So nothing is compiled in: symbols are looked up by
//! name, slots are found by the address that they hold, and the one field that is needed is found by a probe. What
//! cannot be found, or is found twice, or belongs to an unknown version, is [refused](error::Refused) with a remedy.
//!
//! # Invariants
//! - A refusal leaves the daemon as it was: nothing of it is changed before everything was found.
//! - What is handed out for the daemon's use (a table, an object) is never freed by us.
//! - No panic crosses the boundary: entry points run inside [`guard::guarded`].

pub mod close;
pub mod error;
pub mod guard;
pub mod host;
pub mod message_types;
pub mod probe;
pub mod settings;
pub mod symbols;
pub mod version;
pub mod vtable;
