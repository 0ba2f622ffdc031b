//! One side of a channel: the half that sends, the half that receives, and how to wait for both.
//!
//! The daemon makes a channel and sends an offer with two descriptors (memory, bell) over the control socket; the
//! plugin accepts it. From then on the two are alike, each in one thread.
//!
//! # Invariants
//! - A wait ends: by progress, by a packet, by the loss of the peer, or at its deadline; and at least each
//!   [`SLEEP_MS_MAX`] it looks for itself, so a peer that never rings costs time and nothing else.
//! - Progress is looked for before the peer's health: what it published before it died can be read. Who streams without
//!   ever waiting asks [`Peer::check`] now and then.

use std::hint::spin_loop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use crate::bell::Bell;
use crate::consumer::Consumer;
use crate::error::{Gone, Refused, Violation, WaitError};
use crate::layout::{Direction, OFFER_SIZE, Offer, Side};
use crate::limits::{SLEEP_MS_MAX, SPIN_CORES_MORE_THAN, SPIN_US_MAX};
use crate::memory::{self, Memory};
use crate::peer::{Peer, Seen};
use crate::producer::Producer;
use crate::sleep::{announce, withdraw};

/// One side of a channel.
#[derive(Debug)]
pub struct Endpoint {
    /// Sends to the peer.
    pub producer: Producer,
    /// Receives from the peer.
    pub consumer: Consumer,
    bell: Arc<Bell>,
    spin: Duration,
}

/// What the daemon sends to the plugin, as one control packet. Dropped after that, as a plugin's death would not close
/// the bell while we hold the plugin's end of it.
#[derive(Debug)]
pub struct Handover {
    offer: Offer,
    memory: OwnedFd,
    bell: OwnedFd,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Something to receive.
    pub message: bool,
    /// Room to send a payload of so many bytes.
    pub room: Option<u32>,
}

/// How a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// What was wanted is there, or one of it.
    Ready,
    /// A packet waits on the control socket.
    Packet,
    /// The time is over.
    Elapsed,
}

impl Endpoint {
    /// Make a channel: the daemon's side, and what to send to the plugin.
    ///
    /// # Errors
    /// [`Refused`]: capacities outside the limits, or no memory.
    pub fn create(offer: Offer) -> Result<(Self, Handover), Refused> {
        let file = memory::create(&offer)?;
        let memory = Memory::map(&file, &offer, Side::Daemon)?;
        for direction in [Direction::Up, Direction::Down] {
            memory.lines(direction).format(offer.capacity(direction), offer.generation);
        }
        let (ours, theirs) = Bell::pair()?;
        let endpoint = Self::new(memory, &offer, Side::Daemon, ours);
        Ok((endpoint, Handover { offer, memory: file, bell: theirs }))
    }

    /// Accept a channel: the plugin's side, from an offer and the two descriptors that came with it.
    ///
    /// # Errors
    /// [`Refused`]: memory that is not sealed, has another size or another header, or a bell that is none.
    pub fn accept(offer: &[u8], fds: Vec<OwnedFd>) -> Result<Self, Refused> {
        let offer = Offer::from_bytes(offer)?;
        let [file, bell] = <[OwnedFd; 2]>::try_from(fds).map_err(|fds| Refused::Descriptor {
            what: "count",
            found: format!("{} with an offer, expected 2", fds.len()),
        })?;
        memory::check(&file, &offer)?;
        let memory = Memory::map(&file, &offer, Side::Plugin)?;
        for direction in [Direction::Up, Direction::Down] {
            memory.lines(direction).check(offer.capacity(direction), offer.generation)?;
        }
        Ok(Self::new(memory, &offer, Side::Plugin, Bell::received(bell)?))
    }

    fn new(memory: Memory, offer: &Offer, side: Side, bell: Bell) -> Self {
        let (memory, bell) = (Arc::new(memory), Arc::new(bell));
        let (sends, receives) = match side {
            Side::Daemon => (Direction::Down, Direction::Up),
            Side::Plugin => (Direction::Up, Direction::Down),
        };
        let producer = Producer::new(Arc::clone(&memory), sends, offer.token, Arc::clone(&bell));
        let consumer = Consumer::new(memory, receives, offer.token, Arc::clone(&bell));
        let cores = available_parallelism().map_or(1, usize::from);
        let spin_us = if cores > SPIN_CORES_MORE_THAN { SPIN_US_MAX } else { 0 };
        Self { producer, consumer, bell, spin: Duration::from_micros(spin_us) }
    }

    /// Wait for `wanted`, for a packet, or until `timeout` is over.
    ///
    /// # Errors
    /// [`WaitError::Gone`] when the peer is lost and nothing wanted is left, [`WaitError::Violation`] when it lied.
    pub fn wait(&mut self, wanted: Wanted, peer: &Peer, timeout: Duration) -> Result<Woken, WaitError> {
        let start = Instant::now();
        loop {
            if self.spin_for(wanted)? {
                return Ok(Woken::Ready);
            }
            let left = timeout.saturating_sub(start.elapsed());
            let seen = self.sleep(wanted, peer, left.min(Duration::from_millis(SLEEP_MS_MAX)));
            // Progress comes first, also before the news that there will be no more of it.
            if self.is_ready(wanted)? {
                return Ok(Woken::Ready);
            }
            match seen? {
                Seen::Packet => return Ok(Woken::Packet),
                Seen::Other | Seen::Nothing if start.elapsed() >= timeout => return Ok(Woken::Elapsed),
                Seen::Other | Seen::Nothing => {}
            }
        }
    }

    /// What becomes readable when the peer rings, for an event loop of one's own; see [`Endpoint::arm`].
    #[must_use]
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Before a sleep in an event loop of one's own: forget old rings, ask to be rung, and look once more. `true` when
    /// something wanted is there already; else sleep on [`Endpoint::bell`], the peer's descriptors and a timer of
    /// [`SLEEP_MS_MAX`], then call [`Endpoint::disarm`].
    ///
    /// # Errors
    /// [`WaitError::Violation`] when the peer lied; [`WaitError::Gone`] when nothing wanted is there, and the bell is
    /// closed.
    pub fn arm(&mut self, wanted: Wanted) -> Result<bool, WaitError> {
        let will_ring = self.bell.silence();
        if wanted.message {
            announce(&self.consumer.lines().consumer, self.consumer.wake_place());
        }
        if let Some(length) = wanted.room {
            announce(&self.producer.lines().producer, self.producer.wake_place(length));
        }
        match self.is_ready(wanted)? {
            // A closed bell is readable for ever: who sleeps on it does not sleep.
            false if !will_ring => Err(Gone::Deaf.into()),
            ready => Ok(ready),
        }
    }

    /// After a sleep: no more rings are needed.
    pub fn disarm(&mut self) {
        withdraw(&self.consumer.lines().consumer);
        withdraw(&self.producer.lines().producer);
    }

    fn sleep(&mut self, wanted: Wanted, peer: &Peer, timeout: Duration) -> Result<Seen, WaitError> {
        let seen = match self.arm(wanted) {
            Ok(false) => peer.watch(Some(self.bell.as_fd()), timeout),
            Ok(true) => Ok(Seen::Other),
            // A dead peer has no bell either; of the two, its death is the news.
            Err(error) => peer.check().and(Err(error)),
        };
        self.disarm();
        seen
    }

    /// Look for a moment without sleeping, where that takes nothing from the peer.
    fn spin_for(&mut self, wanted: Wanted) -> Result<bool, Violation> {
        let start = Instant::now();
        loop {
            if self.is_ready(wanted)? {
                return Ok(true);
            }
            if start.elapsed() >= self.spin {
                return Ok(false);
            }
            spin_loop();
        }
    }

    fn is_ready(&mut self, wanted: Wanted) -> Result<bool, Violation> {
        let message = wanted.message && self.consumer.peek()?.is_some();
        let room = match wanted.room {
            Some(length) if !message => self.producer.has_room(length)?,
            _ => false,
        };
        Ok(message || room)
    }
}

impl Wanted {
    /// Something to receive.
    pub const MESSAGE: Self = Self { message: true, room: None };

    /// Room to send a payload of `length` bytes.
    #[must_use]
    pub const fn room(length: u32) -> Self {
        Self { message: false, room: Some(length) }
    }

    /// Either.
    #[must_use]
    pub const fn message_or_room(length: u32) -> Self {
        Self { message: true, room: Some(length) }
    }
}

impl Handover {
    /// Bytes of the packet: [`Offer::to_bytes`]. May stand within a larger packet.
    #[must_use]
    pub fn bytes(&self) -> [u8; OFFER_SIZE] {
        self.offer.to_bytes()
    }

    /// The descriptors that go with it, in this order: memory, bell.
    #[must_use]
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.memory.as_fd(), self.bell.as_fd()]
    }

    /// Send it as a packet of its own.
    ///
    /// # Errors
    /// As [`Peer::send`].
    pub fn send(self, peer: &Peer) -> Result<(), WaitError> {
        peer.send(&self.bytes(), &self.fds())
    }
}
