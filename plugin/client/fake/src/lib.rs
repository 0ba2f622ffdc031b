//! For tests: a daemon of bothsides mode in memory, that makes mistakes when it is told to.
//!
//! It is written from PROTOCOL-bothsides.md and not from the client, shares only gdd-wire with it, and panics when a
//! client says what it must not say: its thread's panic is the test's failure.

mod conversation;
mod store;

use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gdd_wire::message::Cut;
use gdd_wire::{BootId, Domain, Identity, Key, KeyRing, StoreId, Transport};

pub use store::Store;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The connection is closed instead of the answer to the message with this index (from 0).
    DieAt(usize),
    /// From this message on nothing is read or said, and the connection stays open until it is released.
    StallAt(usize),
    /// It says nothing for so long before it answers this message.
    SlowAt(usize, Duration),
    /// The receipt is for one byte more.
    WrongReceipt,
    /// The receipt is for another recipe.
    WrongRecipe,
    /// A bit of each piece from this one (from 0) on is wrong.
    WrongPiece(usize),
    /// This piece is left out.
    MissingPiece(usize),
    /// The chunk with this byte of a stream is lost.
    LostAt(u64),
    /// A piece comes for a request that was not made.
    StrayPiece,
    /// This message is answered with a fatal trouble.
    FatalAt(usize),
    /// An answer to a question that was not asked.
    StrayAnswer,
    /// It says goodbye instead of the answer to this message.
    GoodbyeAt(usize),
    /// A ping comes before each answer, and the receipt after the last pong.
    Pings,
    /// So much is said after each question's answer that it fits no socket's buffer, and nothing is read meanwhile.
    Chatty,
}

/// A daemon.
#[derive(Clone)]
pub struct Daemon {
    /// The only key of its only domain.
    pub key: Key,
    /// What it keeps.
    pub store: Arc<Mutex<Store>>,
    /// How clients are to cut.
    pub cut: Cut,
    /// Chunks that may be unanswered.
    pub ahead_max: u32,
    /// What goes wrong, in each connection from now on.
    pub fault: Fault,
    /// Ends all stalls.
    pub released: Arc<AtomicBool>,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            key: Key::from_secret(&[7; 32]).expect("a key that is not zero"),
            store: Arc::default(),
            cut: Cut { min: 1024, target: 4096, max: 16384 },
            ahead_max: 1 << 16,
            fault: Fault::None,
            released: Arc::default(),
        }
    }
}

impl Daemon {
    /// This daemon with `fault`; the store is the same.
    #[must_use]
    pub fn with(&self, fault: Fault) -> Self {
        Self { fault, ..self.clone() }
    }

    /// Serves one connection to its end, in a thread of its own: how many messages of the client came.
    pub fn serve<T: Transport + Send + 'static>(&self, line: T) -> JoinHandle<usize> {
        let daemon = self.clone();
        thread::spawn(move || daemon.converse(line))
    }

    /// Serves connections to a port of this machine, one after the other, for ever: its address.
    ///
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address").to_string();
        let daemon = self.clone();
        thread::spawn(move || {
            for line in listener.incoming() {
                daemon.converse(line.expect("a connection came"));
            }
        });
        address
    }

    fn converse<T: Transport + Send + 'static>(&self, line: T) -> usize {
        let domain = Domain { name: "here".to_owned(), current: self.key.clone(), previous: None };
        let ring = KeyRing::new(vec![domain]).expect("one domain has one key");
        let identity =
            Identity { store: StoreId([1; 16]), boot: BootId([2; 16]), epoch: 1, program: "fake".to_owned() };
        // A client that was refused or has died is what some tests want.
        let Ok(accepted) = gdd_wire::accept(line, &ring, &identity, Duration::from_secs(5)) else { return 0 };
        conversation::Conversation::new(self, accepted.channel).run()
    }

    fn store(&self) -> std::sync::MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
