//! What a stream begins with.

use std::sync::Arc;

use gdd_kernels::{Chunker, Params};
use gdd_uring::io::Io;

use super::slices::Slicer;
use super::{PutOptions, lineage};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::format::recipe::{ChunkParams, Owner, RecipeHeader};
use crate::ids::RecipeId;
use crate::tuner::Tuner;

/// The tuner of a stream, where there is one.
pub(super) fn tuner_of(core: &Core, io: &mut dyn Io, options: &PutOptions) -> Result<Option<Tuner>> {
    let Some(lineage) = options.lineage.as_deref().filter(|_| core.settings.tuner) else { return Ok(None) };
    let found = lineage::find(core, io, lineage)?;
    Ok(Some(Tuner::new(core.ladder(), found.past, &found.switches, options.tuner_window)))
}

/// Cuts with these sizes.
pub(super) fn chunker_of(sizes: ChunkParams) -> Result<Chunker> {
    let params = Params::new(sizes.min, sizes.avg, sizes.max);
    params.map(Chunker::new).map_err(|error| Error::Invalid(error.to_string()))
}

/// The header of its recipe.
pub(super) fn recipe_header(
    core: &Core,
    (recipe, owner): (RecipeId, Owner),
    name: &str,
    params: ChunkParams,
    lineage: String,
) -> RecipeHeader {
    RecipeHeader {
        store: core.store,
        recipe,
        created_epoch: core.epoch,
        created_unix: core.unix_seconds(),
        name: name.to_owned(),
        params,
        owner,
        lineage,
    }
}

/// What compares a stream with the one before it, where there is one and it may be stored as slices of it. What is kept
/// before its end is not: a journal knows whole chunks.
pub(super) fn slicer_of(core: &Arc<Core>, options: &PutOptions) -> Result<Option<Slicer>> {
    let lineage = options.lineage.as_deref().filter(|_| core.settings.slices && !options.kept);
    lineage.map_or(Ok(None), |lineage| Slicer::begin(core, lineage))
}
