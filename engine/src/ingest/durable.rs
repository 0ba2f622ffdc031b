//! What of a stream is durable before its end, and how that is asked for.

use super::Put;
use crate::error::Result;

impl Put {
    /// Ask for what was written to be made durable, without waiting; the last bytes stay until their chunk is complete.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn mark(&mut self) -> Result<()> {
        self.front.mark()?;
        self.note_chunks()
    }

    /// Whether it holds back what it has cut, to look at more of the stream at once, and all that it has let go is
    /// durable: then nothing more need become durable before more comes, or [`Put::flush`].
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn is_held_back(&mut self) -> Result<bool> {
        let holds = self.rewriter.as_ref().is_some_and(|rewriter| !rewriter.is_empty());
        Ok(holds && self.front.is_durable()?)
    }

    /// Bytes from the start that would survive a power cut: their chunks would, the stream's name comes at its end.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn durable(&mut self) -> Result<u64> {
        let durable = self.front.durable_bytes()?;
        self.note_chunks()?;
        Ok(durable)
    }

    /// Have what is durable kept under the stream's name, also if it is never finished; returns the bytes from its
    /// start of which that is true now. Takes two writes and syncs at once, if there is anything new.
    ///
    /// # Errors
    /// The store failed; the stream is lost, but for what was kept before.
    ///
    /// # Panics
    /// When the stream was not begun with [`super::PutOptions::kept`].
    pub fn keep(&mut self) -> Result<u64> {
        let durable = self.durable()?;
        let kept = self.kept.as_mut().expect("a stream that is kept was begun as one");
        kept.keep(self.io.as_mut(), durable).inspect_err(|error| self.core.poison.set(error))
    }

    /// Make everything that was written durable, and kept if that was asked for; the last chunk ends here.
    ///
    /// # Errors
    /// The store failed; the stream is lost.
    pub fn flush(&mut self) -> Result<()> {
        if self.durable()? < self.written() {
            if self.written() > self.boundary {
                self.end_chunk()?;
            }
            self.end_front()?;
        }
        if self.kept.is_some() {
            let kept = self.keep()?;
            assert_eq!(kept, self.written(), "all that was flushed is durable, and so it is kept");
        }
        Ok(())
    }
}
