//! A disk that gives nothing of a container, or of a part of it, while the index is made anew, and all of it later: the
//! store goes on meanwhile, and loses nothing that somebody needs.

use std::path::Path;
use std::sync::Arc;

use gdd_engine::index::{Batch, Index, MetaKey};
use gdd_engine::suspects;
use gdd_engine::vacuum::VacuumOptions;

use super::rig::{Open, Rig};
use super::sectors::{CALM, Case, SECTOR, Streams, build};

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Bursts that were tried.
    pub bursts: u64,
    /// Those of them in which a stream could not be read meanwhile.
    pub losses: u64,
}

/// Try a burst over all of each container, over the half of it behind, and over its end.
///
/// # Errors
/// What does not hold, in words.
pub fn run(lost: bool) -> Result<Tally, String> {
    let (rig, streams) = build(Case { closed: true, rebuilt: true })?;
    let mut tally = Tally::default();
    let containers = rig.disk.files().into_iter().filter(|file| is_container(&file.path));
    for file in containers.collect::<Vec<_>>() {
        for from in [0, file.size / 2, file.size - 4096] {
            let copy = Rig { disk: rig.disk.snapshot(5), index: Arc::new(rig.index.crash_image()), ..rig };
            for offset in (from..file.size).step_by(usize::try_from(SECTOR).expect("a sector is small")) {
                copy.disk.latent_error(&file.path, offset).map_err(|error| error.to_string())?;
            }
            tally.bursts += 1;
            let tried = attempt(copy, &streams, lost);
            let missed = tried.map_err(|what| format!("{} from {from}: {what}", file.path.display()))?;
            tally.losses += u64::from(missed > 0);
        }
    }
    Ok(tally)
}

fn is_container(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("containers"))
}

/// Returns how many streams could not be read while the disk did not give all.
fn attempt(mut rig: Rig, streams: &Streams, lost: bool) -> Result<usize, String> {
    let rebuilt = rig.rebuild(5, lost).map_err(|error| format!("a rebuild fails: {error}"))?;
    let open = rig.open(CALM).map_err(|error| format!("it does not open: {error}"))?;
    let missed = missing(&open, streams)?.len();
    if missed > 0 && rebuilt.containers_unreadable == 0 {
        return Err(format!("a rebuild does not say what it could not read: {rebuilt:?}"));
    }
    vacuum(&open)?;
    open.close().map_err(|error| format!("it does not close: {error}"))?;
    rig.disk.heal();
    for round in ["healed", "healed and vacuumed", "rebuilt again"] {
        if round == "rebuilt again" {
            rig.rebuild(6, true).map_err(|error| format!("a rebuild fails: {error}"))?;
        }
        let open = rig.open(CALM).map_err(|error| format!("{round}, it does not open: {error}"))?;
        // Where the index was lost, it is the vacuum that finds what is not looked for.
        let missing = if round == "healed" && lost { Vec::new() } else { missing(&open, streams)? };
        if !missing.is_empty() {
            return Err(format!("{round}: {missing:?} cannot be read"));
        }
        vacuum(&open)?;
        open.close().map_err(|error| format!("{round}, it does not close: {error}"))?;
    }
    Ok(missed)
}

fn missing(open: &Open, streams: &Streams) -> Result<Vec<String>, String> {
    let mut missing = Vec::new();
    for (name, bytes) in streams {
        match open.read(name) {
            Ok(Some(found)) if found == *bytes => {}
            Ok(found) => return Err(format!("{name} has {:?} bytes", found.map(|found| found.len()))),
            Err(_) => missing.push(name.clone()),
        }
    }
    Ok(missing)
}

/// Twice, since what leaves in one run may go in the next.
fn vacuum(open: &Open) -> Result<(), String> {
    let options = VacuumOptions { dead_share: 0.0, ..VacuumOptions::default() };
    for _ in 0..2 {
        let ran = open.vacuum(&options, &mut |_| {}, &mut |_| true);
        ran.map_err(|error| format!("a vacuum fails: {error}"))?;
    }
    Ok(())
}

/// The old index can be asked at the beginning of a rebuild, and not to its end: what it has said of damaged chunks is
/// kept, and of containers that it was not asked about nothing counts as known.
///
/// # Errors
/// What does not hold, in words.
pub fn cut_off() -> Result<(), String> {
    let (mut rig, _) = build(Case { closed: true, rebuilt: true })?;
    let words = |error: gdd_engine::error::Error| error.to_string();
    let mut first = None;
    rig.index
        .for_each_chunk(&mut |hash, _| {
            first.get_or_insert(hash);
            Ok(())
        })
        .map_err(words)?;
    let bad = first.ok_or("there is no chunk")?;
    let checked = rig.index.containers().map_err(words)?;
    let checked = checked.iter().map(|(id, _)| (*id, gdd_engine::index::CheckedRow { unix: 7, bad: 0 }));
    let batch = Batch {
        suspects: vec![bad],
        checked: checked.collect(),
        meta: vec![suspects::mark(true)],
        ..Batch::default()
    };
    let containers = batch.checked.len();
    rig.index.commit(batch).map_err(words)?;
    rig.index = Arc::new(rig.index.crash_image()); // Which begins to count anew.
    rig.index.fail_locate(1);
    let rebuilt = rig.rebuild(5, false).map_err(words)?;
    let kept = rig.index.suspects().map_err(words)?;
    let marked = rig.index.meta(MetaKey::Unchecked).map_err(words)?.is_some_and(|mark| !mark.is_empty());
    let known = rig.index.checked().map_err(words)?.len();
    if kept != [bad] || !marked || known >= containers || rebuilt.containers_unchecked == 0 {
        return Err(format!("{kept:?}, marked {marked}, {known} of {containers} checked, {rebuilt:?}"));
    }
    Ok(())
}
