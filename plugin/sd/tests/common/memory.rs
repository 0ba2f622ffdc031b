//! A store in memory, with everything that can go wrong with a daemon.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use gdd_sd::block::SessionId;
use gdd_sd::label::About;
use gdd_sd::store::{Receipt, Store, StoreError, StoreId, StreamId, Unreleased, VolumeId};
use twox_hash::XxHash3_128;

/// What the daemon knows of a stream, and what is still in the ring.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    pub volume: Option<VolumeId>,
    pub session: SessionId,
    pub job: String,
    /// Everything that was appended.
    pub bytes: Vec<u8>,
    /// Where files start.
    pub starts: Vec<u64>,
    pub durable: usize,
    pub finished: bool,
    pub connection: u64,
}

/// The daemon, and how it fails.
#[derive(Debug, Default)]
pub struct State {
    pub streams: BTreeMap<StreamId, Stream>,
    pub retired: Vec<VolumeId>,
    /// Counts the daemon's lives.
    pub life: u64,
    pub absent: bool,
    /// The daemon dies at the n-th append from now.
    pub dies_in: Option<u64>,
    /// Every append makes everything before it durable, as a fast daemon does.
    pub eager: bool,
    pub wrong_receipt: bool,
    pub full: bool,
    pub recalls: u64,
    /// Another store is behind the daemon.
    pub store: [u8; 16],
}

/// A handle to the daemon, from outside.
#[derive(Debug, Clone, Default)]
pub struct World(Arc<Mutex<State>>);

impl World {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panicked in here")
    }

    pub fn connect(&self) -> MemoryStore {
        MemoryStore { world: self.clone(), held: BTreeMap::new() }
    }

    /// The daemon is killed and started again: what was not durable is gone.
    pub fn die(&self) {
        self.state().die();
    }

    pub fn payloads(&self) -> Vec<Vec<u8>> {
        self.state().streams.values().map(|stream| stream.bytes.clone()).collect()
    }
}

impl State {
    fn die(&mut self) {
        self.life += 1;
        for stream in self.streams.values_mut().filter(|stream| !stream.finished) {
            stream.bytes.truncate(stream.durable);
        }
    }
}

/// One connection.
pub struct MemoryStore {
    world: World,
    /// The ring: what was appended, and where it starts in the stream.
    held: BTreeMap<StreamId, Vec<u8>>,
}

pub fn error(id: &'static str, lost: bool) -> StoreError {
    StoreError { id, text: "the test says so".to_owned(), remedy: "none".to_owned(), lost }
}

impl MemoryStore {
    fn with<T>(&self, id: StreamId, run: impl FnOnce(&mut Stream) -> T) -> Result<T, StoreError> {
        let mut state = self.world.state();
        let life = state.life;
        if state.absent {
            return Err(error("GDD-SD-0001", true));
        }
        let stream = state.streams.get_mut(&id).ok_or_else(|| error("GDD-SD-0008", false))?;
        if stream.connection != life || stream.finished {
            return Err(error("GDD-SD-0007", true));
        }
        Ok(run(stream))
    }
}

impl Store for MemoryStore {
    fn begin(&mut self, volume: VolumeId, session: SessionId, about: &About) -> Result<StreamId, StoreError> {
        let mut state = self.world.state();
        if state.absent {
            return Err(error("GDD-SD-0001", true));
        }
        let id = StreamId(state.streams.len() as u64 + 1000);
        let (connection, job) = (state.life, about.job.clone());
        let stream = Stream { volume: Some(volume), session, job, connection, ..Stream::default() };
        state.streams.insert(id, stream);
        self.held.insert(id, Vec::new());
        Ok(id)
    }

    fn append(&mut self, stream: StreamId, file_starts: bool, bytes: &[u8]) -> Result<(), StoreError> {
        let mut state = self.world.state();
        if let Some(left) = &mut state.dies_in {
            *left -= 1;
            if *left == 0 {
                state.dies_in = None;
                state.die();
            }
        }
        let (eager, full) = (state.eager, state.full);
        drop(state);
        if full {
            return Err(error("GDD-SD-0009", false));
        }
        self.with(stream, |stream| {
            if file_starts {
                stream.starts.push(stream.bytes.len() as u64);
            }
            if eager {
                stream.durable = stream.bytes.len();
            }
            stream.bytes.extend_from_slice(bytes);
        })?;
        self.held.entry(stream).or_default().extend_from_slice(bytes);
        Ok(())
    }

    fn durable(&mut self, stream: StreamId) -> Result<u64, StoreError> {
        self.with(stream, |stream| stream.durable as u64)
    }

    fn flush(&mut self, stream: StreamId) -> Result<(), StoreError> {
        self.with(stream, |stream| stream.durable = stream.bytes.len())
    }

    fn unreleased(&mut self, stream: StreamId) -> Result<Unreleased, StoreError> {
        let durable = self.world.state().streams.get(&stream).map_or(0, |stream| stream.durable);
        let held = self.held.get(&stream).ok_or_else(|| error("GDD-SD-0008", false))?;
        Ok(Unreleased { offset: durable as u64, bytes: held[durable..].to_vec() })
    }

    fn finish(&mut self, stream: StreamId, bytes: u64, digest: u128) -> Result<Receipt, StoreError> {
        let wrong = self.world.state().wrong_receipt;
        let receipt = self.with(stream, |stream| {
            stream.durable = stream.bytes.len();
            stream.finished = true;
            let mut hasher = XxHash3_128::new();
            hasher.write(&stream.bytes);
            Receipt { bytes: stream.bytes.len() as u64, digest: hasher.finish_128() }
        })?;
        assert!(wrong || (receipt.bytes, receipt.digest) == (bytes, digest), "both sides count the same");
        Ok(if wrong { Receipt { bytes: receipt.bytes, digest: receipt.digest ^ 1 } } else { receipt })
    }

    fn abandon(&mut self, stream: StreamId) {
        self.held.remove(&stream);
    }

    fn recall(&mut self, stream: StreamId, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let mut state = self.world.state();
        state.recalls += 1;
        if state.absent {
            return Err(error("GDD-SD-0001", true));
        }
        let from = usize::try_from(offset).expect("small");
        let bytes = state.streams.get(&stream).and_then(|stream| stream.bytes.get(from..from + buffer.len()));
        buffer.copy_from_slice(bytes.ok_or_else(|| error("GDD-SD-0010", false))?);
        Ok(())
    }

    fn length(&mut self, stream: StreamId) -> Result<Option<u64>, StoreError> {
        let state = self.world.state();
        if state.absent {
            return Err(error("GDD-SD-0001", true));
        }
        Ok(state.streams.get(&stream).map(|stream| stream.bytes.len() as u64))
    }

    fn retire(&mut self, volume: VolumeId) -> Result<(), StoreError> {
        let mut state = self.world.state();
        state.retired.push(volume);
        state.streams.retain(|_, stream| stream.volume != Some(volume));
        Ok(())
    }

    fn id(&mut self) -> Result<StoreId, StoreError> {
        self.reachable().map(|()| StoreId(self.world.state().store))
    }

    fn reachable(&mut self) -> Result<(), StoreError> {
        if self.world.state().absent { Err(error("GDD-SD-0001", true)) } else { Ok(()) }
    }
}
