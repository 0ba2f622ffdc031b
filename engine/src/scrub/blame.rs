//! Whom damage concerns: the streams that need chunks which cannot be given back, where in them, and who may bring
//! those chunks again.
//!
//! Those are the suspect ones, those in containers that are missing, and those of which the index knows no place: when
//! index and container were lost together nobody but a recipe says that there was such a chunk.

use std::collections::{HashMap, HashSet};

use gdd_uring::io::{Io, Open};

use crate::container::records::record_end;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::format::recipe::Owner;
use crate::format::recipe_block::RecipeEntry;
use crate::ids::{ChunkHash, ContainerId};
use crate::index::{ChunkEntry, RecipeRow, RecipeState, Status};
use crate::progress::Progress;
use crate::recipe::RecipeReader;
use crate::visits::Purpose;

/// Stretches that are listed of a stream.
const STRETCHES_MAX: usize = 1000;
/// Places of bad chunks that are listed of a stream.
const CHUNKS_MAX: usize = 1000;
/// Chunks that are looked up at once.
const LOOKUP_SIZE: usize = 1024;

/// Bytes of a stream that cannot be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Stretch {
    /// The first.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
}

/// A chunk that cannot be given back, and where a stream needs it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Lost {
    /// Which, in hex.
    pub chunk: String,
    /// The stream's first byte that it stands for.
    pub offset: u64,
    /// How many it stands for.
    pub bytes: u64,
    /// The container that should have it, in hex; none where the index knows of no place.
    pub container: Option<String>,
    /// Its record's offset in that container.
    pub at: Option<u32>,
}

/// A stream that needs such chunks.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Hit {
    /// Its name: of a volume's stream `sd/VOLUME/STREAM`, of a job's `net/DOMAIN/CLIENT/...`.
    pub stream: String,
    /// Who keeps it alive: `manual`, `volume` or `job`.
    pub owner: &'static str,
    /// What its versions have in common: names client, job and file set where Bacula's streams are concerned. Storing
    /// the next one brings the chunks again that have not changed since.
    pub lineage: String,
    /// When it was stored: seconds since 1970.
    pub stored_unix: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Of those, bytes that cannot be given back.
    pub bytes_bad: u64,
    /// Chunks of it that cannot, each counted as often as it occurs.
    pub chunks_bad: u64,
    /// Where they are, at most a thousand stretches.
    pub stretches: Vec<Stretch>,
    /// Stretches that are not listed.
    pub stretches_more: u64,
    /// Which they are, in the stream's order, at most a thousand places.
    pub chunks: Vec<Lost>,
    /// Its recipe cannot be read: nothing of it can be given back, and what it needs is not known.
    pub unreadable: Option<String>,
}

/// See the module. Fields are only ever added.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Blame {
    /// Chunks that cannot be given back.
    pub chunks: u64,
    /// Of those, chunks that no stream needs.
    pub chunks_unneeded: u64,
    /// The streams that are hit, by name.
    pub streams: Vec<Hit>,
}

/// What cannot be given back, and where it should be: container and offset of its record.
struct Lacking {
    all: HashSet<ChunkHash>,
    places: HashMap<ChunkHash, (ContainerId, u32)>,
    /// How long the files of containers are, of those that were asked about.
    lengths: HashMap<ContainerId, u64>,
    /// Scratch of [`Lacking::ask`].
    found: Vec<Option<ChunkEntry>>,
}

impl Lacking {
    fn of(core: &Core) -> Result<Self> {
        let all = core.suspects.list();
        let (mut places, mut found) = (HashMap::new(), Vec::new());
        let hashes: Vec<ChunkHash> = all.iter().copied().collect();
        for part in hashes.chunks(LOOKUP_SIZE) {
            core.index.locate(part, &mut found)?;
            let rows = part.iter().zip(&found);
            places.extend(rows.filter_map(|(hash, row)| row.map(|row| (*hash, (row.container, row.offset)))));
        }
        Ok(Self { all, places, lengths: HashMap::new(), found })
    }

    /// Find out which chunks of `entries` have no place, or one where there is no file, or behind its end.
    fn ask(&mut self, core: &Core, io: &mut dyn Io, entries: &[RecipeEntry]) -> Result<()> {
        let hashes: Vec<ChunkHash> = entries.iter().map(|entry| entry.hash).collect();
        for part in hashes.chunks(LOOKUP_SIZE) {
            let mut found = std::mem::take(&mut self.found);
            core.index.locate(part, &mut found)?;
            for (hash, row) in part.iter().zip(&found) {
                let is_there = match row {
                    Some(row) if row.status == Status::Live => {
                        self.has(core, io, row.container, record_end(&row.directory_entry(*hash)))?
                    }
                    _ => false,
                };
                if !is_there && self.all.insert(*hash) {
                    self.places.extend(row.map(|row| (*hash, (row.container, row.offset))));
                }
            }
            self.found = found;
        }
        Ok(())
    }

    /// Whether a container has a row, and a file with at least `end` bytes. One that is being filled grows.
    fn has(&mut self, core: &Core, io: &mut dyn Io, id: ContainerId, end: u64) -> Result<bool> {
        if self.lengths.get(&id).is_some_and(|length| *length >= end) {
            return Ok(true);
        }
        let length = match core.index.container(id)? {
            Some(_) => length_of(core, io, id)?,
            None => 0,
        };
        self.lengths.insert(id, length);
        Ok(length >= end)
    }
}

fn length_of(core: &Core, io: &mut dyn Io, id: ContainerId) -> Result<u64> {
    let path = core.paths.container(id);
    let length = io.open(&path, Open::Read).map_err(Error::io("open", &path)).and_then(|file| {
        let length = io.size(file).map_err(Error::io("read the length of", &path));
        io.close(file);
        length
    });
    match length {
        Err(error) if error.is_loss() => Ok(0),
        other => other,
    }
}

/// Look through all recipes for the chunks that cannot be given back, as far as that is known.
///
/// # Errors
/// The index or the disk failed. A recipe that is damaged in both copies is no error, but a hit.
pub fn blame(core: &Core, progress: &mut dyn FnMut(Progress)) -> Result<Blame> {
    let mut lacking = Lacking::of(core)?;
    let mut io = core.open_io()?;
    let mut rows = core.index.recipes()?;
    rows.retain(|row| row.state == RecipeState::Live);
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    let total = rows.iter().map(|row| row.logical_bytes).sum();
    let (mut blame, mut needed, mut done) = (Blame::default(), HashSet::new(), 0);
    for row in rows {
        progress(Progress { stage: "blame", done, total: Some(total) });
        done += row.logical_bytes;
        // The vacuum of a store at work leaves what a stream needs that is there now where it is looked up.
        let _visit = core.visits.begin(Purpose::Reading);
        let now = core.index.recipe(&row.name)?;
        if now.is_none_or(|now| now.recipe != row.recipe || now.state != RecipeState::Live) {
            continue;
        }
        let mut hit = Hit {
            stream: row.name.clone(),
            owner: owner_name(row.owner),
            lineage: String::new(),
            stored_unix: row.created_unix,
            bytes: row.logical_bytes,
            bytes_bad: 0,
            chunks_bad: 0,
            stretches: Vec::new(),
            stretches_more: 0,
            chunks: Vec::new(),
            unreadable: None,
        };
        match look(core, io.as_mut(), &row, &mut lacking, &mut needed, &mut hit) {
            Ok(()) if hit.chunks_bad == 0 => {}
            Ok(()) => blame.streams.push(hit),
            Err(error) if error.is_loss() => {
                (hit.bytes_bad, hit.unreadable) = (row.logical_bytes, Some(error.to_string()));
                blame.streams.push(hit);
            }
            Err(error) => return Err(error),
        }
    }
    blame.chunks = lacking.all.len() as u64;
    blame.chunks_unneeded = (lacking.all.len() - needed.len()) as u64;
    Ok(blame)
}

fn look(
    core: &Core,
    io: &mut dyn Io,
    row: &RecipeRow,
    lacking: &mut Lacking,
    needed: &mut HashSet<ChunkHash>,
    hit: &mut Hit,
) -> Result<()> {
    let mut reader = RecipeReader::open(io, &core.paths.recipes(), row.recipe, core.store)?;
    hit.lineage.clone_from(&reader.header().lineage);
    let (mut entries, mut at) = (Vec::new(), 0);
    let read = loop {
        entries.clear();
        match reader.next_block(io, &mut entries) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
        if let Err(error) = lacking.ask(core, io, &entries) {
            break Err(error);
        }
        for entry in &entries {
            if lacking.all.contains(&entry.hash) {
                needed.insert(entry.hash);
                hit.add(entry, at, &lacking.places);
            }
            at += entry.bytes();
        }
    };
    reader.close(io);
    read
}

impl Hit {
    /// An entry at byte `offset` of the stream is lost.
    fn add(&mut self, entry: &RecipeEntry, offset: u64, places: &HashMap<ChunkHash, (ContainerId, u32)>) {
        let bytes = entry.bytes();
        self.bytes_bad += bytes;
        self.chunks_bad += u64::from(entry.repeat);
        match self.stretches.last_mut() {
            Some(last) if last.offset + last.bytes == offset => last.bytes += bytes,
            _ => {
                if self.stretches.len() < STRETCHES_MAX {
                    self.stretches.push(Stretch { offset, bytes });
                } else {
                    self.stretches_more += 1;
                }
            }
        }
        if self.chunks.len() < CHUNKS_MAX {
            let place = places.get(&entry.hash);
            self.chunks.push(Lost {
                chunk: entry.hash.to_string(),
                offset,
                bytes,
                container: place.map(|place| place.0.to_string()),
                at: place.map(|place| place.1),
            });
        }
    }
}

fn owner_name(owner: Owner) -> &'static str {
    match owner {
        Owner::Manual => "manual",
        Owner::Volume => "volume",
        Owner::Job => "job",
    }
}
