//! One device of the storage daemon: a volume, the sessions that write to it, and the store behind it.
//!
//! # Order
//! A block's payload is with the transport before its entry is in the volume; the entry is in the volume before Bacula
//! hears that the block was written. The block with a session's end label waits until everything is durable on both
//! sides: the streams of all sessions on the volume (they are interleaved, and a restore of this one reads over the
//! blocks of the others), the receipt of this one, then the volume. Only then is it a success.
//!
//! A copy, a migration or a virtual full may end without an end label: it forwards those that it happens to read. Its
//! receipt is due at the latest when it leaves the device, which `sync_data` tells; nobody closes the device then when
//! other jobs write on.
//!
//! # When something fails
//! The session is dead. When the way to the store broke, so are all that have a stream on it. What the transport still
//! holds of their payload goes into the volume as patches, so that the blocks that were written stay readable for the
//! sake of others; then the job is told. The others' sessions live on here, but Bacula lets none of their jobs go on:
//! after a failed write it ends the volume, and refuses the next block of each.

mod ending;

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread;

use gdd_plugin_abi::host::Grave;
use twox_hash::XxHash3_64;

use crate::block::{self, Header, SessionId, Unparsed};
use crate::error::{Error, Result};
use crate::label::About;
use crate::limits::BLOCK_SIZE_MAX;
use crate::process::Process;
use crate::record::{self, FILE_INDEX_EOS, FILE_INDEX_SOS, Record};
use crate::session::{OpenStream, Session, Sessions};
use crate::skeleton::writer::Parsed;
use crate::store::{Store, VolumeId};
use crate::volume::{Remembered, Volume, Whence};

/// A line for the job log.
pub type Note = (Grave, String);

/// A device.
pub struct Device {
    store: Box<dyn Store>,
    volume: Option<Volume>,
    sessions: Sessions,
    remembered: Option<Remembered>,
    /// What the volume refers to behind its last receipt was compared with the store.
    end_is_checked: bool,
    /// The volume's store was compared with the daemon's, or no daemon answered.
    store_is_checked: bool,
    /// Blocks whose session is unknown, since the last report, and why the first of them is not parsed.
    strange: (u64, Option<Unparsed>),
    notes: Vec<Note>,
    records: Vec<Record>,
}

impl Device {
    /// A device without a volume, of a process of its own.
    pub fn new(store: Box<dyn Store>) -> Self {
        Self::of(Arc::default(), store)
    }

    /// A device without a volume, of `process`.
    pub fn of(process: Arc<Process>, store: Box<dyn Store>) -> Self {
        Self {
            store,
            volume: None,
            sessions: Sessions::new(process),
            remembered: None,
            end_is_checked: false,
            store_is_checked: false,
            strange: (0, None),
            notes: Vec::new(),
            records: Vec::new(),
        }
    }

    /// The lines that are to be written to the job log.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Whether a volume is open.
    pub fn is_open(&self) -> bool {
        self.volume.is_some()
    }

    /// The open volume.
    pub fn volume(&self) -> Option<&Volume> {
        self.volume.as_ref()
    }

    /// Takes up a volume file that was just opened.
    ///
    /// # Errors
    /// When it is not ours or cannot be read. A store that does not answer is no error yet: labels can be read without.
    pub fn open(&mut self, file: File, writable: bool) -> Result<()> {
        let mut volume = Volume::open(file, writable, self.remembered.take())?;
        self.store_is_checked = false;
        if let Some(index) = volume.index() {
            for hole in &index.holes {
                let text = format!(
                    "[GDD-SD-0104] {} is damaged at byte {} of its file: logical bytes {} to {} are not readable, all \
                     others are; restore the file from a copy",
                    volume.name(),
                    hole.offset,
                    hole.logical.start,
                    hole.logical.end
                );
                self.notes.push((Grave::Error, text));
            }
            if let Some(torn) = index.torn {
                // A reader may have come in the middle of a write; a writer is alone.
                let what = if writable { "" } else { ", or one that goes on, or damaged" };
                let text = format!(
                    "[GDD-SD-0201] {}: the last {} bytes of its file are an unfinished write{what}; ignored",
                    volume.name(),
                    torn.file_len - torn.offset
                );
                self.notes.push((Grave::Warning, text));
            }
        }
        self.end_is_checked = match volume.check_end(self.store.as_mut()) {
            Ok(cut) => {
                self.notes.extend(cut.map(|text| (Grave::Warning, format!("[GDD-SD-0202] {text}"))));
                true
            }
            Err(Error::Store(_)) => false,
            Err(error) => return Err(error),
        };
        self.volume = Some(volume);
        Ok(())
    }

    /// Moves the position; `None` for a seek to nowhere or without a volume.
    pub fn seek(&mut self, offset: i64, whence: Whence) -> Option<u64> {
        self.volume.as_mut()?.seek(offset, whence)
    }

    /// Reads at the position. 0 bytes: the end of the volume, and nothing else.
    ///
    /// # Errors
    /// When the bytes that were written cannot be given back.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let volume = self.volume.as_mut().ok_or(Error::Closed)?;
        // The label is read in any case: a volume of a store that is gone must be truncated or labelled anew.
        if volume.position() > 0 && !self.store_is_checked {
            demand_its_store(volume, self.store.as_mut())?;
            self.store_is_checked = true;
        }
        volume.read(self.store.as_mut(), buffer)
    }

    /// Writes one block at the position.
    ///
    /// # Errors
    /// When it is not stored as safely as it must be. The position has not moved, and the job must end.
    pub fn write(&mut self, block: &[u8]) -> Result<usize> {
        let volume = self.volume.as_mut().ok_or(Error::Closed)?;
        if block.is_empty() || block.len() > BLOCK_SIZE_MAX {
            return Err(Error::Size { found: block.len(), limit: BLOCK_SIZE_MAX });
        }
        let header = Header::parse(block);
        let session = match &header {
            Ok(header) => header.session,
            Err(why) => block::session_of_unparsed(block, *why),
        };
        let written = match volume.admit() {
            Ok(()) if volume.position() == 0 => {
                // Without a daemon it is labelled all the same, and belongs to no store by name.
                let store = if volume.id().is_none() { self.store.id().ok() } else { None };
                volume.write_label(block, store)
            }
            Ok(()) => session
                .map_or(Ok(()), |id| self.sessions.admit(id))
                .and_then(|()| self.write_block(block, header)),
            Err(refused) => Err(refused),
        };
        if let Err(error) = &written {
            self.fail(session, error.is_lost());
        }
        written.map(|()| block.len())
    }

    /// Makes everything durable that the volume refers to, acknowledges what the calling thread's job has written, and
    /// reports what was odd. Bacula calls it when a job leaves the device, from the thread that wrote the job's blocks.
    ///
    /// # Errors
    /// When something is not durable.
    pub fn sync(&mut self) -> Result<()> {
        self.report_strange();
        let leaving = self.sessions.of_thread(thread::current().id());
        self.secure(&leaving)?;
        for id in leaving {
            if let Some(session) = self.sessions.end(id) {
                self.report(&session);
            }
        }
        Ok(())
    }

    /// Ends all streams on the volume, makes everything durable, and forgets the volume in any case.
    ///
    /// # Errors
    /// When something is not durable.
    pub fn close(&mut self) -> Result<()> {
        self.report_strange();
        let synced = self.secure(&self.sessions.with_stream());
        self.drop_streams();
        let volume = self.volume.take();
        self.remembered = volume.filter(|_| synced.is_ok()).and_then(Volume::remember);
        synced
    }

    /// Asks the store before a volume is truncated: afterwards its streams must be given up.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn before_truncate(&mut self) -> Result<Option<VolumeId>> {
        let id = self.volume.as_ref().ok_or(Error::Closed)?.id();
        if id.is_some() {
            self.store.reachable()?;
        }
        Ok(id)
    }

    /// Gives up the streams of a volume whose file was truncated, and takes up the empty file.
    ///
    /// # Errors
    /// When the file is not empty or cannot be read.
    pub fn after_truncate(&mut self, file: File, id: Option<VolumeId>) -> Result<()> {
        self.drop_streams();
        self.remembered = None;
        self.volume = None;
        if let Some(id) = id
            && let Err(error) = self.store.retire(id)
        {
            let rest = format!(
                "its streams stay in the store: `gdd ls` names them sd/{id}/..., `gdd rm` removes them"
            );
            self.notes.push((Grave::Warning, format!("{error} ({rest})")));
        }
        self.open(file, true)
    }

    fn write_block(&mut self, block: &[u8], header: std::result::Result<Header, Unparsed>) -> Result<()> {
        let mut records = std::mem::take(&mut self.records);
        let parsed = header.and_then(|header| {
            // Where no session can be had, the block is refused below; any thread will do to learn whose it is.
            let mut thread = header
                .session
                .and_then(|id| self.sessions.get(id).ok().map(|session| session.thread))
                .unwrap_or_default();
            let session = record::parse(block, &header, &mut thread, &mut records)?;
            Ok((header, session, thread))
        });
        let written = match parsed {
            Ok((header, id, thread)) => {
                self.sessions.get(id).map(|session| session.thread = thread).and_then(|()| {
                    self.open_stream(id, block, &records)?;
                    self.write_parsed(id, block, &header, &records)
                })
            }
            Err(why) => self.write_verbatim(header.ok().and_then(|header| header.session), block, why),
        };
        self.records = records;
        written
    }

    /// The session has a stream on this volume from here on.
    fn open_stream(&mut self, id: SessionId, block: &[u8], records: &[Record]) -> Result<()> {
        let session = self.sessions.get(id)?;
        if let Some(label) = records.iter().find(|record| record.file_index == FILE_INDEX_SOS) {
            session.about = About::parse(&block[label.data.clone()]).unwrap_or_default();
        }
        if session.open.is_some() {
            return Ok(());
        }
        let volume = self.volume.as_mut().ok_or(Error::Closed)?;
        demand_its_store(volume, self.store.as_mut())?; // Another daemon may have come since the volume was mounted.
        if !self.end_is_checked {
            if let Some(why) = volume.check_end(self.store.as_mut())? {
                return Err(Error::Sealed { volume: volume.name().to_owned(), why });
            }
            self.end_is_checked = true;
        }
        let volume_id = volume.id().ok_or(Error::Closed)?;
        session.open = Some(OpenStream::new(self.store.begin(volume_id, id, &session.about)?));
        Ok(())
    }

    fn write_parsed(
        &mut self,
        id: SessionId,
        block: &[u8],
        header: &Header,
        records: &[Record],
    ) -> Result<()> {
        let ends = records.iter().any(|record| record.file_index == FILE_INDEX_EOS);
        let volume = self.volume.as_mut().ok_or(Error::Closed)?;
        let mut writer = volume.writer().ok_or(Error::Closed)?;
        let session = self.sessions.get(id)?;
        let open = session.open.as_mut().ok_or(Error::Closed)?;
        let hash = XxHash3_64::oneshot(block);
        let (stream, offset) = (open.id, open.bytes);
        let parsed = Parsed { block, hash, header, records, session: id, stream, offset };
        if let Err(why) = writer.block(&parsed) {
            self.write_verbatim(Some(id), block, why)?;
            return if ends { self.acknowledge(id) } else { Ok(()) };
        }
        let mut sent = false;
        for record in records.iter().filter(|record| !record.payload_range().is_empty()) {
            let bytes = &block[record.payload_range()];
            self.store.append(stream, record.file_starts, bytes)?;
            open.count(bytes);
            session.payload_bytes += bytes.len() as u64;
            sent = true;
        }
        if !sent {
            self.store.durable(stream)?;
        }
        session.writer = Some(thread::current().id());
        session.block_count += 1;
        session.block_bytes += block.len() as u64;
        if !ends {
            return volume.commit(&writer, block.len());
        }
        self.finish(id, &mut writer)?;
        self.commit_end(id, &writer, block.len())
    }

    fn write_verbatim(&mut self, session: Option<SessionId>, block: &[u8], why: Unparsed) -> Result<()> {
        match session {
            Some(id) => {
                let session = self.sessions.get(id)?;
                session.verbatim += 1;
                session.why_verbatim.get_or_insert(why);
                if session.verbatim == 1 {
                    self.notes.push((Grave::Warning, strange_text(1, why)));
                }
            }
            None => {
                self.strange.0 += 1;
                self.strange.1.get_or_insert(why);
            }
        }
        let volume = self.volume.as_mut().ok_or(Error::Closed)?;
        let mut writer = volume.writer().ok_or(Error::Closed)?;
        writer.verbatim(XxHash3_64::oneshot(block), block);
        volume.commit(&writer, block.len())
    }

    fn report(&mut self, session: &Session) {
        let text = format!(
            "[GDD-SD-0200] gdd has acknowledged this job: {} blocks, {} bytes, of which {} bytes of file data are in \
             the store; volume file {} bytes",
            session.block_count,
            session.block_bytes,
            session.payload_bytes,
            self.volume.as_ref().and_then(|volume| volume.file_size().ok()).unwrap_or(0)
        );
        self.notes.push((Grave::Info, text));
        if session.verbatim > 1 {
            let why = session.why_verbatim.unwrap_or(Unparsed::Records);
            self.notes.push((Grave::Warning, strange_text(session.verbatim, why)));
        }
    }

    fn report_strange(&mut self) {
        if let (count, Some(why)) = std::mem::take(&mut self.strange) {
            self.notes.push((Grave::Warning, strange_text(count, why)));
        }
    }
}

/// A volume of another store is refused by name. A store that does not answer says so when it is needed.
fn demand_its_store(volume: &Volume, store: &mut dyn Store) -> Result<()> {
    let Some(expected) = volume.store() else { return Ok(()) };
    match store.id() {
        Ok(found) if found != expected => {
            Err(Error::OtherStore { volume: volume.name().to_owned(), expected, found })
        }
        _ => Ok(()),
    }
}

fn strange_text(count: u64, why: Unparsed) -> String {
    let remedy = match why {
        Unparsed::Encrypted => "switch Volume Encryption off for this device to save space",
        _ => "a newer gdd may know this kind",
    };
    format!(
        "[GDD-SD-0204] blocks stored as they are and not deduplicated: {count}, the first for this reason: {why}; they \
         restore like all others; {remedy}"
    )
}

/// What the storage daemon is told of an error; it has no other channel than the job log.
pub fn errno_of(error: &Error) -> i32 {
    match error {
        // Not EIO and not EBUSY, which are tried again, and not ENOSPC, which goes to the next volume.
        Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => libc::EACCES,
        _ => libc::EROFS,
    }
}
