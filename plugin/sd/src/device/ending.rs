//! How streams end: well, with a receipt in the volume, or with their session's death.
//!
//! # Invariants
//! - A receipt is in the volume before its session ends well, and everything is durable before anybody hears of it.
//! - After an error every session that it concerns is dead, also one whose stream was finished just before.

use super::Device;
use crate::block::SessionId;
use crate::error::{Error, Result};
use crate::limits::PATCH_SIZE_MAX;
use crate::session::OpenStream;
use crate::skeleton::entry::End;
use crate::skeleton::writer::Writer;
use crate::volume::Volume;

use gdd_plugin_abi::host::Grave;

impl Device {
    /// The end of a session whose last block is in the volume already.
    pub(super) fn acknowledge(&mut self, id: SessionId) -> Result<()> {
        let mut writer = self.volume.as_ref().and_then(Volume::writer).ok_or(Error::Closed)?;
        self.finish(id, &mut writer)?;
        self.commit_end(id, &writer, 0)
    }

    /// Makes all streams durable and finishes the one of `id`; its receipt goes to `writer`.
    pub(super) fn finish(&mut self, id: SessionId, writer: &mut Writer) -> Result<()> {
        self.flush_but(Some(id))?;
        let Some(open) = &self.sessions.get(id)?.open else { return Ok(()) };
        let (stream, bytes, digest) = (open.id, open.bytes, open.digest());
        let receipt = self.store.finish(stream, bytes, digest)?;
        if (receipt.bytes, receipt.digest) != (bytes, digest) {
            let words = |bytes: u64, digest: u128| format!("{bytes} bytes, XXH3 {digest:032x}");
            let (expected, found) = (words(bytes, digest), words(receipt.bytes, receipt.digest));
            return Err(Error::Receipt { stream, expected, found });
        }
        writer.end(End { stream, bytes, digest });
        Ok(())
    }

    /// Writes a session's last entries, and ends it once they are durable.
    pub(super) fn commit_end(&mut self, id: SessionId, writer: &Writer, len: usize) -> Result<()> {
        let volume = self.volume.as_mut().ok_or(Error::Closed)?;
        volume.commit(writer, len)?;
        volume.sync()?;
        if let Some(session) = self.sessions.end(id) {
            self.report(&session);
        }
        Ok(())
    }

    /// Finishes the streams of `ending`, which may go on with others, makes what all others have sent durable, then the
    /// volume.
    ///
    /// # Errors
    /// When something is not durable. All sessions on the volume are dead then, and those of `ending`.
    pub(super) fn secure(&mut self, ending: &[SessionId]) -> Result<()> {
        let concerned = [&self.sessions.with_stream(), ending].concat();
        let finished = self.finish_each(ending).and_then(|()| self.flush_but(None));
        let synced = finished.and_then(|()| self.volume.as_mut().map_or(Ok(()), Volume::sync));
        if let Err(error) = &synced {
            self.fail(None, error.is_lost());
            for id in concerned {
                self.sessions.kill(id);
            }
        }
        synced
    }

    fn finish_each(&mut self, ending: &[SessionId]) -> Result<()> {
        for id in ending {
            if self.sessions.get(*id)?.open.is_none() {
                continue;
            }
            let mut writer = self.volume.as_ref().and_then(Volume::writer).ok_or(Error::Closed)?;
            self.finish(*id, &mut writer)?;
            self.volume.as_mut().ok_or(Error::Closed)?.commit(&writer, 0)?;
            self.sessions.get(*id)?.open = None;
        }
        Ok(())
    }

    /// Makes durable what streams have sent, but for the one of `except`, which is about to be finished. What was
    /// durable already costs nothing.
    fn flush_but(&mut self, except: Option<SessionId>) -> Result<()> {
        for id in self.sessions.with_stream().into_iter().filter(|id| Some(*id) != except) {
            if let Some(open) = self.sessions.get(id)?.open.as_mut().filter(|open| open.durable < open.bytes)
            {
                self.store.flush(open.id)?;
                open.durable = open.bytes;
            }
        }
        Ok(())
    }

    /// The session is dead, or all with a stream are; the blocks that they have written stay readable.
    pub(super) fn fail(&mut self, session: Option<SessionId>, all: bool) {
        let mut dead: Vec<_> = session.into_iter().collect();
        // Nothing may follow blocks that the store could not keep: Bacula reads one block further than a job goes.
        self.end_is_checked &= !all;
        if all || session.is_none() {
            dead.extend(self.sessions.with_stream());
        }
        for id in dead {
            let Some(open) = self.sessions.kill(id).and_then(|session| session.open) else { continue };
            if let Err(error) = self.salvage(&open) {
                let text = format!(
                    "[GDD-SD-0203] {error} (blocks of session {}-{} that are on this volume may not be readable any \
                     more)",
                    id.id, id.time
                );
                self.notes.push((Grave::Error, text));
            }
            self.store.abandon(open.id);
        }
    }

    /// Writes what the store may not have of a stream, as far as blocks refer to it, into the volume.
    fn salvage(&mut self, open: &OpenStream) -> Result<()> {
        let Some(volume) = self.volume.as_mut() else { return Ok(()) };
        let needed = volume.index().and_then(|index| index.streams.get(&open.id)).map_or(0, |at| at.needed);
        if needed == 0 {
            return Ok(());
        }
        let unreleased = self.store.unreleased(open.id)?;
        let (mut from, len) = (unreleased.offset, needed.saturating_sub(unreleased.offset));
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(unreleased.bytes.len());
        for part in unreleased.bytes[..len].chunks(PATCH_SIZE_MAX) {
            let mut writer = volume.writer().ok_or(Error::Closed)?;
            writer.patch(open.id, from, part);
            volume.commit(&writer, 0)?;
            from += part.len() as u64;
        }
        if len > 0 {
            volume.sync()?;
        }
        Ok(())
    }

    /// No session has a stream any more; those that had one are dead.
    pub(super) fn drop_streams(&mut self) {
        for id in self.sessions.with_stream() {
            if let Some(open) = self.sessions.kill(id).and_then(|session| session.open) {
                self.store.abandon(open.id);
            }
        }
    }
}
