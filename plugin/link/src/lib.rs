//! What storage mode's two ends say to each other: a driver in bacula-sd, and the daemon.
//!
//! A connection begins with packets on the control socket ([`hello`]): the driver says who it is, the daemon answers
//! with its tokens and the offer of a channel, or with a refusal. From then on [`Request`]s go up one ring and
//! [`Answer`]s come down the other.
//!
//! # Invariants
//! - Each message names its session. A daemon that does not know it answers [`ERR_STALE`] and nothing else, and the
//!   connection ends: a daemon that was replaced must not go on with the stream of another.
//! - Each answer names the request that it is for.
//! - Decoding believes nothing: what is too short, too long or unknown is a [`Malformed`].
//! - It knows no ring, no store and no Bacula: both ends, of different licences, link it.

pub mod answer;
pub mod hello;
pub mod limits;
mod place;
pub mod request;
mod wire;

pub use answer::{Answer, ERR_STALE, Trouble};
pub use hello::{Hello, Tokens, Welcome};
pub use place::plugin_socket;
pub use request::{About, Request};
pub use wire::{HEAD_SIZE, Head, Malformed};
