//! Proof that the simulator sees: a toy store with one planted error loses or invents data within 1000 seeds, and the
//! same store without it survives 10,000.
//!
//! The toy keeps one block for each key, and an index file that is replaced whole: write data, sync, write the new
//! index, sync, rename, sync the directory, acknowledge.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use gdd_uring::buffer::{ALIGN, IoBuf};
use gdd_uring::io::{Done, FileId, Io, IoSource, Op, Open, Tag, Wait, datasync, read_at, run, write_at};
use gdd_uring::sim::{Faults, Rng, SimDisk};

const DIR: &str = "/store";
const SLOTS: u64 = 64;
const BATCHES: u64 = 10;
/// Where data blocks have their key: a data block that a disk puts in place of the index must not be taken for one.
const INDEX_MAGIC: u64 = u64::from_le_bytes(*b"toyindex");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    AckBeforeSync,
    SyncOverlapsWrites,
    IndexBeforeData,
    SkipSyncDir,
    RetryFailedSync,
    IgnoreWriteResult,
    NoSelfLocation,
    NoChecksum,
}

const BUGS: [Bug; 8] = [
    Bug::AckBeforeSync,
    Bug::SyncOverlapsWrites,
    Bug::IndexBeforeData,
    Bug::SkipSyncDir,
    Bug::RetryFailedSync,
    Bug::IgnoreWriteResult,
    Bug::NoSelfLocation,
    Bug::NoChecksum,
];

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Checksum over all but the first word, in which it is kept.
fn checksum(block: &[u8]) -> u64 {
    let words = block[8..].chunks_exact(8).map(|word| number(word, 0));
    words.fold(0x51ed_270b, |sum, word| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
}

fn seal(block: &mut [u8]) {
    let sum = checksum(block);
    block[..8].copy_from_slice(&sum.to_le_bytes());
}

/// Checksum, key, slot, value.
fn block_of(key: u64, slot: u64) -> IoBuf {
    let mut block = IoBuf::zeroed(ALIGN);
    block[8..16].copy_from_slice(&key.to_le_bytes());
    block[16..24].copy_from_slice(&slot.to_le_bytes());
    let mut rng = Rng::new(key);
    for word in block[24..].chunks_exact_mut(8) {
        word.copy_from_slice(&rng.bits().to_le_bytes());
    }
    seal(&mut block);
    block
}

struct Toy {
    io: Box<dyn Io>,
    data: FileId,
    keys: Vec<u64>,
    bug: Option<Bug>,
}

impl Toy {
    fn create(disk: &SimDisk, bug: Option<Bug>) -> io::Result<Self> {
        let mut io = disk.source().open()?;
        io.create_dir(Path::new(DIR))?;
        io.sync_dir(Path::new("/"))?;
        let data = io.open(&Path::new(DIR).join("data"), Open::Create)?;
        run(io.as_mut(), Op::Allocate { file: data, len: SLOTS * ALIGN as u64 })?;
        io.sync_all(data)?;
        io.sync_dir(Path::new(DIR))?;
        Ok(Self { io, data, keys: Vec::new(), bug })
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Store keys. They are acknowledged when this returns.
    fn commit(&mut self, keys: &[u64]) -> io::Result<()> {
        for &key in keys {
            let slot = self.keys.len() as u64;
            self.keys.push(key);
            let op = Op::Write { file: self.data, offset: slot * ALIGN as u64, buffer: block_of(key, slot) };
            self.io.submit(Tag(key), op).expect("a batch fits a door");
        }
        if self.has(Bug::SyncOverlapsWrites) {
            self.io.submit(Tag(0), Op::Datasync { file: self.data }).expect("a batch fits a door");
        }
        self.drain()?;
        if self.has(Bug::IndexBeforeData) {
            self.write_index()?;
            return self.sync(self.data);
        }
        if !self.has(Bug::AckBeforeSync) && !self.has(Bug::SyncOverlapsWrites) {
            self.sync(self.data)?;
        }
        self.write_index()
    }

    fn drain(&mut self) -> io::Result<()> {
        let mut done: Vec<Done> = Vec::new();
        while self.io.in_flight() > 0 {
            self.io.poll(&mut done, Wait::For(std::time::Duration::from_secs(1)))?;
        }
        for one in done {
            if !self.has(Bug::IgnoreWriteResult) {
                one.result?;
            }
        }
        Ok(())
    }

    fn sync(&mut self, file: FileId) -> io::Result<()> {
        match datasync(self.io.as_mut(), file) {
            Err(_) if self.has(Bug::RetryFailedSync) => datasync(self.io.as_mut(), file),
            other => other,
        }
    }

    fn write_index(&mut self) -> io::Result<()> {
        let (target, temporary) = (Path::new(DIR).join("index"), Path::new(DIR).join("index.new"));
        let mut block = IoBuf::zeroed(ALIGN);
        block[8..16].copy_from_slice(&INDEX_MAGIC.to_le_bytes());
        block[16..24].copy_from_slice(&(self.keys.len() as u64).to_le_bytes());
        for (place, key) in block[24..].chunks_exact_mut(8).zip(&self.keys) {
            place.copy_from_slice(&key.to_le_bytes());
        }
        seal(&mut block);
        let file = self.io.open(&temporary, Open::Create)?;
        write_at(self.io.as_mut(), file, 0, block)?;
        self.sync(file)?;
        self.io.close(file);
        self.io.rename(&temporary, &target)?;
        if self.has(Bug::SkipSyncDir) { Ok(()) } else { self.io.sync_dir(Path::new(DIR)) }
    }
}

/// Read everything back: the block of each key, or what is wrong with it. Fails when the index itself is damaged.
fn recover(disk: &SimDisk, bug: Option<Bug>) -> Result<BTreeMap<u64, Result<IoBuf, String>>, String> {
    let name = |what: &str| format!("{DIR}/{what}");
    let mut io = disk.source().open().map_err(|e| e.to_string())?;
    let file = match io.open(Path::new(&name("index")), Open::Read) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        other => other.map_err(|e| format!("index: {e}"))?,
    };
    let index = read_at(io.as_mut(), file, 0, ALIGN).map_err(|e| format!("index: {e}"))?;
    if index.len() != ALIGN || checksum(&index) != number(&index, 0) || number(&index, 8) != INDEX_MAGIC {
        return Err("index: not the index".to_owned());
    }
    let data = io.open(Path::new(&name("data")), Open::Read).map_err(|e| format!("data: {e}"))?;
    let mut found = BTreeMap::new();
    for slot in 0..number(&index, 16) {
        let key = number(&index, 24 + 8 * usize::try_from(slot).unwrap());
        let block = read_at(io.as_mut(), data, slot * ALIGN as u64, ALIGN).map_err(|e| e.to_string());
        found.insert(key, block.and_then(|block| checked(block, key, slot, bug)));
    }
    Ok(found)
}

fn checked(block: IoBuf, key: u64, slot: u64, bug: Option<Bug>) -> Result<IoBuf, String> {
    let here = (number(&block, 8), number(&block, 16)) == (key, slot) || bug == Some(Bug::NoSelfLocation);
    let sound = checksum(&block) == number(&block, 0) || bug == Some(Bug::NoChecksum);
    if here && sound { Ok(block) } else { Err(format!("slot {slot} does not hold key {key}")) }
}

/// Nothing acknowledged is lost, and nothing else comes back than what was stored; damage is named where there is some.
fn judge(disk: &SimDisk, bug: Option<Bug>, history: &History) -> Result<(), String> {
    let History { acked, tried } = history;
    let may_rot = !disk.damaged().is_empty();
    let found = match recover(disk, bug) {
        Err(_) if may_rot => return Ok(()),
        other => other?,
    };
    if let Some(lost) = acked.iter().find(|key| !found.contains_key(key)) {
        return Err(format!("key {lost} was acknowledged and is lost"));
    }
    for (key, block) in &found {
        let slot =
            tried.iter().position(|tried| tried == key).ok_or(format!("key {key} was never stored"))?;
        match block {
            Ok(block) if block[8..] != block_of(*key, slot as u64)[8..] => {
                return Err(format!("key {key} has wrong bytes"));
            }
            Err(damage) if !may_rot => return Err(format!("with no damage at rest: {damage}")),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

#[derive(Default)]
struct History {
    /// Keys that must be there.
    acked: BTreeSet<u64>,
    /// Keys that may be there, by slot.
    tried: Vec<u64>,
}

/// One life of the toy: run, perhaps a power cut, recovery, verdict.
fn live(seed: u64, bug: Option<Bug>) -> Result<(), String> {
    let mut rng = Rng::new(seed ^ 0x0063_616e_6172_7921);
    let faults = match rng.below(4) {
        0 => Faults::default(),
        1 => Faults {
            lost_write: 15_000,
            misdirected_write: 30_000,
            bit_flip: 15_000,
            latent_error: 15_000,
            ..Faults::default()
        },
        _ => Faults::swarm(seed),
    };
    let disk = SimDisk::with_faults(seed, faults);
    if rng.below(4) > 0 {
        disk.crash_at(rng.below(120));
    }
    let mut history = History::default();
    if let Ok(mut toy) = Toy::create(&disk, bug) {
        for batch in 0..BATCHES {
            let keys: Vec<u64> = (1..=1 + rng.below(4)).map(|key| seed * 1000 + batch * 10 + key).collect();
            history.tried.extend(&keys);
            if toy.commit(&keys).is_err() {
                break;
            }
            history.acked.extend(&keys);
        }
    }
    for image in [disk.crash(seed), disk.crash(!seed)] {
        judge(&image, bug, &history)?;
        image.heal();
        judge(&image, bug, &history)?;
    }
    Ok(())
}

#[test]
fn each_planted_bug_is_caught() {
    for bug in BUGS {
        let caught = (0..1000).find_map(|seed| live(seed, Some(bug)).err().map(|why| (seed, why)));
        let (seed, why) = caught.unwrap_or_else(|| panic!("the simulator is blind to {bug:?}"));
        println!("{bug:?}: seed {seed}: {why}");
    }
}

#[test]
fn the_sound_toy_survives() {
    for seed in 0..10_000 {
        live(seed, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}
