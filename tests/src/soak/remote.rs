//! A client of bothsides mode in a soak: one job in each cycle, whose bytes over the network are counted.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;

use gdd_client::{Backup, ClientError, Outcome, Place, Restore, Settings, dial};
use gdd_wire::{Introduction, Key};

/// Jobs that were acknowledged and not pruned, by their cycle.
type Jobs = BTreeMap<u64, (Place, blake3::Hash)>;

/// See the module.
pub struct Remote {
    server: String,
    settings: Settings,
    /// What it backs up.
    pub data: Vec<u8>,
    /// What must come back.
    pub jobs: Jobs,
}

impl Remote {
    /// A client with `data` of the daemon at `port`, who has the key in `key`.
    ///
    /// # Panics
    /// When the key cannot be read.
    #[must_use]
    pub fn new(key: &Path, port: u16, data: Vec<u8>) -> Self {
        let name = || "soak".to_owned();
        let introduction = Introduction { client: name(), job: name(), program: name() };
        let settings = Settings::new(Key::load(key).expect("the key was made"), introduction);
        Self { server: format!("127.0.0.1:{port}"), settings, data, jobs: Jobs::new() }
    }

    fn line(&self) -> Result<TcpStream, ClientError> {
        let limits = &self.settings.limits;
        dial(&self.server, limits.connect, limits.silence)
    }

    fn begin(&self) -> Result<Backup<TcpStream>, ClientError> {
        let mut backup = Backup::begin(self.line()?, &self.settings, "nightly", "all")?;
        backup.file_start()?;
        Ok(backup)
    }

    /// Back everything up.
    ///
    /// # Panics
    /// When the daemon does not acknowledge it.
    pub fn back_up(&mut self, cycle: u64) -> Outcome {
        let job = || -> Result<(Place, Outcome), ClientError> {
            let mut backup = self.begin()?;
            backup.write(&self.data)?;
            let place = backup.file_end()?;
            Ok((place, backup.commit(1, *blake3::hash(&self.data).as_bytes())?))
        };
        let (place, outcome) = job().expect("a job of a good client is acknowledged");
        self.jobs.insert(cycle, (place, blake3::hash(&self.data)));
        outcome
    }

    /// Begin a job, and end without a word after `bytes`; `strike` comes before that.
    ///
    /// # Panics
    /// When it cannot be begun, or is acknowledged though the daemon was killed.
    pub fn cut(&self, bytes: usize, strike: impl FnOnce() -> bool) {
        let mut backup = self.begin().expect("a job begins");
        let written = backup.write(&self.data[..bytes]);
        if strike() {
            let rest = written.and_then(|()| backup.write(&self.data[bytes..]));
            let ended = rest.and_then(|()| backup.file_end()).and_then(|_| backup.commit(1, [0; 32]));
            assert!(ended.is_err(), "the daemon was killed in the middle, and acknowledges: {ended:?}");
        }
    }

    /// Restore the job of `cycle`, and compare.
    ///
    /// # Panics
    /// When it does not come back as it was.
    pub fn restore(&self, cycle: u64) {
        let (place, digest) = self.jobs[&cycle];
        let read = || -> Result<blake3::Hash, ClientError> {
            let mut restore = Restore::begin(self.line()?, &self.settings)?;
            let mut fetching = restore.fetch(place.stream, place.offset, place.length)?;
            let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; 1 << 16]);
            loop {
                match fetching.read(&mut buffer)? {
                    0 => break,
                    count => hasher.update(&buffer[..count]),
                };
            }
            drop(fetching);
            restore.finish();
            Ok(hasher.finalize())
        };
        assert_eq!(
            read().expect("a job that was acknowledged comes back"),
            digest,
            "the job of cycle {cycle}"
        );
    }

    /// How the name of the stream of `cycle` ends.
    #[must_use]
    pub fn name_end(&self, cycle: u64) -> Option<String> {
        let (place, _) = self.jobs.get(&cycle)?;
        Some(place.stream.iter().fold("/".to_owned(), |name, byte| name + &format!("{byte:02x}")))
    }
}
