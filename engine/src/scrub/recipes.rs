//! Recipes: both copies of each, and a damaged one written anew from the other.

use std::sync::PoisonError;

use super::Scrub;
use crate::error::Result;
use crate::index::{RecipeRow, RecipeState};
use crate::recipe::Side;
use crate::recipe::set;

impl Scrub<'_> {
    /// Check the recipes of all streams.
    pub(super) fn recipes(&mut self) -> Result<()> {
        let mut rows = self.core.index.recipes()?;
        rows.retain(|row| row.state == RecipeState::Live);
        for row in rows {
            self.pace.check()?;
            self.report.streams += 1;
            let (core, recipes) = (self.core, self.core.paths.recipes());
            for side in Side::BOTH {
                match set::check_copy(self.io.as_mut(), &recipes, row.recipe, core.store, side) {
                    Ok(()) => {}
                    Err(error) if error.is_loss() => self.bad_copy(&row, &error.to_string())?,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Write a copy anew, unless the stream is being removed: nobody removes streams meanwhile.
    fn bad_copy(&mut self, row: &RecipeRow, why: &str) -> Result<()> {
        let core = self.core;
        let _alone = core.removing.lock().unwrap_or_else(PoisonError::into_inner);
        let still = core.index.recipe(&row.name)?;
        if still.is_none_or(|still| still.recipe != row.recipe || still.state != RecipeState::Live) {
            return Ok(());
        }
        match set::repair(self.io.as_mut(), &core.paths.recipes(), row.recipe, core.store) {
            Ok(sides) if sides.is_empty() => {} // Both were bad, and the first one's turn made both anew.
            Ok(_) => {
                self.report.copies_repaired += 1;
                self.report.find(format!("a copy of the recipe of {:?} is written anew: {why}", row.name));
            }
            Err(error) if error.is_loss() => {
                self.report.streams_unreadable += 1;
                self.report.find(format!("stream {:?} cannot be given back: {error}", row.name));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
