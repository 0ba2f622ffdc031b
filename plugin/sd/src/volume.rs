//! One open volume: a file that is small, and looks like the large one that Bacula wrote.
//!
//! Positions and sizes are those of the blocks as Bacula wrote them. Bacula compares them with its catalog when it
//! opens a volume, and gives a volume up that is shorter than it should be.
//!
//! # Invariants
//! - The file is only ever appended to, except that a torn end is cut off first.
//! - A block is handed out whole and verified, or not at all. The end is reported (0 bytes) only after the file was
//!   looked at again: another device may be appending to it. It is reported to a reader that comes to it by reading;
//!   one that was sent there, or beyond, by a seek expects data that was there once, and gets an error.
//! - A failed write leaves position, size and file as they were.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_64;

use crate::error::{Error, Result, io_error};
use crate::skeleton::frame::{self, HEADER_SIZE, Start, Window};
use crate::skeleton::index::Index;
use crate::skeleton::reader::{Outline, Reader};
use crate::skeleton::writer::Writer;
use crate::store::{Store, StoreId, StreamId, VolumeId};

/// What a file was when its index was made. Equal stamps mean that the index is still right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    changed: (i64, i64),
}

/// The index of a volume that was closed, for the next time it is opened.
#[derive(Debug)]
pub struct Remembered {
    stamp: Stamp,
    index: Index,
}

/// Where a seek starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whence {
    /// The first byte.
    Start,
    /// The current position.
    Current,
    /// The logical size.
    End,
}

/// An open volume.
#[derive(Debug)]
pub struct Volume {
    file: File,
    name: String,
    writable: bool,
    /// `None` while the file is empty.
    index: Option<Index>,
    window: Window,
    reader: Reader,
    outline: Outline,
    outline_is_good: bool,
    position: u64,
    /// The position is where a seek from the start has led, and nothing was read or written there yet.
    sought: bool,
    /// Everything before was synced.
    synced: u64,
    /// The next block starts a group: what is in the file may have been written by somebody else.
    fresh: bool,
    /// The name in the directory was synced.
    named: bool,
}

impl Volume {
    /// Opens the volume in `file`. `remembered` saves the scan when the file is as it was.
    ///
    /// # Errors
    /// When it is not ours, of another version, or not readable. Damage in the middle is no error yet.
    pub fn open(file: File, writable: bool, remembered: Option<Remembered>) -> Result<Self> {
        let mut volume = Self {
            name: name_of(&file).display().to_string(),
            file,
            writable,
            index: None,
            window: Window::default(),
            reader: Reader::default(),
            outline: Outline::default(),
            outline_is_good: false,
            position: 0,
            sought: false,
            synced: 0,
            fresh: true,
            named: false,
        };
        let stamp = volume.stamp()?;
        match remembered.filter(|remembered| remembered.stamp == stamp) {
            Some(remembered) => volume.index = Some(remembered.index),
            None => volume.load()?,
        }
        Ok(volume)
    }

    /// The path of the file, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id in the header; `None` before the first label.
    pub fn id(&self) -> Option<VolumeId> {
        self.index.as_ref().map(|index| index.walk.volume)
    }

    /// The store that has its streams; `None` where the header does not say so.
    pub fn store(&self) -> Option<StoreId> {
        self.index.as_ref().and_then(|index| index.store)
    }

    /// What is known of the volume's entries; `None` before the first label.
    pub fn index(&self) -> Option<&Index> {
        self.index.as_ref()
    }

    /// Logical size in bytes.
    pub fn size(&self) -> u64 {
        self.index.as_ref().map_or(0, Index::logical)
    }

    /// Logical position in bytes.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the file itself.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn file_size(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(io_error("look at", &self.name))?.len())
    }

    /// Moves the position, and returns it; `None` when it would be negative.
    pub fn seek(&mut self, offset: i64, whence: Whence) -> Option<u64> {
        let base = match whence {
            Whence::Start => 0,
            Whence::Current => self.position,
            Whence::End => self.size(),
        };
        let to = base.checked_add_signed(offset).filter(|to| i64::try_from(*to).is_ok())?;
        // To where it is already is no seek; Bacula asks for the position so.
        if to != self.position || whence == Whence::End {
            self.sought = whence == Whence::Start;
        }
        self.position = to;
        Some(to)
    }

    /// Reads from the position on, to the end of the block that it lies in at most. 0 bytes: the end of the volume.
    ///
    /// # Errors
    /// When the block cannot be given back exactly as it was written, or should be behind the end.
    pub fn read(&mut self, store: &mut dyn Store, buffer: &mut [u8]) -> Result<usize> {
        if !(self.outline_is_good && self.outline.holds(self.position)) {
            if self.position >= self.size() && !self.grew(store)? {
                return self.end();
            }
            self.outline_is_good = false;
            self.rebuild(store)?;
            self.outline_is_good = true;
        }
        let skip = usize::try_from(self.position - self.outline.start).unwrap_or(usize::MAX);
        let rest = self.outline.bytes.get(skip..).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count as u64;
        self.sought = false;
        Ok(count)
    }

    /// What a read behind the last block gets. Bacula seeks to where its catalog says that a job begins, so one that is
    /// sent to the end, or beyond, looks for blocks that this file does not have: it is an older copy, or was cut.
    fn end(&self) -> Result<usize> {
        let (end, position) = (self.size(), self.position);
        if position == end && (end == 0 || !self.sought) {
            return Ok(0);
        }
        let what = format!("the volume ends at logical byte {end}, and {position} was asked for");
        Err(Error::Damaged { volume: self.name.clone(), offset: index_end(self.index.as_ref()), what })
    }

    /// Whether a block may be written at the position; the first label may be replaced.
    ///
    /// # Errors
    /// When it may not.
    pub fn admit(&self) -> Result<()> {
        let (position, end) = (self.position, self.size());
        if !self.writable {
            return Err(Error::ReadOnly(self.name.clone()));
        }
        if self.index.as_ref().is_some_and(|index| !index.holes.is_empty()) {
            return Err(Error::Sealed { volume: self.name.clone(), why: "it is damaged".to_owned() });
        }
        let is_label = position == 0 && self.index.as_ref().is_some_and(|index| index.only_label);
        if position == end || is_label {
            return Ok(());
        }
        Err(Error::Middle { volume: self.name.clone(), position, end })
    }

    /// Writes the block at position 0, a label, and gives the volume its id when it has none; it belongs to `store`
    /// then.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_label(&mut self, block: &[u8], store: Option<StoreId>) -> Result<()> {
        let hash = XxHash3_64::oneshot(block);
        let index = match self.index.take() {
            Some(index) => index,
            None => {
                let volume = random_id().map_err(io_error("name", &self.name))?;
                self.write_at(&frame::header(volume, store), 0)?;
                Index::empty(volume, store)
            }
        };
        let mut writer = Writer::new(&index, self.synced, true);
        writer.label(hash, block);
        self.index = Some(index);
        self.commit(&writer, block.len())
    }

    /// Collects entries for the end of the volume; `None` before the first label.
    pub fn writer(&self) -> Option<Writer> {
        self.index.as_ref().map(|index| Writer::new(index, self.synced, self.fresh))
    }

    /// Writes what was collected, and moves the position by `len`, the length of the block in it.
    ///
    /// # Errors
    /// When the file cannot be written; nothing has changed then.
    pub fn commit(&mut self, writer: &Writer, len: usize) -> Result<()> {
        let bytes = writer.bytes();
        let index = self.index.as_mut().ok_or(Error::Closed)?;
        let end = index.walk.offset;
        if let Some(torn) = index.torn {
            self.file.set_len(torn.offset).map_err(io_error("cut the torn end of", &self.name))?;
            index.torn = None;
            self.reader.reset();
            self.outline_is_good = false;
        }
        if let Err(error) = self.file.write_all_at(bytes, end) {
            // Half an entry would be a torn end; a whole one of two would be a block that Bacula was told is not there.
            let _ = self.file.set_len(end);
            return Err(io_error("write", &self.name)(error));
        }
        index.absorb(bytes);
        if len > 0 {
            self.fresh = false;
            if self.position < index.logical() - len as u64 || index.only_label {
                self.reader.reset();
                self.outline_is_good = false;
            }
            self.position = index.logical();
            self.sought = false;
        }
        Ok(())
    }

    /// Makes everything that was written durable, and notes in the file that it is.
    ///
    /// # Errors
    /// When that failed. It is not tried again: what is on disk is unknown then.
    pub fn sync(&mut self) -> Result<()> {
        let Some(index) = self.index.as_ref().filter(|_| self.writable) else { return Ok(()) };
        let end = index.walk.offset;
        if self.synced == end || index.torn.is_some() {
            return Ok(());
        }
        self.file.sync_data().map_err(io_error("sync", &self.name))?;
        if !self.named {
            let folder = name_of(&self.file).parent().map(Path::to_path_buf).unwrap_or_default();
            if folder.is_dir() {
                let synced = File::open(&folder).and_then(|folder| folder.sync_all());
                synced.map_err(io_error("sync the folder of", &self.name))?;
            }
            self.named = true;
        }
        self.synced = end;
        // The note need not be durable: it only turns "torn" into "damaged" should these bytes ever rot.
        let mut writer = Writer::new(index, end, true);
        writer.group(index.walk.logical);
        self.commit(&writer, 0)?;
        self.synced = index_end(self.index.as_ref());
        self.fresh = false;
        Ok(())
    }

    /// What to remember of a volume that is closed, and synced where it was written.
    pub fn remember(self) -> Option<Remembered> {
        let stamp = self.stamp().ok()?;
        let index = self.index.filter(|index| index.torn.is_none())?;
        Some(Remembered { stamp, index })
    }

    /// Compares what the volume refers to behind its last receipt with what the store has, and cuts off what it lacks.
    /// Returns what was cut, in words.
    ///
    /// # Errors
    /// When the store cannot be asked, or the file not be read.
    pub fn check_end(&mut self, store: &mut dyn Store) -> Result<Option<String>> {
        let Some(index) = self.index.as_mut() else { return Ok(None) };
        let mut lacking = Vec::new();
        for (id, stream) in
            index.streams.iter().filter(|(_, stream)| stream.end.is_none() && stream.needed > 0)
        {
            let length = store.length(*id)?.unwrap_or(0);
            if length < stream.needed {
                lacking.push((*id, length));
            }
        }
        if lacking.is_empty() {
            return Ok(None);
        }
        let has = |id: StreamId, from: u64, to: u64| {
            let length =
                lacking.iter().find(|(lacks, _)| *lacks == id).map_or(u64::MAX, |(_, length)| *length);
            to <= length || is_patched(index, id, from.max(length), to)
        };
        let found = index.first_unreadable(&self.file, &mut self.window, has);
        let Some(place) = found.map_err(io_error("read", &self.name))? else { return Ok(None) };
        let file_len = self.file.metadata().map_err(io_error("look at", &self.name))?.len();
        let lost = index.logical() - place.logical;
        index.cut(place, file_len);
        self.reader.reset();
        self.outline_is_good = false;
        Ok(Some(format!(
            "{}: the last {lost} logical bytes belong to jobs that were never acknowledged, and their data did not \
             reach the store; they are ignored",
            self.name
        )))
    }

    /// Looks for entries that another device has added since; whether the position now lies within the volume.
    fn grew(&mut self, store: &mut dyn Store) -> Result<bool> {
        let len = self.file_size()?;
        let known =
            self.index.as_ref().map(|index| index.torn.map_or(index.walk.offset, |torn| torn.file_len));
        if known.unwrap_or(0) < len {
            self.window.clear();
            self.reader.reset();
            match self.index.as_mut().filter(|index| index.torn.is_none()) {
                Some(index) => {
                    index.scan(&self.file, &mut self.window).map_err(io_error("read", &self.name))?
                }
                None => self.load()?,
            }
            self.check_end(store)?;
        }
        let hole = |index: &Index| index.holes.iter().any(|hole| hole.logical.contains(&self.position));
        Ok(self.position < self.size() || self.index.as_ref().is_some_and(hole))
    }

    fn rebuild(&mut self, store: &mut dyn Store) -> Result<()> {
        let index = self.index.as_ref().ok_or(Error::Closed)?;
        let outline = &mut self.outline;
        self.reader.outline(&self.file, &self.name, index, self.position, outline)?;
        if let Some((stream, mut from)) = outline.payload {
            for gap in &outline.gaps {
                let bytes = &mut outline.bytes[gap.clone()];
                fetch(&self.file, &self.name, index, store, stream, from, bytes)?;
                from += gap.len() as u64;
            }
        }
        let found = XxHash3_64::oneshot(&outline.bytes);
        if found != outline.hash {
            let (volume, position) = (self.name.clone(), outline.start);
            return Err(Error::Digest { volume, position, expected: outline.hash, found });
        }
        Ok(())
    }

    fn load(&mut self) -> Result<()> {
        self.index = None;
        self.window.fill(&self.file, 0, HEADER_SIZE).map_err(io_error("read", &self.name))?;
        let bytes = self.window.from(0);
        let start = frame::start(&bytes[..bytes.len().min(HEADER_SIZE)]);
        let volume = self.name.clone();
        let (id, store) = match start {
            Start::Volume(id, store) => (id, store),
            Start::Torn => return Ok(()),
            Start::Version(found) => return Err(Error::Version { volume, found, known: frame::VERSION }),
            Start::Damaged(expected, found) => {
                let what = format!("checksum of the header: expected {expected:#010x}, found {found:#010x}");
                return Err(Error::Damaged { volume, offset: 0, what });
            }
            Start::Foreign => {
                let found = String::from_utf8_lossy(&bytes[..bytes.len().min(16)]).escape_debug().to_string();
                let expected = String::from_utf8_lossy(&frame::MAGIC).into_owned();
                return Err(Error::NotOurs { volume, expected, found });
            }
        };
        let mut index = Index::empty(id, store);
        index.scan(&self.file, &mut self.window).map_err(io_error("read", &self.name))?;
        self.index = Some(index);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.set_len(offset).map_err(io_error("cut", &self.name))?;
        self.file.write_all_at(bytes, offset).map_err(io_error("write", &self.name))
    }

    fn stamp(&self) -> Result<Stamp> {
        let now = self.file.metadata().map_err(io_error("look at", &self.name))?;
        let changed = (now.ctime(), now.ctime_nsec());
        Ok(Stamp { device: now.dev(), inode: now.ino(), len: now.len(), changed })
    }
}

fn index_end(index: Option<&Index>) -> u64 {
    index.map_or(0, |index| index.walk.offset)
}

/// Whether patches hold all of a stream from `from` to `to`.
fn is_patched(index: &Index, stream: StreamId, mut from: u64, to: u64) -> bool {
    while from < to {
        match patch_at(index, stream, from) {
            Some((_, left)) => match from.checked_add(left) {
                Some(next) => from = next,
                None => return false,
            },
            None => return false,
        }
    }
    true
}

/// Where in the file the patch byte for `from` stands, and how many follow it, itself included.
fn patch_at(index: &Index, stream: StreamId, from: u64) -> Option<(u64, u64)> {
    let ((_, start), patch) = index.patches.range((stream, 0)..=(stream, from)).next_back()?;
    let skip = from - start;
    (skip < patch.len).then(|| (patch.offset + skip, patch.len - skip))
}

/// Fills `buffer` with a stream's bytes from `from` on: from patches where there are some, from the store otherwise.
fn fetch(
    file: &File,
    name: &str,
    index: &Index,
    store: &mut dyn Store,
    stream: StreamId,
    mut from: u64,
    mut buffer: &mut [u8],
) -> Result<()> {
    while !buffer.is_empty() {
        let wanted = buffer.len() as u64;
        let patch = patch_at(index, stream, from);
        let len = match patch {
            Some((_, left)) => left,
            None => {
                let next =
                    index.patches.range((stream, from)..).next().filter(|((its, _), _)| *its == stream);
                next.map_or(u64::MAX, |((_, start), _)| start - from)
            }
        };
        let (part, rest) = buffer.split_at_mut(usize::try_from(len.min(wanted)).unwrap_or(usize::MAX));
        match patch {
            Some((offset, _)) => file.read_exact_at(part, offset).map_err(io_error("read", name))?,
            None => store.recall(stream, from, part)?,
        }
        from += part.len() as u64;
        buffer = rest;
    }
    Ok(())
}

/// The path that an open file has now, as far as the kernel knows.
fn name_of(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    std::fs::read_link(&link).unwrap_or_else(|_| link.into())
}

fn random_id() -> std::io::Result<VolumeId> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(VolumeId(id))
}
