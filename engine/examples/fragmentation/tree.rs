//! A tree of files that changes like one that is backed up every night. All of it follows from a seed.
//!
//! File sizes are 4 KiB to 16 MiB, most of them around 256 KiB. One directory in five is busy: in each generation one
//! file in ten of these changes, and one in eighty of the others, 3 % of all. Of those that change, 60 % are edited in
//! one to four places (up to 16 KiB each, half of them moving what follows), 30 % are replaced, and 10 % grow. Besides,
//! one file in 200 is new, and one in 200 goes.

const FILES_PER_DIRECTORY: u64 = 50;
const HEADER: usize = 512;

/// Pseudo-random numbers (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.bits() >> 11) % limit.max(1)
    }

    /// Bytes that nothing compresses, appended.
    fn noise(&mut self, bytes: &mut Vec<u8>, len: usize) {
        let end = bytes.len() + len;
        while bytes.len() < end {
            bytes.extend_from_slice(&self.bits().to_le_bytes());
        }
        bytes.truncate(end);
    }
}

/// Some bytes of a file that are not what they were.
#[derive(Clone, Copy)]
struct Edit {
    at: usize,
    len: usize,
    seed: u64,
    /// What was there moves on.
    inserted: bool,
}

struct File {
    /// Directory and name: files are backed up in this order.
    path: (u64, u64),
    seed: u64,
    size: usize,
    edits: Vec<Edit>,
}

impl File {
    fn new(random: &mut Random, path: (u64, u64)) -> Self {
        let thirds: u64 = (0..3).map(|_| random.below(4096)).sum();
        let (doublings, part) = (thirds / 1024, thirds % 1024);
        let size = small((4096 + 4 * part) << doublings);
        Self { path, seed: random.bits(), size, edits: Vec::new() }
    }

    /// Its header and contents, appended.
    fn write(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.extend_from_slice(format!("{:08}/{:08} {}", self.path.0, self.path.1, self.seed).as_bytes());
        bytes.resize(start + HEADER, 0);
        let content = bytes.len();
        Random::new(self.seed).noise(bytes, self.size);
        let mut part = Vec::new();
        for edit in &self.edits {
            part.clear();
            Random::new(edit.seed).noise(&mut part, edit.len);
            let at = content + edit.at.min(bytes.len() - content);
            let end = if edit.inserted { at } else { (at + edit.len).min(bytes.len()) };
            bytes.splice(at..end, part.iter().copied());
        }
    }

    fn change(&mut self, random: &mut Random) {
        match random.below(10) {
            0..=5 => {
                for _ in 0..1 + random.below(4) {
                    let (at, len) =
                        (small(random.below(self.size as u64)), 100 + small(random.below(16_000)));
                    let (seed, inserted) = (random.bits(), random.below(2) == 0);
                    self.edits.push(Edit { at, len, seed, inserted });
                }
            }
            6..=8 => *self = Self::new(random, self.path),
            _ => {
                let len = self.size / 10 + 1;
                self.edits.push(Edit { at: usize::MAX, len, seed: random.bits(), inserted: true });
            }
        }
    }
}

fn small(number: u64) -> usize {
    usize::try_from(number).expect("files are small")
}

/// See the module.
pub struct Tree {
    files: Vec<File>,
    directories: u64,
    named: u64,
}

impl Tree {
    /// The first generation, of about `bytes` bytes.
    pub fn new(bytes: u64) -> Self {
        let (mut random, mut files, mut total) = (Random::new(1), Vec::new(), 0);
        while total < bytes {
            let number = files.len() as u64;
            let file = File::new(&mut random, (number / FILES_PER_DIRECTORY, number));
            total += (file.size + HEADER) as u64;
            files.push(file);
        }
        let named = files.len() as u64;
        Self { files, directories: named.div_ceil(FILES_PER_DIRECTORY), named }
    }

    /// What happens until backup number `generation`.
    pub fn change(&mut self, generation: u64) {
        let mut random = Random::new(1000 + generation);
        for file in &mut self.files {
            let one_in = if file.path.0 % 5 == 0 { 10 } else { 80 };
            if random.below(one_in) == 0 {
                file.change(&mut random);
            }
        }
        self.files.retain(|_| random.below(200) > 0);
        for _ in 0..self.files.len() / 200 {
            let path = (random.below(self.directories), self.named);
            self.named += 1;
            self.files.push(File::new(&mut random, path));
        }
        self.files.sort_by_key(|file| file.path);
    }

    /// All of it in the order of a backup, a file at a time.
    pub fn each<E>(&self, take: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut bytes = Vec::new();
        self.files.iter().try_for_each(|file| {
            bytes.clear();
            file.write(&mut bytes);
            take(&bytes)
        })
    }
}
