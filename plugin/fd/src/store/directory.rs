//! A store for tests: files by digest in a folder, and switches by files in it. Never part of a product build.
//!
//! Switches: `stale`, `stall`, `full`, `no-receipt`, `wrong-receipt`, `wrong-data`, `short-data`, `panic`, and
//! `die-at`, which holds the number of the file (from 1) at which the store is lost.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::error::{Kind, StoreError};
use crate::reference::{Place, Reference, StoreId, StreamId};
use crate::store::{About, Costs, Fetch, Put, Receipt, Session, Store, Totals};

/// The variable that names the folder.
pub const VARIABLE: &str = "GDD_FD_TEST_STORE";

/// The folder's store.
#[derive(Debug)]
pub struct Directory {
    folder: PathBuf,
}

impl Directory {
    /// The store in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }
}

struct Connected {
    folder: PathBuf,
    about: About,
    patience: Duration,
    puts: u64,
    files: u64,
    costs: Costs,
    counted: (u64, blake3::Hasher),
}

fn lost(what: &str) -> impl FnOnce(std::io::Error) -> StoreError + '_ {
    move |error| StoreError::new(Kind::Lost, format!("cannot {what} in the directory store: {error}"))
}

impl Connected {
    fn is(&self, switch: &str) -> bool {
        self.folder.join(switch).exists()
    }

    fn faults(&self) -> Result<(), StoreError> {
        let since = Instant::now();
        while self.is("stall") {
            if self.about.cancelled.load(Ordering::Relaxed) {
                return Err(StoreError::new(Kind::Cancelled, "the job was cancelled"));
            }
            if since.elapsed() > self.patience {
                return Err(StoreError::new(Kind::Lost, format!("no answer within {:?}", self.patience)));
            }
            thread::sleep(Duration::from_millis(20));
        }
        assert!(!self.is("panic"), "the directory store was told to panic");
        if self.is("stale") {
            return Err(StoreError::new(Kind::Stale, "expected epoch 1, found 2"));
        }
        if self.is("full") {
            return Err(StoreError::new(Kind::Full, "no room"));
        }
        fs::read_dir(self.folder.join("files")).map(drop).map_err(lost("list"))
    }
}

impl Store for Directory {
    fn connect(&self, config: &Config, about: &About) -> Result<Box<dyn Session>, StoreError> {
        let session = Connected {
            folder: self.folder.clone(),
            about: about.clone(),
            patience: config.patience,
            puts: 0,
            files: 0,
            costs: Costs::default(),
            counted: (0, blake3::Hasher::new()),
        };
        session.faults()?;
        Ok(Box::new(session))
    }

    fn warning(&self) -> Option<&'static str> {
        Some("this gdd-fd.so was built for tests: files go to a plain directory, not to a store")
    }
}

impl Session for Connected {
    fn store(&self) -> StoreId {
        let text = fs::read(self.folder.join("id")).unwrap_or_default();
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(&text).as_bytes()[..16]);
        id
    }

    fn put(&mut self) -> Result<Box<dyn Put + '_>, StoreError> {
        self.faults()?;
        self.puts += 1;
        let partial = format!("partial-{}-{}", self.about.job_id, self.puts);
        let path = self.folder.join(partial);
        let file = File::create(&path).map_err(lost("create"))?;
        Ok(Box::new(Putting { session: self, file, path }))
    }

    fn commit(&mut self, totals: &Totals) -> Result<Receipt, StoreError> {
        self.faults()?;
        if self.is("no-receipt") {
            return Err(StoreError::new(Kind::Lost, "the connection ended before the receipt"));
        }
        let bytes = self.counted.0 + u64::from(self.is("wrong-receipt"));
        let own = Totals { files: self.files, bytes, digest: *self.counted.1.finalize().as_bytes() };
        fs::write(self.folder.join(format!("receipt-{}", self.about.job_id)), format!("{totals:?}"))
            .map_err(lost("commit"))?;
        Ok(Receipt { totals: own, costs: self.costs })
    }

    fn fetch(&mut self, reference: &Reference) -> Result<Box<dyn Fetch + '_>, StoreError> {
        self.faults()?;
        let path = file_of(&self.folder, &reference.place.stream);
        let missing =
            |error| StoreError::new(Kind::Missing, format!("file {:02x?}: {error}", reference.place.stream));
        let file = File::open(path).map_err(missing)?;
        let left = if self.is("short-data") { reference.length - 1 } else { u64::MAX };
        Ok(Box::new(Fetching { file: file.take(left), wrong: self.is("wrong-data") }))
    }
}

fn file_of(folder: &Path, stream: &StreamId) -> PathBuf {
    let name: String = stream.iter().map(|byte| format!("{byte:02x}")).collect();
    folder.join("files").join(name)
}

struct Putting<'a> {
    session: &'a mut Connected,
    file: File,
    path: PathBuf,
}

impl Put for Putting<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let dies = fs::read_to_string(self.session.folder.join("die-at")).unwrap_or_default();
        if dies.trim().parse() == Ok(self.session.puts) {
            return Err(StoreError::new(Kind::Lost, "the connection ended in the middle of a file"));
        }
        self.session.costs.wire += bytes.len() as u64;
        self.session.faults()?;
        self.file.write_all(bytes).map_err(lost("write"))
    }

    fn finish(self: Box<Self>, length: u64, digest: &[u8; 32]) -> Result<Place, StoreError> {
        let found = self.file.metadata().map_err(lost("look"))?.len();
        if found != length {
            return Err(StoreError::new(Kind::Damaged, format!("expected {length} bytes, found {found}")));
        }
        let mut stream = [0; 16];
        stream.copy_from_slice(&digest[..16]);
        let place = file_of(&self.session.folder, &stream);
        if !place.exists() {
            self.session.costs.new += length;
            self.session.costs.stored += length;
        }
        fs::rename(&self.path, place).map_err(lost("rename"))?;
        self.session.files += 1;
        self.session.counted.0 += length;
        self.session.counted.1.update(&length.to_le_bytes()).update(digest);
        Ok(Place { stream, offset: 0 })
    }
}

struct Fetching {
    file: std::io::Take<File>,
    wrong: bool,
}

impl Fetch for Fetching {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let count = self.file.read(buffer).map_err(lost("read"))?;
        if self.wrong && count > 0 {
            buffer[count / 2] ^= 1;
        }
        Ok(count)
    }
}
