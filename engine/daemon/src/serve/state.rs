//! What the threads of the daemon share.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use gdd_daemon::jobs::Jobs;
use gdd_engine::stats::Stats;
use gdd_engine::store::Store;

use super::service::Service;
use super::upkeep::Board;
use crate::config::Config;
use crate::failure::{Failure, Result};

/// How often somebody who waits for sessions looks again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// See the module.
pub struct State {
    /// What is in force.
    pub config: Config,
    /// The store's directory without links.
    pub dir: PathBuf,
    /// When the daemon started.
    pub started: Instant,
    /// What runs on the store; filled after recovery.
    pub services: RwLock<Vec<Box<dyn Service>>>,
    /// What came of the command line's streams.
    pub jobs: Jobs,
    /// What the store held when that was looked up last, for monitoring.
    pub stats: Mutex<Option<(Instant, Arc<Stats>)>>,
    /// How the scrub goes.
    pub scrub: Arc<Board>,
    /// How the vacuum goes.
    pub vacuum: Arc<Board>,
    /// How the last check by `gdd fsck` ended.
    pub last_check: Mutex<Option<LastCheck>>,
    /// Set once: take no more work.
    pub stop: AtomicBool,
    store: RwLock<Option<Arc<Store>>>,
    connections: Mutex<BTreeMap<u64, Connection>>,
    numbers: AtomicU64,
}

/// A check of the store by this daemon.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LastCheck {
    /// When it ended, in seconds since 1970.
    pub unix: u64,
    /// What came of it.
    pub line: String,
    /// Something is lost.
    pub damaged: bool,
}

struct Connection {
    stream: UnixStream,
    is_busy: bool,
}

impl State {
    /// Of a daemon whose store is not open yet.
    #[must_use]
    pub fn new(config: Config, dir: PathBuf) -> Self {
        Self {
            config,
            dir,
            started: Instant::now(),
            services: RwLock::default(),
            jobs: Jobs::default(),
            stats: Mutex::default(),
            scrub: Arc::default(),
            vacuum: Arc::default(),
            last_check: Mutex::default(),
            stop: AtomicBool::new(false),
            store: RwLock::default(),
            connections: Mutex::default(),
            numbers: AtomicU64::new(0),
        }
    }

    /// The store is open.
    pub fn set_store(&self, store: Store) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(store));
    }

    /// The store.
    ///
    /// # Errors
    /// It is not open yet, or no more.
    pub fn store(&self) -> Result<Arc<Store>> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner).clone();
        store.ok_or_else(|| Failure::Busy("the daemon is starting or stopping; try again later".to_owned()))
    }

    /// Take the store back, to close it. Nothing when it was never open, or somebody still uses it.
    pub fn take_store(&self) -> Option<Store> {
        let store = self.store.write().unwrap_or_else(PoisonError::into_inner).take();
        store.and_then(Arc::into_inner)
    }

    /// Take the services, to stop them.
    pub fn take_services(&self) -> Vec<Box<dyn Service>> {
        std::mem::take(&mut self.services.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Note a connection; returns its number, or nothing when there are `max` already or the daemon stops.
    pub fn enter(&self, stream: UnixStream, max: usize) -> Option<u64> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.len() >= max || self.stop.load(Ordering::Acquire) {
            return None;
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        connections.insert(number, Connection { stream, is_busy: false });
        Some(number)
    }

    /// A connection has a request now.
    pub fn set_busy(&self, number: u64) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = connections.get_mut(&number) {
            connection.is_busy = true;
        }
    }

    /// A connection has ended.
    pub fn leave(&self, number: u64) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// Requests being answered.
    #[must_use]
    pub fn busy(&self) -> usize {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.values().filter(|connection| connection.is_busy).count()
    }

    /// Cut idle connections off, wait until `deadline` for the others, cut them off too and wait for their threads.
    pub fn drain(&self, deadline: Instant, limit: Duration) {
        self.cut(|connection| !connection.is_busy);
        while self.busy() > 0 && Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
        self.cut(|_| true);
        let last = Instant::now() + limit;
        let any = || !self.connections.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        while any() && Instant::now() < last {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn cut(&self, which: impl Fn(&Connection) -> bool) {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.values().filter(|connection| which(connection)) {
            let _ = connection.stream.shutdown(Shutdown::Both); // It may have ended by itself.
        }
    }
}
