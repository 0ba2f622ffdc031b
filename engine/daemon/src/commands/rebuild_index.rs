//! `gdd rebuild-index`.

use std::fmt::Write;
use std::path::Path;

use gdd_engine::options::Options;
use gdd_engine::rebuild;

use crate::failure::{CODE_DAMAGE, Result};
use crate::output::Outcome;
use crate::progress::Bar;
use crate::size::{grouped, show};

/// Make the index anew from containers and recipes.
///
/// # Errors
/// No store, another process, or the disk failed. Streams that cannot be read are no error here, but exit code 3.
pub fn run(dir: &Path, options: &Options) -> Result<Outcome> {
    let mut bar = Bar::bytes("rebuild", None);
    let rebuilt = rebuild::rebuild_index(dir, options, &mut |progress| bar.follow(progress))?;
    drop(bar);
    let mut text = format!(
        "made the index anew: {} chunks in {} containers ({}), {} streams\n{:.2} s, {:.2} s for each GB\n",
        grouped(rebuilt.chunks),
        grouped(rebuilt.containers),
        show(rebuilt.bytes),
        grouped(rebuilt.streams),
        rebuilt.seconds,
        rebuilt.seconds_per_gigabyte,
    );
    for name in &rebuilt.streams_unreadable {
        let _ = writeln!(text, "stream {name} cannot be read: see the notes"); // A string takes everything.
    }
    let mut outcome = Outcome::new(&rebuilt, text)?.with_notes(rebuilt.notes);
    outcome.code = if rebuilt.streams_unreadable.is_empty() { 0 } else { CODE_DAMAGE };
    Ok(outcome)
}
