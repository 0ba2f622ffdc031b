//! `gdd rebuild-index`.

use std::path::Path;

use gdd_engine::options::Options;
use gdd_engine::rebuild;

use crate::failure::Result;
use crate::output::Outcome;
use crate::progress::Bar;
use crate::size::{grouped, show};

/// Make the index anew from containers and recipes.
///
/// # Errors
/// No store, another process, or the disk failed.
pub fn run(dir: &Path, options: &Options) -> Result<Outcome> {
    let mut bar = Bar::bytes("rebuild", None);
    let rebuilt = rebuild::rebuild_index(dir, options, &mut |progress| bar.follow(progress))?;
    drop(bar);
    let text = format!(
        "made the index anew: {} chunks in {} containers ({}), {} streams\n{:.2} s, {:.2} s for each GB\n",
        grouped(rebuilt.chunks),
        grouped(rebuilt.containers),
        show(rebuilt.bytes),
        grouped(rebuilt.streams),
        rebuilt.seconds,
        rebuilt.seconds_per_gigabyte,
    );
    Ok(Outcome::new(&rebuilt, text)?.with_notes(rebuilt.notes))
}
