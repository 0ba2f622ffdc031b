//! For tests: every stream is a plain file `<volume>-<stream>` in a directory. No daemon, no deduplication.
//!
//! Whether a stream was begun by this process is all that is kept in memory; bytes are durable when they were synced.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use twox_hash::XxHash3_128;

use super::{Receipt, Store, StoreError, StoreId, StreamId, Unreleased, VolumeId};
use crate::block::SessionId;
use crate::label::About;

struct Open {
    file: File,
    bytes: u64,
    durable: u64,
    digest: XxHash3_128,
}

/// Streams as files.
pub struct DirectoryStore {
    folder: PathBuf,
    open: HashMap<StreamId, Open>,
    reading: Option<(StreamId, File)>,
}

fn refuse(what: &str) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError {
        id: "GDD-SD-0090",
        text: format!("directory store: {what}: {error}"),
        remedy: "this is a back end for tests: look at GDD_DIRECTORY_STORE".to_owned(),
        lost: false,
    }
}

impl DirectoryStore {
    /// Streams in `folder`, which exists.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, open: HashMap::new(), reading: None }
    }

    fn stream(&mut self, id: StreamId) -> Result<&mut Open, StoreError> {
        self.open.get_mut(&id).ok_or_else(|| refuse("stream")(io::Error::other(format!("{id} is not open"))))
    }

    fn path_of(&self, id: StreamId) -> io::Result<Option<PathBuf>> {
        let suffix = format!("-{id}");
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(&suffix) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}

impl Store for DirectoryStore {
    fn begin(&mut self, volume: VolumeId, _: SessionId, _: &About) -> Result<StreamId, StoreError> {
        let mut id = [0; 8];
        getrandom::fill(&mut id).map_err(|error| refuse("random")(io::Error::other(error.to_string())))?;
        let id = StreamId(u64::from_le_bytes(id));
        let path = self.folder.join(format!("{volume}-{id}"));
        let file =
            OpenOptions::new().create_new(true).append(true).open(path).map_err(refuse("create a stream"))?;
        self.open.insert(id, Open { file, bytes: 0, durable: 0, digest: XxHash3_128::new() });
        Ok(id)
    }

    fn append(&mut self, stream: StreamId, _: bool, bytes: &[u8]) -> Result<(), StoreError> {
        let open = self.stream(stream)?;
        open.file.write_all(bytes).map_err(refuse("append"))?;
        open.bytes += bytes.len() as u64;
        open.digest.write(bytes);
        Ok(())
    }

    fn durable(&mut self, stream: StreamId) -> Result<u64, StoreError> {
        Ok(self.stream(stream)?.durable)
    }

    fn flush(&mut self, stream: StreamId) -> Result<(), StoreError> {
        let open = self.stream(stream)?;
        open.file.sync_data().map_err(refuse("sync"))?;
        open.durable = open.bytes;
        Ok(())
    }

    fn unreleased(&mut self, stream: StreamId) -> Result<Unreleased, StoreError> {
        // A file has what was appended, for as long as the machine runs.
        Ok(Unreleased { offset: self.stream(stream)?.bytes, bytes: Vec::new() })
    }

    fn finish(&mut self, stream: StreamId, _: u64, _: u128) -> Result<Receipt, StoreError> {
        self.flush(stream)?;
        let open = self.open.remove(&stream).ok_or_else(|| refuse("finish")(io::Error::other("not open")))?;
        Ok(Receipt { bytes: open.bytes, digest: open.digest.finish_128() })
    }

    fn abandon(&mut self, stream: StreamId) {
        self.open.remove(&stream);
    }

    fn recall(&mut self, stream: StreamId, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        if self.reading.as_ref().is_none_or(|(id, _)| *id != stream) {
            let path = self.path_of(stream).map_err(refuse("list"))?;
            let missing = || refuse("recall")(io::Error::other(format!("there is no stream {stream}")));
            let file = File::open(path.ok_or_else(missing)?).map_err(refuse("open a stream"))?;
            self.reading = Some((stream, file));
        }
        match &self.reading {
            Some((_, file)) => file.read_exact_at(buffer, offset).map_err(refuse("read a stream")),
            None => Err(refuse("read a stream")(io::Error::other("nothing is open"))),
        }
    }

    fn length(&mut self, stream: StreamId) -> Result<Option<u64>, StoreError> {
        let path = self.path_of(stream).map_err(refuse("list"))?;
        path.map(|path| fs::metadata(path).map(|found| found.len()).map_err(refuse("look at a stream")))
            .transpose()
    }

    fn retire(&mut self, volume: VolumeId) -> Result<(), StoreError> {
        let prefix = format!("{volume}-");
        for entry in fs::read_dir(&self.folder).map_err(refuse("list"))? {
            let entry = entry.map_err(refuse("list"))?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_file(entry.path()).map_err(refuse("remove a stream"))?;
            }
        }
        Ok(())
    }

    fn id(&mut self) -> Result<StoreId, StoreError> {
        self.reachable().map(|()| StoreId([0xd1; 16]))
    }

    fn reachable(&mut self) -> Result<(), StoreError> {
        fs::read_dir(&self.folder).map(|_| ()).map_err(refuse("list"))
    }
}
