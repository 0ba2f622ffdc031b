//! Blocks as bacula-sd makes them: records of one session each, cut at block ends, with whatever checksum.

use gdd_sd::block::{Kind, SessionId};
use gdd_sd::bytes::{put_be32, put_be64};

/// A small random generator (SplitMix64), so that a failing seed is all that is needed.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(len).collect()
    }

    fn size(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).expect("small")
    }
}

/// Fills one session's blocks.
pub struct Job {
    pub kind: Kind,
    pub session: SessionId,
    pub block_size: usize,
    /// File content in order, as it must arrive in the store.
    pub payload: Vec<u8>,
    /// Blocks that are full.
    pub blocks: Vec<Vec<u8>>,
    current: Vec<u8>,
    number: u32,
    file_index: i32,
    random: Random,
}

impl Job {
    pub fn new(kind: Kind, id: u32, block_size: usize, seed: u64) -> Self {
        let session = SessionId { id, time: 1_700_000_000 };
        let (number, random) = (u32::try_from(seed % 1000).expect("small"), Random(seed));
        let (payload, blocks, current) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind, session, block_size, payload, blocks, current, number, file_index: 0, random }
    }

    /// A whole job: labels at both ends, and files between.
    pub fn run(mut self, file_count: usize, size_limit: usize) -> Self {
        self.sos();
        for _ in 0..file_count {
            self.file(size_limit);
        }
        self.eos();
        self
    }

    pub fn sos(&mut self) {
        let mut label = b"Bacula 1.0 immortal\n\0".to_vec();
        put_be32(&mut label, 11);
        put_be32(&mut label, 7);
        put_be64(&mut label, 1);
        put_be64(&mut label, 0);
        label.extend_from_slice(b"P\0Backup\0name\0client\0");
        label.extend_from_slice(format!("job.{}\0", self.session.id).as_bytes());
        label.extend_from_slice(b"set\0\0\0\0B\0\0\0F\0");
        self.record(-4, 7, &label);
    }

    pub fn eos(&mut self) {
        // A session label is never split.
        let label = self.random.bytes(120);
        if self.current.len() + 200 > self.block_size {
            self.flush();
        }
        self.record(-5, 7, &label);
        self.flush();
    }

    /// A file: attributes, content of some kind in records of some size, digest.
    pub fn file(&mut self, size_limit: usize) {
        self.file_index += 1;
        let index = self.file_index;
        let attributes = self.random.bytes(90);
        self.record(index, 1, &attributes);
        let plain = [2, 4, 6, 7, 11, 20, 27, 29, 30, 2 | 1 << 26, 2 | 1 << 30];
        let stream = plain[self.random.size(plain.len())];
        let size = self.random.size(size_limit);
        let mut left = size;
        while left > 0 {
            let len = left.min(1 + self.random.size(65_536));
            let content = self.random.bytes(len);
            let sparse = matches!(stream & 0x7FF, 6 | 7 | 30) || stream & (1 << 26) != 0;
            let address = if sparse { (size - left).to_le_bytes().to_vec() } else { Vec::new() };
            self.payload.extend_from_slice(&content);
            self.record(index, stream, &[address, content].concat());
            left -= len;
        }
        if self.random.below(4) == 0 {
            let extended = self.random.bytes(40);
            self.record(index, 1004, &extended);
        }
        let digest = self.random.bytes(16);
        self.record(index, 3, &digest);
    }

    /// A record, cut as Bacula cuts it.
    pub fn record(&mut self, file_index: i32, stream: i32, data: &[u8]) {
        let head = self.kind.record_header_size();
        let (mut stream, mut data) = (stream, data);
        loop {
            if self.current.len() + head > self.block_size {
                self.flush();
            }
            if self.current.is_empty() {
                self.current.resize(self.kind.header_size(), 0);
            }
            if self.kind == Kind::Bb01 {
                put_be32(&mut self.current, self.session.id);
                put_be32(&mut self.current, self.session.time);
            }
            put_be32(&mut self.current, file_index.cast_unsigned());
            put_be32(&mut self.current, stream.cast_unsigned());
            put_be32(&mut self.current, u32::try_from(data.len()).expect("small"));
            let here = data.len().min(self.block_size - self.current.len());
            self.current.extend_from_slice(&data[..here]);
            if here == data.len() {
                return;
            }
            data = &data[here..];
            stream = -stream.abs();
            self.flush();
        }
    }

    /// Writes the block out, however full it is.
    pub fn flush(&mut self) {
        if self.current.is_empty() {
            return;
        }
        let mut block = std::mem::take(&mut self.current);
        self.number += 1;
        let checksum = self.random.next();
        let len = u32::try_from(block.len()).expect("small");
        let mut head = Vec::new();
        let first = if self.kind == Kind::Bb03 { 1 } else { (checksum >> 32) as u32 };
        put_be32(&mut head, first);
        put_be32(&mut head, len);
        put_be32(&mut head, self.number);
        head.extend_from_slice(match self.kind {
            Kind::Bb01 => b"BB01",
            Kind::Bb02 => b"BB02",
            Kind::Bb03 => b"BB03",
        });
        if self.kind != Kind::Bb01 {
            put_be32(&mut head, self.session.id);
            put_be32(&mut head, self.session.time);
        }
        if self.kind == Kind::Bb03 {
            put_be64(&mut head, checksum);
        }
        block[..head.len()].copy_from_slice(&head);
        self.blocks.push(block);
    }
}

/// A volume label's block.
pub fn label(kind: Kind, used: bool) -> Vec<u8> {
    let mut job = Job::new(kind, 0, 64_512, 1);
    job.record(
        if used { -2 } else { -1 },
        0,
        if used { b"Bacula 1.0 S3\n\0used" } else { b"Bacula 1.0 S3\n\0" },
    );
    job.flush();
    job.blocks.remove(0)
}

/// Blocks of several jobs, mixed as concurrent jobs mix them; each job's order is kept.
pub fn interleave(jobs: &[&Job], seed: u64) -> Vec<Vec<u8>> {
    let (mut random, mut at, mut mixed) = (Random(seed), vec![0; jobs.len()], Vec::new());
    loop {
        let open: Vec<_> = (0..jobs.len()).filter(|job| at[*job] < jobs[*job].blocks.len()).collect();
        let Some(job) = open.get(random.size(open.len().max(1))) else { return mixed };
        mixed.push(jobs[*job].blocks[at[*job]].clone());
        at[*job] += 1;
    }
}
