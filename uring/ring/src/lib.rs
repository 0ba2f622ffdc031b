//! Rings in shared memory between the daemon and a plugin that runs inside another program.
//!
//! Bacula's daemons are not ours: they fork, they are killed, their memory may be damaged by any other plugin. So the
//! two ends of a channel share bytes and nothing else: no lock that a dead owner could hold, no pointer, no length that
//! is believed. Every word from the peer is loaded once, checked, and used from the copy; a lie is a typed error that
//! ends the session ([`Violation`]), never a panic and never a read outside of the ring.
//!
//! ```text
//!  plugin                    one sealed memfd                    daemon
//!  Endpoint.producer --up:   [ ... records ... ]--------> Endpoint.consumer     reads ahead,
//!                                                                               releases what is durable
//!  Endpoint.consumer <-------[ ... records ... ] :down--- Endpoint.producer
//!        bell <------------- one Unix socket pair --------------> bell
//!        Peer <-- control socket (SOCK_SEQPACKET), pidfd of each other --> Peer
//! ```
//!
//! # Invariants
//! - A message is published by one store after all of it was written: a producer that dies in between sent nothing.
//! - A message stays in the ring until the consumer releases it; the producer can walk what is left
//!   ([`Producer::unreleased`]).
//! - Everything is freed with the process: memory and bell have no name and no owner but their descriptors.
//!
//! # What it does not do
//! It starts no thread and knows no message: kinds, flags and payloads belong to the session. It does not detect
//! payload bytes that the peer changed after sending them; the daemon copies, then hashes.

pub mod limits;

mod atomics;
mod bell;
mod consumer;
mod counters;
mod endpoint;
mod error;
mod layout;
mod memory;
mod peer;
mod process;
mod producer;
mod record;
mod sleep;

#[cfg(test)]
mod model;

pub use consumer::{Consumer, Incoming, Message, Position};
pub use endpoint::{Endpoint, Handover, Wanted, Woken};
pub use error::{Gone, PushError, Refused, Violation, WaitError};
pub use layout::{OFFER_SIZE, Offer, Side};
pub use peer::{Listener, Packet, Peer, Seen};
pub use producer::{Producer, Reservation, Unreleased};
