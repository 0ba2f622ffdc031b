//! `gdd bench stages`: each stage of ingest alone, on one core, with data that is in memory already.

use std::time::Instant;

use gdd_engine::container::batch::{BatchBuilder, Payload, Position};
use gdd_engine::filter::{Filter, FilterConfig};
use gdd_engine::format::StoreId;
use gdd_engine::format::codec::Codec;
use gdd_engine::ids::{ChunkHash, ContainerId, Epoch};
use gdd_engine::index::rocks::RocksIndex;
use gdd_engine::index::{Batch, ChunkEntry, Index, Status};
use gdd_engine::limits::{BATCH_SIZE, BLOCK_SIZE};
use gdd_kernels::{Chunker, Params};
use gdd_uring::buffer::IoBuf;
use serde_json::{Map, Value, json};

use super::data::Extents;
use super::report::{Hardware, Series};
use super::scratch::Scratch;
use crate::args::{BenchStages, Common};
use crate::failure::Result;
use crate::output::{Outcome, Table};
use crate::progress::Bar;
use crate::size::{show, show_rate, to_float};

/// Chunks that the index and the filter are asked for at once, as a worker does.
const AT_ONCE: usize = 256;
/// Chunks in one commit.
const COMMITTED: usize = 4096;
/// Chunks that the index and the filter hold.
const KNOWN: u64 = 200_000;

/// Measures one stage after another.
struct Stages {
    extents: Extents,
    chunker: Chunker,
    /// Where each extent is cut.
    ends: Vec<Vec<u32>>,
    runs: u64,
    bar: Bar,
    found: Vec<(&'static str, Unit, Series)>,
}

/// What a stage's figure counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Bytes,
    Chunks,
}

/// Measure.
///
/// # Errors
/// There is no room for an index, or the disk refused.
pub fn run(arguments: &BenchStages, common: &Common) -> Result<Outcome> {
    let scratch = Scratch::new(common, 1 << 30)?;
    let hardware = Hardware::here(scratch.path());
    let chunker = Chunker::new(Params::default());
    let extents = Extents::random(arguments.bytes)?;
    let cut = |extent: &gdd_uring::buffer::Shared| {
        let mut ends = Vec::new();
        chunker.cut_all(extent, true, &mut ends);
        ends
    };
    let ends = extents.all().iter().map(cut).collect();
    let mut stages = Stages {
        extents,
        chunker: chunker.clone(),
        ends,
        runs: arguments.runs,
        bar: Bar::steps(),
        found: Vec::new(),
    };
    stages.kernels();
    stages.append();
    stages.filter()?;
    stages.index(&scratch, common)?;
    stages.answer(&hardware)
}

impl Stages {
    /// Run `work`, which says how much it did, several times.
    fn measure(
        &mut self,
        name: &'static str,
        unit: Unit,
        mut work: impl FnMut(&Self) -> Result<u64>,
    ) -> Result<()> {
        self.bar.step(name);
        let mut series = Series::default();
        for _ in 0..self.runs {
            let started = Instant::now();
            let amount = work(self)?;
            series.add(to_float(amount) / started.elapsed().as_secs_f64());
        }
        self.found.push((name, unit, series));
        Ok(())
    }

    fn bytes(&mut self, name: &'static str, mut work: impl FnMut(&[u8], &[u32])) {
        let done = self.measure(name, Unit::Bytes, |stages| {
            for (extent, ends) in stages.extents.all().iter().zip(&stages.ends) {
                work(extent, ends);
            }
            Ok(stages.extents.bytes())
        });
        done.expect("this work cannot fail");
    }

    fn kernels(&mut self) {
        let chunker = self.chunker.clone();
        let (mut found, mut hashes, mut cuts) = (Vec::new(), Vec::new(), Vec::new());
        self.bytes("cut", |extent, _| {
            found.clear();
            chunker.cut_all(extent, true, &mut found);
        });
        self.bytes("hash", |extent, ends| {
            hashes.clear();
            gdd_kernels::hash_many(extent, ends, &mut hashes);
        });
        self.bytes("cut and hash, fused", |extent, _| {
            cuts.clear();
            chunker.cut_and_hash(extent, true, &mut cuts);
        });
        self.bytes("CRC-32", |extent, ends| {
            each(extent, ends, |chunk| {
                std::hint::black_box(crc32fast::hash(chunk));
            });
        });
    }

    /// Records packed into batches: the checksum and the copy.
    fn append(&mut self) {
        let size = usize::try_from(BATCH_SIZE).expect("a batch fits memory");
        let container = ContainerId::of(Epoch(1), 0);
        let position =
            Position { container, offset: BLOCK_SIZE, batch_seq: 0, record_seq: 0, chain: [0; 32] };
        let mut batch = Some(BatchBuilder::new(IoBuf::zeroed(size), position));
        let renew = move |full: BatchBuilder| {
            let mut buffer = full.close().buffer;
            buffer.restore();
            BatchBuilder::new(buffer, position)
        };
        self.bytes("container: CRC-32, copy, chain", |extent, ends| {
            each(extent, ends, |chunk| {
                let open = batch.take().expect("there is always one");
                let mut open = if open.fits(chunk.len()) { open } else { renew(open) };
                open.push(&Payload {
                    hash: ChunkHash([0; 32]),
                    raw_len: u32::try_from(chunk.len()).expect("a chunk is short"),
                    codec: Codec::None,
                    stored: chunk,
                    next: &[],
                });
                batch = Some(open);
            });
        });
    }

    fn filter(&mut self) -> Result<()> {
        let config = FilterConfig::new(StoreId([7; 16]), Epoch(1));
        let (filter, _) = Filter::open(None, config)?;
        filter.begin_rebuild();
        filter.finish_rebuild();
        self.measure("filter: insert", Unit::Chunks, |_| {
            (0..KNOWN).for_each(|number| filter.insert(&hash(number)));
            Ok(KNOWN)
        })?;
        let mut answers = Vec::new();
        for (name, first) in [("filter: known", 0), ("filter: new", KNOWN)] {
            let hashes: Vec<ChunkHash> = (first..first + KNOWN).map(hash).collect();
            self.measure(name, Unit::Chunks, |_| {
                for asked in hashes.chunks(AT_ONCE) {
                    filter.query_many(asked, &mut answers);
                    std::hint::black_box(&answers);
                }
                Ok(KNOWN)
            })?;
        }
        Ok(())
    }

    fn index(&mut self, scratch: &Scratch, common: &Common) -> Result<()> {
        let index =
            RocksIndex::create(&scratch.join("index"), StoreId([7; 16]), common.options().budget().index)?;
        let entry = ChunkEntry {
            container: ContainerId::of(Epoch(1), 0),
            offset: 4096,
            stored_len: 16_384,
            raw_len: 16_384,
            codec: Codec::None,
            status: Status::Live,
            pin_epoch: Epoch(1),
        };
        let mut numbers = 0..u64::MAX;
        self.measure("index: commit, synced", Unit::Chunks, |_| {
            for _ in 0..KNOWN / COMMITTED as u64 {
                let chunks = numbers.by_ref().take(COMMITTED).map(|number| (hash(number), entry)).collect();
                index.commit(Batch { chunks, ..Batch::default() })?;
            }
            Ok(KNOWN / COMMITTED as u64 * COMMITTED as u64)
        })?;
        let mut found = Vec::new();
        for (name, first) in [("index: look up, known", 0), ("index: look up, new", numbers.start)] {
            let hashes: Vec<ChunkHash> = (first..first + KNOWN / 4).map(hash).collect();
            self.measure(name, Unit::Chunks, |_| {
                for asked in hashes.chunks(AT_ONCE) {
                    index.locate(asked, &mut found)?;
                    std::hint::black_box(&found);
                }
                Ok(KNOWN / 4)
            })?;
        }
        index.close()?;
        Ok(())
    }

    fn answer(self, hardware: &Hardware) -> Result<Outcome> {
        let mut table = Table::new(["one core", "median", "least .. greatest"]);
        let mut figures = Map::new();
        for (name, unit, series) in &self.found {
            let (least, greatest) = series.spread();
            let (shown, spread) = match unit {
                Unit::Bytes => (show_rate(series.median()), series.show_spread()),
                Unit::Chunks => {
                    (millions(series.median()), format!("{} .. {}", millions(least), millions(greatest)))
                }
            };
            table.row([(*name).to_owned(), shown, spread]);
            let unit = if *unit == Unit::Bytes { "bytes_per_second" } else { "chunks_per_second" };
            let mut figure = Map::new();
            figure.insert(unit.to_owned(), json!(series));
            figures.insert((*name).to_owned(), Value::Object(figure));
        }
        let bytes = self.extents.bytes();
        let text = format!("{hardware}{} of random data, {} runs\n\n{table}", show(bytes), self.runs);
        let object = json!({ "hardware": hardware, "bytes": bytes, "runs": self.runs, "stages": figures });
        Outcome::new(&object, text)
    }
}

fn millions(rate: f64) -> String {
    format!("{:.2} M/s", rate / 1e6)
}

/// Each chunk of an extent.
fn each(extent: &[u8], ends: &[u32], mut work: impl FnMut(&[u8])) {
    let mut start = 0;
    for end in ends {
        work(&extent[start..*end as usize]);
        start = *end as usize;
    }
}

/// A hash like any other, made of a number.
fn hash(number: u64) -> ChunkHash {
    let mut hash = [0; 32];
    super::data::fill(&mut hash, number << 2);
    ChunkHash(hash)
}
