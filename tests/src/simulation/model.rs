//! The oracle: what was acknowledged, what is in doubt, and data that repeats itself enough to be deduplicated.

use std::collections::BTreeMap;

use gdd_uring::sim::Rng;

/// A stream in doubt.
#[derive(Clone, Debug)]
pub struct Doubt {
    /// Its name.
    pub name: String,
    /// What it was before.
    pub before: Option<Vec<u8>>,
    /// What it was to become.
    pub after: Option<Vec<u8>>,
    /// If it was to be kept from its start on: so many bytes of it are at least.
    pub least: Option<usize>,
}

/// Bytes of a stream that has many of its like: its record lies at the same place of its batch as theirs, and has the
/// same lengths, so only what a record says of itself tells them apart.
const TWIN_LEN: usize = 48;

/// Disks whose versions are stored, and bytes of one at first, at most.
const DISKS: usize = 2;
const DISK_LEN: usize = 30_000;

/// Bytes that nothing compresses.
pub(super) fn noise(random: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| random.bits().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

/// See the module.
#[derive(Debug)]
pub struct Model {
    streams: BTreeMap<String, Vec<u8>>,
    /// Streams being stored (what they will be) or removed (nothing) when last heard of.
    doubts: BTreeMap<String, Option<Vec<u8>>>,
    /// Of those that were to be kept, what is at least.
    kept: BTreeMap<String, usize>,
    blocks: Vec<Vec<u8>>,
    /// One stream in so many is not a twin, or one in so many is.
    twins: (bool, u64),
    /// Most streams are versions of few disks: what each was last, if streams are.
    disks: Option<[Vec<u8>; DISKS]>,
    named: u64,
}

impl Model {
    /// Nothing stored yet.
    #[must_use]
    pub fn new(random: &mut Rng, versions: bool) -> Self {
        let mut blocks: Vec<Vec<u8>> =
            [3000, 9000, 20_000].into_iter().map(|len| noise(random, len)).collect();
        blocks.push(vec![0; 30_000]);
        blocks.push((0..1200_u32).flat_map(|line| format!("line {}\n", line / 3).into_bytes()).collect());
        let twins = (random.below(4) == 0, 4 + random.below(5));
        Self {
            streams: BTreeMap::new(),
            doubts: BTreeMap::new(),
            kept: BTreeMap::new(),
            blocks,
            twins,
            disks: versions.then(Default::default),
            named: 0,
        }
    }

    /// A new name, and a stream of old blocks and new bytes for it.
    pub fn invent(&mut self, random: &mut Rng) -> (String, Vec<u8>) {
        self.named += 1;
        if self.disks.is_some() && random.below(4) > 0 {
            return self.version(random);
        }
        let (most, one_in) = self.twins;
        if (random.below(one_in) == 0) != most {
            return (format!("twin-{}", self.named), noise(random, TWIN_LEN));
        }
        let mut bytes = Vec::new();
        for _ in 0..random.below(4) {
            if random.coin() {
                let block = &self.blocks[random.index(self.blocks.len())];
                bytes.extend_from_slice(block);
            } else {
                let len = random.index(12_000);
                let fresh = noise(random, len);
                if len > 2000 && self.blocks.len() < 12 {
                    self.blocks.push(fresh.clone());
                }
                bytes.extend(fresh);
            }
        }
        (format!("stream-{}", self.named), bytes)
    }

    /// The next version of a disk: written to in place, and at times cut off, grown or moved.
    fn version(&mut self, random: &mut Rng) -> (String, Vec<u8>) {
        let disk = random.index(DISKS);
        let name = format!("disk{disk}-{}", self.named);
        let Some(disks) = &mut self.disks else { return (name, Vec::new()) };
        let bytes = &mut disks[disk];
        if bytes.is_empty() || random.below(16) == 0 {
            let len = random.index(DISK_LEN);
            *bytes = noise(random, len);
            bytes.resize(len + random.index(DISK_LEN), 0);
        }
        for _ in 0..random.below(5) {
            let (at, len) = (random.index(bytes.len() + 1), random.index(400));
            let fresh = noise(random, len);
            let end = bytes.len().min(at + len);
            match random.below(16) {
                0 => drop(bytes.splice(at..at, fresh)),
                1 => drop(bytes.drain(at..end)),
                2 => bytes.extend(fresh),
                _ => bytes[at..end].copy_from_slice(&fresh[..end - at]),
            }
        }
        (name, bytes.clone())
    }

    /// A new name for what is a version of the same as the stream `name`, in a world that has versions.
    pub fn next_of(&mut self, name: &str) -> Option<String> {
        self.named += 1;
        let (disk, _) = name.split_once('-').filter(|_| self.disks.is_some())?;
        Some(format!("{disk}-{}", self.named))
    }

    /// Whether most streams are twins: they are small, so a run has time for more.
    #[must_use]
    pub fn twins_most(&self) -> bool {
        self.twins.0
    }

    /// A stream that is stored.
    pub fn any(&self, random: &mut Rng) -> Option<String> {
        let count = self.streams.len();
        (count > 0).then(|| self.streams.keys().nth(random.index(count)).cloned()).flatten()
    }

    /// Length of a stored stream.
    #[must_use]
    pub fn len(&self, name: &str) -> u64 {
        self.streams.get(name).map_or(0, |bytes| bytes.len() as u64)
    }

    /// The store was asked to make `name` what is given; it has not answered.
    pub fn doubt(&mut self, name: &str, after: Option<Vec<u8>>) {
        self.doubts.insert(name.to_owned(), after);
    }

    /// The store has answered for the first `least` bytes of a stream in doubt.
    pub fn keep(&mut self, name: &str, least: usize) {
        self.kept.insert(name.to_owned(), least);
    }

    /// The store answered.
    pub fn acknowledge(&mut self, name: &str, bytes: Option<Vec<u8>>) {
        self.doubts.remove(name);
        self.kept.remove(name);
        match bytes {
            Some(bytes) => drop(self.streams.insert(name.to_owned(), bytes)),
            None => drop(self.streams.remove(name)),
        }
    }

    /// Streams in doubt.
    #[must_use]
    pub fn doubts(&self) -> Vec<Doubt> {
        let before = |name: &String| self.streams.get(name).cloned();
        let doubt = |(name, after): (&String, &Option<Vec<u8>>)| Doubt {
            name: name.clone(),
            before: before(name),
            after: after.clone(),
            least: self.kept.get(name).copied(),
        };
        self.doubts.iter().map(doubt).collect()
    }

    /// What must come back.
    #[must_use]
    pub fn streams(&self) -> Vec<(String, Vec<u8>)> {
        let sure = self.streams.iter().filter(|(name, _)| !self.doubts.contains_key(*name));
        sure.map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
    }
}
