//! Storing a stream by the lines of a recipe: also one that is made of slices, as another store has it.

use super::{NamedPut, Question};
use crate::error::{Error, Result};
use crate::format::recipe_block::Line;
use crate::ingest::front::StreamChunk;

impl NamedPut {
    /// The stream's next lines, each piece once, and for each piece all of the chunk that it is of. The answer is that
    /// to [`NamedPut::ask`] of those chunks. Waits as that does.
    ///
    /// # Errors
    /// As [`NamedPut::ask`]; [`Error::Invalid`] also when there are slices and this store takes none.
    ///
    /// # Panics
    /// When there are not as many chunks as pieces.
    pub fn ask_lines(&mut self, lines: Vec<Line>, chunks: Vec<StreamChunk>) -> Result<()> {
        let whole = |line: &Line| matches!(line, Line::Piece(entry) if !entry.slice);
        if !self.core.settings.slices && !lines.iter().all(whole) {
            let why = "this store takes no slices of chunks; `gdd init --slices on` makes one that does";
            return Err(Error::Invalid(why.to_owned()));
        }
        let pieces = lines.iter().filter(|line| matches!(line, Line::Piece(_))).count();
        assert_eq!(pieces, chunks.len(), "each piece is of a chunk");
        self.ask(chunks)?;
        if let Some(Question::Part { lines: asked, .. }) = self.asked.back_mut() {
            *asked = Some(lines);
        }
        Ok(())
    }

    /// The next piece of `lines` is part of the stream now, and so are the marks before it.
    pub(super) fn note_piece(&mut self, lines: &mut std::vec::IntoIter<Line>) -> Result<()> {
        let recipe = self.recipe.as_mut().expect("the stream is not finished");
        for line in lines {
            match line {
                Line::Mark(mark) => recipe.push_mark(self.io.as_mut(), mark)?,
                Line::Piece(entry) => {
                    recipe.push_entry(self.io.as_mut(), entry)?;
                    self.bytes += entry.bytes();
                    self.chunks += u64::from(entry.repeat);
                    break;
                }
            }
        }
        Ok(())
    }
}
