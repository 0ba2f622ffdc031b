//! A client that speaks the protocol by hand, and the daemon's side of it.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gdd_daemon::net::{Limits, NetService};
use gdd_engine::format::superblock::Settings;
use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;
use gdd_wire::message::{Entry, FromClient, FromDaemon, Receipt, RowBuffer, SegmentQuery, Totals};
use gdd_wire::segment::{Segment, Segmenter};
use gdd_wire::{Channel, Domain, Introduction, Key, KeyRing, WireError, connect};

const TIME_MAX: Duration = Duration::from_secs(60);

pub type Chunk = ([u8; 32], u32);

pub fn key(byte: u8) -> Key {
    Key::from_secret(&[byte; 32]).unwrap()
}

pub struct Site {
    folder: tempfile::TempDir,
    store: Option<Arc<Store>>,
    service: Option<NetService>,
}

impl Site {
    pub fn new(domain: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Store::init(&folder.path().join("store"), &Settings::default(), &Options::default()).unwrap();
        let mut site = Self { folder, store: None, service: None };
        site.restart(domain);
        site
    }

    pub fn restart(&mut self, domain: &str) {
        if let Some(service) = self.service.take() {
            assert!(service.stop(TIME_MAX), "it stops");
        }
        if let Some(store) = self.store.take() {
            Arc::into_inner(store).unwrap().close().unwrap();
        }
        let options = Options { workers: Some(2), memory_budget: 256 << 20, ..Options::default() };
        let store = Store::open(&self.folder.path().join("store"), Access::ReadWrite, &options).unwrap();
        let store = Arc::new(store);
        let domain = Domain { name: domain.to_owned(), current: key(1), previous: None };
        let ring = KeyRing::new(vec![domain]).unwrap();
        let limits = Limits {
            handshakes_per_address_max: 4,
            silence_max: Duration::from_secs(3),
            ..Limits::default()
        };
        let address = "127.0.0.1:0".parse().unwrap();
        self.service = Some(NetService::start(Arc::clone(&store), &[address], ring, limits).unwrap());
        self.store = Some(store);
    }

    pub fn service(&self) -> &NetService {
        self.service.as_ref().unwrap()
    }

    pub fn store(&self) -> &Arc<Store> {
        self.store.as_ref().unwrap()
    }

    pub fn address(&self) -> SocketAddr {
        self.service().addresses()[0]
    }

    pub fn streams(&self) -> usize {
        self.store().list().unwrap().len()
    }

    /// Wait until no session is left.
    pub fn settle(&self) {
        let start = Instant::now();
        while !self.service().sessions().is_empty() {
            assert!(start.elapsed() < TIME_MAX, "sessions end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub fn try_connect(site: &Site, key: &Key) -> Result<Channel<TcpStream>, WireError> {
    let stream = TcpStream::connect(site.address()).unwrap();
    let name = || "zoe".to_owned();
    let introduction = Introduction { client: name(), job: name(), program: name() };
    connect(stream, key, &introduction, None, TIME_MAX).map(|connected| connected.channel)
}

/// Bytes without repetition, from a seed.
pub fn data(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Chunks of 4 KiB: the client may cut as it likes.
pub fn chunks_of(bytes: &[u8]) -> Vec<Chunk> {
    let chunk = |part: &[u8]| (*blake3::hash(part).as_bytes(), u32::try_from(part.len()).unwrap());
    bytes.chunks(4 << 10).map(chunk).collect()
}

pub fn totals(chunks: &[Chunk]) -> Totals {
    let mut digest = blake3::Hasher::new();
    for (hash, len) in chunks {
        digest.update(hash).update(&len.to_le_bytes());
    }
    Totals {
        files: 1,
        bytes: chunks.iter().map(|chunk| u64::from(chunk.1)).sum(),
        chunks: chunks.len() as u64,
        files_digest: [3; 32],
        recipe_digest: *digest.finalize().as_bytes(),
    }
}

pub struct Done {
    pub stream: [u8; 16],
    pub receipt: Receipt,
    pub sent_chunks: usize,
    pub asked_chunks: usize,
}

pub struct Client {
    channel: Channel<TcpStream>,
}

impl Client {
    pub fn new(site: &Site, secret: u8) -> Self {
        Self { channel: try_connect(site, &key(secret)).unwrap() }
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.channel.writer.send(bytes, &[]).unwrap();
        self.channel.writer.flush().unwrap();
    }

    pub fn send(&mut self, message: &FromClient<'_>) {
        let mut head = Vec::new();
        let tail = message.encode(&mut head).unwrap();
        self.channel.writer.send(&head, tail).unwrap();
        self.channel.writer.flush().unwrap();
    }

    /// What `take` makes of the next message.
    pub fn receive<T>(&mut self, take: impl FnOnce(&FromDaemon<'_>) -> T) -> T {
        let bytes = self.channel.reader.receive().unwrap().expect("a message");
        take(&FromDaemon::decode(bytes).unwrap())
    }

    pub fn trouble(&mut self) -> String {
        self.receive(|message| match message {
            FromDaemon::Trouble(trouble) => trouble.id.to_owned(),
            other => unreachable!("no trouble: {other:?}"),
        })
    }

    pub fn begin(&mut self) -> [u8; 16] {
        self.send(&FromClient::Begin { client: "zoe-fd", job_name: "zoe", file_set: "all" });
        self.receive(|message| match message {
            FromDaemon::Begun { stream, .. } => *stream,
            other => unreachable!("not begun: {other:?}"),
        })
    }

    pub fn chunks(&mut self, number: u64, chunks: &[Chunk]) {
        let mut rows = RowBuffer::default();
        chunks.iter().for_each(|(hash, len)| rows.push(Entry { hash: *hash, len: *len }).unwrap());
        self.send(&FromClient::Chunks { number, entries: rows.rows().unwrap() });
    }

    pub fn wanted(&mut self, expected: u64) -> Vec<u16> {
        self.receive(|message| match message {
            FromDaemon::Wanted { number, wanted } if *number == expected => wanted.ones().collect(),
            other => unreachable!("not wanted: {other:?}"),
        })
    }

    pub fn chunk(&mut self, number: u64, index: u16, bytes: &[u8]) {
        self.send(&FromClient::Chunk { number, index, bytes });
    }

    /// Chunks by name, in one question for each 4096; how many were wanted.
    pub fn upload(&mut self, bytes: &[u8], chunks: &[Chunk]) -> usize {
        let by_hash: HashMap<_, _> = chunks_of(bytes).into_iter().zip(bytes.chunks(4 << 10)).collect();
        let mut sent = 0;
        for (number, part) in (1..).zip(chunks.chunks(4096)) {
            self.chunks(number, part);
            for row in self.wanted(number) {
                self.chunk(number, row, by_hash[&part[usize::from(row)]]);
                sent += 1;
            }
        }
        sent
    }

    /// All segments are asked first; the chunks of all unknown ones follow in few questions.
    pub fn backup(mut self, bytes: &[u8]) -> Done {
        let stream = self.begin();
        let chunks = chunks_of(bytes);
        let mut segmenter = Segmenter::default();
        let mut segments: Vec<Segment> =
            chunks.iter().filter_map(|(hash, len)| segmenter.push(hash, *len).unwrap()).collect();
        segments.extend(segmenter.finish());
        let mut rows = RowBuffer::default();
        for Segment { digest, count, length, .. } in &segments {
            let query = SegmentQuery { digest: *digest, chunk_count: *count, length: *length };
            rows.push(query).unwrap();
        }
        self.send(&FromClient::Segments { number: 77, segments: rows.rows().unwrap() });
        let unknown: Vec<Chunk> = self.receive(|message| match message {
            FromDaemon::SegmentsKnown { number: 77, known } => {
                let unknown = (0u16..).zip(&segments).filter(|(row, _)| !known.get(*row));
                let of = |segment: &Segment| {
                    let first = usize::try_from(segment.first).unwrap();
                    chunks[first..first + usize::from(segment.count)].to_vec()
                };
                unknown.flat_map(|(_, segment)| of(segment)).collect()
            }
            other => unreachable!("no answer about segments: {other:?}"),
        });
        let sent_chunks = self.upload(bytes, &unknown);
        self.send(&FromClient::Ping { number: 5 });
        self.receive(|message| assert_eq!(*message, FromDaemon::Pong { number: 5 }));
        let totals = totals(&chunks);
        self.send(&FromClient::Commit(totals));
        let receipt = self.receive(|message| match message {
            FromDaemon::Receipt(receipt) => *receipt,
            other => unreachable!("no receipt: {other:?}"),
        });
        assert_eq!(receipt.totals, totals);
        self.channel.writer.end().unwrap();
        assert_eq!(self.channel.reader.receive().unwrap(), None);
        Done { stream, receipt, sent_chunks, asked_chunks: unknown.len() }
    }

    /// Bytes of a stream, by several requests that are all open at once.
    pub fn restore(&mut self, stream: [u8; 16], offset: usize, len: usize) -> Vec<u8> {
        let step = 777_777;
        let ranges: Vec<_> =
            (offset..offset + len).step_by(step).map(|at| (at, step.min(offset + len - at))).collect();
        for (number, (at, len)) in (0..).zip(&ranges) {
            let (offset, length) = (*at as u64, *len as u64);
            self.send(&FromClient::Fetch { number, stream, offset, length });
        }
        let mut out = Vec::new();
        for (expected, (at, len)) in (0..).zip(&ranges) {
            let mut done = false;
            let (mut next, end) = (*at, at + len);
            while !done {
                done = self.receive(|message| match message {
                    FromDaemon::Piece { number, offset, hash, bytes } if *number == expected => {
                        assert_eq!(blake3::hash(bytes).as_bytes(), hash);
                        let start = usize::try_from(*offset).unwrap();
                        let last = (start + bytes.len()).min(end);
                        out.extend_from_slice(&bytes[next - start..last - start]);
                        next = last;
                        false
                    }
                    FromDaemon::Fetched { number, length } if *number == expected => {
                        assert_eq!((*length, next), (*len as u64, end));
                        true
                    }
                    other => unreachable!("no piece: {other:?}"),
                });
            }
        }
        out
    }
}
