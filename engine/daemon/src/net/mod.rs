//! Bothsides mode's service: plugins in bacula-fd connect over TCP, back up what the store does not have, and read it
//! back.
//!
//! One thread listens at each address, and one serves each connection. A client that dies, lies or leaves costs its own
//! session and nothing else: a backup without a commit leaves nothing under its name.
//!
//! # Invariants
//! - Nothing is done for a client before its handshake; see `gate`.
//! - A receipt is given for what was counted and digested here, and is durable under its name.
//! - A client can ask about, restore from and go on from what its key's domain has, and nothing else; a domain that
//!   [sees the store](Sees::Store) can besides find out that a chunk is there, as it must to leave it out.

mod backup;
mod domain;
mod gate;
mod ledger;
mod line;
mod past;
mod refusals;
mod report;
mod restore;
mod session;
mod trouble;

use std::collections::BTreeMap;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gdd_engine::error::{Error, Result};
use gdd_engine::get::Shelf;
use gdd_engine::options::Trust;
use gdd_engine::recall::cache::CacheStats;
use gdd_engine::store::Store;
use gdd_wire::{BootId, Identity, KeyRing, StoreId};

pub use domain::{Rules, Sees};
pub use report::{Counts, JobReport, REPORTS_MAX, SessionStatus};

use domain::Domain;
use refusals::Refusals;
use report::Book;

/// What clients may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once whose handshake is not done.
    pub handshakes_max: usize,
    /// The same from one address.
    pub handshakes_per_address_max: usize,
    /// Sessions at once.
    pub sessions_max: usize,
    /// A client that says nothing for so long, not even an answer to a ping, or takes nothing of what it is sent, is
    /// ended.
    pub silence_max: Duration,
    /// Chunks of a job's last backup that a session holds to find its segments in: 36 bytes each.
    pub window_chunks: u64,
    /// What the clients of each domain may know and take. A domain that is alone needs none: it sees the store.
    pub domains: BTreeMap<String, Rules>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes_max: 64,
            handshakes_per_address_max: 16,
            sessions_max: 256,
            silence_max: Duration::from_secs(300),
            window_chunks: 1 << 19, // 8 GiB of a stream of 16 KiB chunks.
            domains: BTreeMap::new(),
        }
    }
}

type Session = (Arc<Mutex<SessionStatus>>, Option<TcpStream>);

/// What all sessions share.
struct Shared {
    store: Arc<Store>,
    shelf: Shelf,
    ring: KeyRing,
    domains: BTreeMap<String, Domain>,
    identity: Identity,
    limits: Limits,
    stop: AtomicBool,
    trying: Mutex<Vec<IpAddr>>,
    refusals: Refusals,
    book: Mutex<Book>,
    sessions: Mutex<Vec<Session>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// See the module.
pub struct NetService {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    is_over: bool,
}

impl NetService {
    /// Serves `store` at `addresses` to clients with a key of `ring`.
    ///
    /// # Errors
    /// An address cannot be listened at, the ring has no domain, or several and not all with rules, or there are no
    /// threads.
    pub fn start(store: Arc<Store>, addresses: &[SocketAddr], ring: KeyRing, limits: Limits) -> Result<Self> {
        let names: Vec<&str> = ring.domains().iter().map(|domain| domain.name.as_str()).collect();
        let domains = domain::all(&names, &limits.domains)?;
        let mut boot = [0; 16];
        getrandom::fill(&mut boot).map_err(|error| Error::Invalid(format!("no random numbers: {error}")))?;
        let identity = Identity {
            store: StoreId(store.core().store.0),
            boot: BootId(boot),
            epoch: store.core().epoch.0.into(),
            program: format!("gdd {}", env!("CARGO_PKG_VERSION")),
        };
        let shared = Arc::new(Shared {
            shelf: store.another_shelf(Trust::Crc), // The client hashes each chunk itself.
            store,
            ring,
            domains,
            identity,
            limits,
            stop: AtomicBool::new(false),
            trying: Mutex::default(),
            refusals: Refusals::default(),
            book: Mutex::default(),
            sessions: Mutex::default(),
            threads: Mutex::default(),
        });
        let mut service = Self { shared, addresses: Vec::new(), is_over: false };
        for address in addresses {
            service.listen(*address)?;
        }
        Ok(service)
    }

    fn listen(&mut self, address: SocketAddr) -> Result<()> {
        let refused = |error| Error::Invalid(format!("cannot listen at {address}: {error}"));
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?; // A client may have left before it is accepted.
        self.addresses.push(listener.local_addr().map_err(refused)?);
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("gdd-net".to_owned());
        let thread = thread.spawn(move || gate::listen(&shared, &listener)).map_err(refused)?;
        lock(&self.shared.threads).push(thread);
        Ok(())
    }

    /// Where clients may connect.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The sessions there are.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionStatus> {
        lock(&self.shared.sessions).iter().map(|(session, _)| lock(session).clone()).collect()
    }

    /// What came of those that were.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.shared.book).counts().clone()
    }

    /// The last of them, the latest last; [`REPORTS_MAX`] at most.
    #[must_use]
    pub fn reports(&self) -> Vec<JobReport> {
        lock(&self.shared.book).reports().cloned().collect()
    }

    /// What restores keep in memory.
    #[must_use]
    pub fn cache(&self) -> CacheStats {
        self.shared.shelf.cache.stats()
    }

    /// Connections that did not become sessions, by reason.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        self.shared.refusals.counts()
    }

    /// Takes no more connections and ends all there are: clients are told, and their backups leave nothing. `false`
    /// when that took longer than `deadline`: then the store must not be closed as if nothing were open.
    pub fn stop(mut self, deadline: Duration) -> bool {
        self.end(deadline)
    }

    fn end(&mut self, deadline: Duration) -> bool {
        self.is_over = true;
        let start = Instant::now();
        self.shared.stop.store(true, Ordering::Release);
        let mut threads: Vec<_> = Vec::new();
        loop {
            threads.append(&mut lock(&self.shared.threads));
            threads.retain(|thread| !thread.is_finished());
            if threads.is_empty() || start.elapsed() >= deadline {
                break;
            }
            if start.elapsed() >= deadline / 2 {
                // Those that do not read what they are told.
                for stream in lock(&self.shared.sessions).iter().filter_map(|(_, stream)| stream.as_ref()) {
                    let _ = stream.shutdown(Shutdown::Both); // It may have ended by itself.
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
        threads.is_empty()
    }
}

impl Drop for NetService {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(Duration::from_secs(60));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
