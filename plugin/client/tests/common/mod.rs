//! What the tests of the client share: seeded files, a client in front of the fake daemon, a connection that counts.
#![allow(clippy::unwrap_used, dead_code)]

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gdd_client::{Backup, ClientError, Line, Outcome, Place, Restore, Settings};
use gdd_fake_daemon::Daemon;
use gdd_wire::{Introduction, Transport};

/// Seeded bytes.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Files of many sizes, some of them equal.
pub fn files(seed: u64) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = [1, 512, 1023, 1024, 1025, 16_384, 16_385, 100_000, 1 << 20, (3 << 20) + 7]
        .into_iter()
        .enumerate()
        .map(|(index, len)| noise(seed * 100 + index as u64, len))
        .collect();
    files.push(vec![0; 300_000]);
    files.push(files[7].clone());
    files.extend((0..200).map(|index| noise(seed * 1000 + index, 700)));
    files
}

pub fn settings(daemon: &Daemon) -> Settings {
    let introduction =
        Introduction { client: "client".to_owned(), job: "job".to_owned(), program: "test".to_owned() };
    let mut settings = Settings::new(daemon.key.clone(), introduction);
    settings.limits.silence = Duration::from_secs(20);
    settings
}

/// Saves `files` over `line`, some MiB at a time.
pub fn save_over<L: Line>(
    line: L,
    settings: &Settings,
    files: &[Vec<u8>],
) -> Result<(Vec<Place>, Outcome), ClientError> {
    let mut backup = Backup::begin(line, settings, "job", "set")?;
    let mut places = Vec::new();
    for file in files {
        backup.file_start()?;
        for part in file.chunks(1 << 20) {
            backup.write(part)?;
        }
        places.push(backup.file_end()?);
    }
    let outcome = backup.commit(files.len() as u64, [9; 32])?;
    Ok((places, outcome))
}

/// A backup with `daemon`, which must end as it should, too.
pub fn save(daemon: &Daemon, files: &[Vec<u8>]) -> (Vec<Place>, Outcome) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let serving = daemon.serve(theirs);
    let saved = save_over(ours, &settings(daemon), files).unwrap();
    serving.join().unwrap();
    saved
}

/// Reads the file at `place`.
pub fn load<L: Line>(restore: &mut Restore<L>, place: &Place) -> Result<Vec<u8>, ClientError> {
    let mut fetching = restore.fetch(place.stream, place.offset, place.length)?;
    let (mut file, mut block) = (Vec::new(), vec![0; 100_001]);
    loop {
        match fetching.read(&mut block)? {
            0 => return Ok(file),
            count => file.extend_from_slice(&block[..count]),
        }
    }
}

/// A restore with `daemon`.
pub fn restore(daemon: &Daemon) -> Restore<UnixStream> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    daemon.serve(theirs);
    Restore::begin(ours, &settings(daemon)).unwrap()
}

/// Counts what is written.
pub struct Counted<L> {
    pub line: L,
    pub written: Arc<AtomicU64>,
}

impl<L: Read> Read for Counted<L> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.line.read(buffer)
    }
}

impl<L: Write> Write for Counted<L> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.line.write(bytes)?;
        self.written.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.line.flush()
    }
}

impl<L: Transport> Transport for Counted<L> {
    fn second(&self) -> io::Result<Self> {
        Ok(Self { line: self.line.second()?, written: Arc::clone(&self.written) })
    }

    fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.line.set_timeout(timeout)
    }

    fn hang_up(&self) -> io::Result<()> {
        self.line.hang_up()
    }
}

impl<L: Line> Line for Counted<L> {
    fn set_waits(&self, read: Duration, write: Duration) -> io::Result<()> {
        self.line.set_waits(read, write)
    }
}
