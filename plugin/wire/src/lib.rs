//! The authenticated, encrypted channel of bothsides mode: a plugin in bacula-fd at one end, the daemon at the other.
//!
//! A connection begins with a handshake ([`handshake`]: Noise NNpsk0 with the key of a [`Key`] file), which gives both
//! ends the same [`Session`] or none. From then on messages travel in sealed records ([`record`]), each direction under
//! a key of its own, until the sender says with a record that it is done.
//!
//! # Invariants
//! - Both ends agree on every byte of the handshake, or neither has a channel: the keys of the records are derived from
//!   the transcript, and a daemon has no session before the client has proved that it can use them.
//! - What is delivered is what was sent, in its order and without a gap. Anything else is a typed error, after which
//!   the direction is dead.
//! - The end of the data is a record. A connection that merely closes is an error.
//! - Nothing that a peer says is believed before its bound was checked; nothing is allocated for a length that was
//!   merely announced, but for one record.
//! - It knows no store, no Bacula and no thread, and blocks in the caller's: both ends, of different licences, link it.

mod codec;
mod error;
pub mod handshake;
pub mod key;
pub mod limits;
pub mod message;
pub mod record;
pub mod report;
pub mod segment;
pub mod suite;
mod transport;

pub use error::{Malformed, WireError};
pub use handshake::{
    Accepted, BootId, Channel, Connected, Identity, Introduction, Session, SessionId, StoreId, accept,
    connect,
};
pub use key::{Domain, Key, KeyError, KeyId, KeyRing};
pub use record::{Reader, Writer};
pub use report::Report;
pub use transport::Transport;
