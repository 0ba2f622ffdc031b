//! What to do about what a check found.

use crate::fsck::{AffectedStream, Part, Report};

/// A kind of step, in the order in which they are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make the index anew from containers and recipes.
    RebuildIndex,
    /// Make the epoch file anew.
    WriteEpoch,
    /// Open for writing: recovery.
    Settle,
    /// Move files that are none of the store's to `quarantine/`.
    SetFilesAside,
    /// Move the recipes of streams that cannot be read in any copy to `quarantine/`.
    SetStreamsAside,
    /// Note durably which chunks cannot be given back.
    MarkChunks,
    /// Write damaged copies of recipes anew.
    WriteCopies,
    /// Move what is good out of damaged containers.
    Evacuate,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// For how many findings.
    pub count: u64,
    /// What that means, and what is kept.
    pub what: &'static str,
}

/// See the module.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// What no repair brings back. A backup that carries the same data makes streams whole again whose recipes are not
    /// lost.
    pub lost: Vec<AffectedStream>,
    /// Why there is more to find out, if so.
    pub note: Option<String>,
}

impl Plan {
    /// From what a check of the deepest level found.
    #[must_use]
    pub fn of(found: &Report) -> Self {
        let unlisted = if found.records_unlisted > 0 { found.chunks_unknown } else { 0 };
        let recipes_lost = found.streams_affected.iter().filter(|stream| stream.recipe_lost).count() as u64;
        let containers = found.about(Part::Container) + found.about(Part::Chunk);
        let counts = [
            (Action::RebuildIndex, found.about(Part::Index) + found.about(Part::RecipeUnlisted) + unlisted),
            (Action::WriteEpoch, found.about(Part::Epoch)),
            (Action::Settle, found.about(Part::Superblock) + found.about(Part::Unsettled)),
            (Action::SetFilesAside, found.about(Part::Foreign)),
            (Action::SetStreamsAside, recipes_lost),
            (Action::MarkChunks, found.chunks_bad.max(containers)),
            (Action::WriteCopies, found.about(Part::RecipeCopy)),
            (Action::Evacuate, containers),
        ];
        let steps = counts.into_iter().filter(|(_, count)| *count > 0);
        let steps = steps.map(|(action, count)| Step { action, count, what: action.what() }).collect();
        Self { steps, lost: found.streams_affected.clone(), note: None }
    }

    /// When the index cannot be opened: what else there is to do, only a check with the new one can say.
    #[must_use]
    pub fn without_index(why: &str) -> Self {
        let action = Action::RebuildIndex;
        let steps = vec![Step { action, count: 1, what: action.what() }];
        let note = format!("{why}; what else is to be done is found when the index is there again");
        Self { steps, lost: Vec::new(), note: Some(note) }
    }

    /// Whether `action` is part of it.
    #[must_use]
    pub fn has(&self, action: Action) -> bool {
        self.steps.iter().any(|step| step.action == action)
    }

    /// Take `action` out.
    pub(super) fn take(&mut self, action: Action) -> Option<Step> {
        let at = self.steps.iter().position(|step| step.action == action)?;
        Some(self.steps.remove(at))
    }
}

impl Action {
    /// What that means, and what is kept.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::RebuildIndex => {
                "make the index anew from containers and recipes; the old one stays as index.old-N"
            }
            Self::WriteEpoch => "make the epoch file anew, above the epoch of every file there is",
            Self::Settle => "open the store for writing, which settles what a crash left; no data is touched",
            Self::SetFilesAside => "move files that are none of this store's to quarantine/",
            Self::SetStreamsAside => {
                "move recipes that cannot be read in either copy to quarantine/, and forget their streams; what can be \
                 read of them stays as streams salvaged/NAME/1 and so on. Until then no vacuum runs, since nobody \
                 knows what they need; the next one frees what only the lost parts needed"
            }
            Self::MarkChunks => {
                "read everything, and note which chunks cannot be given back: the next backup that carries them \
                 stores them again"
            }
            Self::WriteCopies => "write damaged copies of recipes anew from their good ones",
            Self::Evacuate => {
                "move what is good out of damaged containers; those in which nothing is needed then go to quarantine/"
            }
        }
    }
}
