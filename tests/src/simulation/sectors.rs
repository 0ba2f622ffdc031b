//! Every sector of a small store, one after another, cannot be read any more: the store opens all the same, and so does
//! its index made anew; what is lost is what lay there.

use std::path::Path;
use std::sync::Arc;

use gdd_engine::format::superblock::Settings;
use gdd_uring::sim::Rng;

use super::model::noise;
use super::rig::{ROOT, Rig, Shape};

/// Bytes of a sector.
pub(super) const SECTOR: u64 = 512;
/// Streams, at most, that a sector in a container may cost: one ends in it, another begins.
const STREAMS_HIT_MAX: usize = 2;

/// How the last life of the store ended, and what has become of its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// It was closed; else the power went while a stream was being stored.
    pub closed: bool,
    /// The index was lost, and is made anew.
    pub rebuilt: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sectors that were tried.
    pub sectors: u64,
    /// Those of them that cost a stream.
    pub losses: u64,
    /// Those of them without which the store does not open, and says so: of the file that counts its openings.
    pub refusals: u64,
}

pub(super) const CALM: Shape = Shape { workers: 1, steps_seed: 1, cut_at_commit: u64::MAX };

pub(super) type Streams = Vec<(String, Vec<u8>)>;

/// A store with streams, two of which are in parts alike.
pub(super) fn build(case: Case) -> Result<(Rig, Streams), String> {
    let settings = Settings {
        chunk_size_min: 256,
        chunk_size_avg: 1024,
        chunk_size_max: 4096,
        container_size: 64 << 10,
        ..Settings::default()
    };
    let rig = Rig::create(5, &settings)?;
    let mut random = Rng::new(5);
    let mut streams: Streams = [40_000, 9_000, 700, 30_000]
        .into_iter()
        .zip(0..)
        .map(|(len, number)| (format!("stream-{number}"), noise(&mut random, len)))
        .collect();
    let like = [&streams[0].1[..12_000], &noise(&mut random, 5_000)].concat();
    streams.push(("like-0".to_owned(), like));
    let open = rig.open(CALM).map_err(|error| error.to_string())?;
    for (name, bytes) in &streams {
        open.put(name, bytes, 10_000).map_err(|error| error.to_string())?;
    }
    if case.closed {
        open.close().map_err(|error| error.to_string())?;
        return Ok((rig, streams));
    }
    let mut half = open.begin_put("half").map_err(|error| error.to_string())?;
    half.write(&noise(&mut random, 20_000)).map_err(|error| error.to_string())?;
    open.turn(400);
    drop((half, open));
    Ok((rig.crash(5), streams))
}

/// Try every sector.
///
/// # Errors
/// What does not hold, in words.
pub fn run(case: Case) -> Result<Tally, String> {
    let (rig, streams) = build(case)?;
    let mut tally = Tally::default();
    for file in rig.disk.files() {
        for offset in (0..file.size).step_by(usize::try_from(SECTOR).expect("a sector is small")) {
            let copy = Rig { disk: rig.disk.snapshot(5), index: Arc::new(rig.index.crash_image()), ..rig };
            copy.disk.latent_error(&file.path, offset).map_err(|error| error.to_string())?;
            tally.sectors += 1;
            let tried = attempt(copy, case, &streams, &file.path, &mut tally);
            tried.map_err(|what| format!("{case:?}, {} at {offset}: {what}", file.path.display()))?;
        }
    }
    Ok(tally)
}

fn attempt(
    mut rig: Rig,
    case: Case,
    streams: &Streams,
    path: &Path,
    tally: &mut Tally,
) -> Result<(), String> {
    if case.rebuilt {
        let rebuilt = rig.rebuild(5, true).map_err(|error| format!("a rebuild fails: {error}"))?;
        if rebuilt.streams < streams.len() as u64 || !rebuilt.streams_unreadable.is_empty() {
            return Err(format!("a rebuild has lost a stream: {rebuilt:?}"));
        }
    }
    let open = match rig.open(CALM) {
        Ok(open) => open,
        Err(_) if path.ends_with("epoch") && !case.rebuilt => {
            tally.refusals += 1;
            return Ok(());
        }
        Err(error) => return Err(format!("it does not open: {error}")),
    };
    let mut lost = Vec::new();
    for (name, bytes) in streams {
        match open.read(name) {
            Ok(Some(found)) if found == *bytes => {}
            Ok(found) => return Err(format!("{name} has {:?} bytes", found.map(|found| found.len()))),
            Err(_) => lost.push(name.clone()),
        }
    }
    let in_container = path.starts_with(Path::new(ROOT).join("containers"));
    if lost.len() > if in_container { STREAMS_HIT_MAX } else { 0 } {
        return Err(format!("{lost:?} cannot be read"));
    }
    tally.losses += u64::from(!lost.is_empty());
    open.put("new", &streams[1].1, 3_000).map_err(|error| format!("a put fails: {error}"))?;
    // What is new has the bytes of one of them, and may have given it back what it had lost.
    for (name, bytes) in streams.iter().filter(|(name, _)| lost.contains(name)).collect::<Vec<_>>() {
        match open.read(name) {
            Ok(Some(found)) if found == *bytes => lost.retain(|other| other != name),
            Ok(found) => return Err(format!("{name} has {:?} bytes now", found.map(|found| found.len()))),
            Err(_) => {}
        }
    }
    open.close().map_err(|error| format!("it does not close: {error}"))?;
    let report = rig.fsck().map_err(|error| format!("a check fails: {error}"))?;
    let named = |name: &String| report.streams_affected.iter().any(|stream| stream.name == *name);
    match lost.iter().find(|name| !named(name)) {
        Some(name) => Err(format!("{name} cannot be read, and a check does not name it")),
        None => Ok(()),
    }
}
