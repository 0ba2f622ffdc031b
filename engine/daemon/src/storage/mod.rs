//! Storage mode's service: drivers in bacula-sd connect, write streams, and read them back.
//!
//! One thread listens, and one serves each connection. A driver that dies, lies or leaves costs its own session and
//! nothing else: what it was writing is kept as far as it came, under its name and volume, and all that it held is
//! freed.
//!
//! # Invariants
//! - The kernel says who connects; only root, our own user and those in [`Limits::users`] are served. Who is refused is
//!   told why: its job's log is where the operator looks.
//! - A receipt is given for what was counted and digested here, and is durable.

mod catalog;
mod recall;
mod session;
mod streams;
mod timing;
mod trouble;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gdd_engine::error::{Error, Result};
use gdd_engine::get::Shelf;
use gdd_engine::options::Trust;
use gdd_engine::recall::cache::CacheStats;
use gdd_engine::store::Store;
use gdd_ring::Listener;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::jobs::{JobReport, JobSums, Jobs};
use catalog::Catalog;

/// How often the listener looks whether it should stop.
const LOOK: Duration = Duration::from_millis(100);
/// Users that may not connect are told so, this many at once: they must not use up threads.
const STRANGERS_MAX: usize = 8;

/// What drivers may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Users that may connect, besides root and our own.
    pub users: Vec<u32>,
    /// Mode of the socket: who may try to.
    pub socket_mode: u32,
    /// Connections at once.
    pub sessions_max: usize,
    /// Streams that one connection writes at once: each has buffers of its own, and a job on a device is one.
    pub streams_max: usize,
    /// Bytes of each ring from a driver: a power of two.
    pub capacity_up: u64,
    /// Bytes of each ring to a driver: a power of two, at least `gdd_link::limits::CAPACITY_DOWN_MIN`.
    pub capacity_down: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            users: Vec::new(),
            socket_mode: 0o666, // The user is checked by the kernel's word, for each connection.
            sessions_max: 64,
            streams_max: 256,
            capacity_up: gdd_ring::limits::CAPACITY_UP,
            capacity_down: gdd_ring::limits::CAPACITY_DOWN,
        }
    }
}

/// A connection, for people.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct SessionStatus {
    /// The driver's process.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Program and version, as it says.
    pub program: String,
    /// The job that began a stream last.
    pub job: String,
    /// Streams that are open.
    pub streams: usize,
    /// Payload bytes received.
    pub bytes_in: u64,
    /// Payload bytes recalled.
    pub bytes_out: u64,
    /// Streams with a receipt.
    pub finished: u64,
    /// Streams that were left, and kept as far as they came.
    pub abandoned: u64,
    /// Bytes of the ring that are not durable yet.
    pub ring_held: u64,
    /// Bytes of the ring.
    pub ring_capacity: u64,
    /// Since it connected.
    pub seconds: f64,
}

/// What all sessions share.
struct Shared {
    store: Arc<Store>,
    shelf: Shelf,
    catalog: Catalog,
    limits: Limits,
    boot: [u8; 16],
    stop: AtomicBool,
    generation: AtomicU64,
    abandoned: AtomicU64,
    jobs: Jobs,
    strangers: AtomicUsize,
    sessions: Mutex<Vec<Arc<Mutex<SessionStatus>>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// See the module.
pub struct StorageService {
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
    socket: PathBuf,
}

impl StorageService {
    /// Serves `store` at `socket`. A socket that a daemon has left there is replaced: the caller holds the store's
    /// lock, so no other daemon of this store lives.
    ///
    /// # Errors
    /// The socket cannot be made, or the store not be listed.
    pub fn start(store: Arc<Store>, socket: &Path, mut limits: Limits) -> Result<Self> {
        let refused = |why: String| Error::Invalid(format!("{}: {why}", socket.display()));
        match fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(error.to_string())),
            _ => {}
        }
        let listener = Listener::bind(socket).map_err(|why| refused(why.to_string()))?;
        fs::set_permissions(socket, Permissions::from_mode(limits.socket_mode))
            .map_err(Error::io("set the mode of", socket))?;
        limits.capacity_down = limits.capacity_down.max(gdd_link::limits::CAPACITY_DOWN_MIN);
        limits.users.extend([0, rustix::process::geteuid().as_raw()]);
        let mut boot = [0; 16];
        getrandom::fill(&mut boot).map_err(|error| refused(error.to_string()))?;
        let shared = Arc::new(Shared {
            catalog: Catalog::new(&store)?,
            shelf: store.another_shelf(Trust::Crc), // The driver checks each block's XXH3 itself.
            store,
            limits,
            boot,
            stop: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            jobs: Jobs::default(),
            strangers: AtomicUsize::new(0),
            sessions: Mutex::default(),
            threads: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("gdd-storage".to_owned())
            .spawn(move || serving.listen(&listener))
            .map_err(Error::io("start a thread for", socket))?;
        Ok(Self { shared, listener: Some(thread), socket: socket.to_owned() })
    }

    /// The connections there are.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionStatus> {
        lock(&self.shared.sessions).iter().map(|session| lock(session).clone()).collect()
    }

    /// The cache of what is read for drivers.
    #[must_use]
    pub fn cache(&self) -> CacheStats {
        self.shared.shelf.cache.stats()
    }

    /// Streams that were left by their drivers since the start, and kept.
    #[must_use]
    pub fn abandoned(&self) -> u64 {
        self.shared.abandoned.load(Ordering::Relaxed)
    }

    /// What came of the streams with a receipt since the start.
    #[must_use]
    pub fn sums(&self) -> JobSums {
        self.shared.jobs.sums()
    }

    /// The last of them, the latest last.
    #[must_use]
    pub fn reports(&self) -> Vec<JobReport> {
        self.shared.jobs.last()
    }

    /// Takes no more connections, ends all there are, and saves what they were writing. `false` when that took longer
    /// than `deadline`: then the store must not be closed as if nothing were open.
    pub fn stop(mut self, deadline: Duration) -> bool {
        self.end(deadline)
    }

    fn end(&mut self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        self.shared.stop.store(true, Ordering::Release);
        let mut threads: Vec<_> = self.listener.take().into_iter().collect();
        loop {
            threads.append(&mut lock(&self.shared.threads));
            threads.retain(|thread| !thread.is_finished());
            if threads.is_empty() || Instant::now() >= until {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = fs::remove_file(&self.socket); // Nobody answers there any more.
        threads.is_empty()
    }
}

impl Drop for StorageService {
    fn drop(&mut self) {
        if self.listener.is_some() {
            self.end(Duration::from_secs(60));
        }
    }
}

impl Shared {
    fn listen(self: &Arc<Self>, listener: &Listener) {
        let timeout = Timespec::try_from(LOOK).ok();
        while !self.stop.load(Ordering::Acquire) {
            let mut fds = [PollFd::new(listener, PollFlags::IN)];
            if !matches!(rustix::event::poll(&mut fds, timeout.as_ref()), Ok(1..)) {
                continue;
            }
            let peer = match listener.accept_anyone() {
                Ok(peer) => peer,
                Err(why) => {
                    tracing::warn!("a driver was refused: {why}");
                    thread::sleep(LOOK); // Out of descriptors, for example: others may end meanwhile.
                    continue;
                }
            };
            let stranger = if self.limits.users.contains(&peer.uid()) {
                None
            } else if self.strangers.load(Ordering::Relaxed) < STRANGERS_MAX {
                self.strangers.fetch_add(1, Ordering::Relaxed);
                Some(Stranger(Arc::clone(self)))
            } else {
                continue;
            };
            let shared = Arc::clone(self);
            let spawned = thread::Builder::new().name("gdd-session".to_owned()).spawn(move || {
                session::serve(&shared, peer);
                drop(stranger);
            });
            match spawned {
                Ok(thread) => {
                    let mut threads = lock(&self.threads);
                    threads.retain(|thread| !thread.is_finished());
                    threads.push(thread);
                }
                Err(error) => tracing::warn!("no thread for a driver: {error}"),
            }
        }
    }
}

/// Counts a user that is being refused.
struct Stranger(Arc<Shared>);

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.strangers.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
