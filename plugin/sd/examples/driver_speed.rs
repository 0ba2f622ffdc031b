//! How fast the driver takes blocks apart and puts them together, with a store that costs nothing but a copy.
//!
//! `cargo run --release -p gdd-sd --example driver_speed`. The numbers are those of one thread; hashing payload twice
//! (XXH3-64 of the block, XXH3-128 of the stream) and copying it once are in them, transport and deduplication are not.

use std::time::Instant;

use gdd_sd::block::SessionId;
use gdd_sd::bytes::put_be32;
use gdd_sd::device::Device;
use gdd_sd::label::About;
use gdd_sd::store::{Receipt, Store, StoreError, StoreId, StreamId, Unreleased, VolumeId};
use gdd_sd::volume::Whence;

const BLOCK_SIZE: usize = 64_512;
const BLOCK_COUNT: usize = 8_000;

/// One stream, in memory.
#[derive(Default)]
struct Memory(Vec<u8>);

impl Store for Memory {
    fn begin(&mut self, _: VolumeId, _: SessionId, _: &About) -> Result<StreamId, StoreError> {
        Ok(StreamId(1))
    }
    fn append(&mut self, _: StreamId, _: bool, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
    fn durable(&mut self, _: StreamId) -> Result<u64, StoreError> {
        Ok(0)
    }
    fn flush(&mut self, _: StreamId) -> Result<(), StoreError> {
        Ok(())
    }
    fn unreleased(&mut self, _: StreamId) -> Result<Unreleased, StoreError> {
        Ok(Unreleased { offset: 0, bytes: Vec::new() })
    }
    fn finish(&mut self, _: StreamId, bytes: u64, digest: u128) -> Result<Receipt, StoreError> {
        Ok(Receipt { bytes, digest })
    }
    fn abandon(&mut self, _: StreamId) {}
    fn recall(&mut self, _: StreamId, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        buffer.copy_from_slice(&self.0[from..from + buffer.len()]);
        Ok(())
    }
    fn length(&mut self, _: StreamId) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.0.len() as u64))
    }
    fn retire(&mut self, _: VolumeId) -> Result<(), StoreError> {
        Ok(())
    }
    fn id(&mut self) -> Result<StoreId, StoreError> {
        Ok(StoreId([1; 16]))
    }

    fn reachable(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A block that continues one file for ever, cut as Bacula cuts records of 65536 bytes.
fn block(number: u32) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK_SIZE);
    let len = u32::try_from(BLOCK_SIZE).unwrap_or(0);
    for word in [7, len, number, 0, 1, 2] {
        put_be32(&mut block, word);
    }
    block[12..16].copy_from_slice(b"BB02");
    for (stream, room) in [(u32::MAX - 1, 30_000), (2, BLOCK_SIZE - 24 - 12 - 30_000 - 12)] {
        for word in [1, stream, u32::try_from(room).unwrap_or(0)] {
            put_be32(&mut block, word);
        }
        block.extend((0..room as u64).map(|at| at.wrapping_mul(u64::from(number)).to_le_bytes()[1]));
    }
    block
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("gdd-sd-throughput-{}", std::process::id()));
    let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path)?;
    let _ = std::fs::remove_file(&path);
    // Touched before: else the kernel's handing out of pages is what is measured.
    let mut memory = vec![1; BLOCK_COUNT * BLOCK_SIZE];
    memory.clear();
    let mut device = Device::new(Box::new(Memory(memory)));
    device.open(file, true)?;
    let blocks: Vec<_> = (0..64).map(block).collect();
    device.write(b"label")?;
    let bytes = (BLOCK_COUNT * BLOCK_SIZE) as f64;

    let start = Instant::now();
    for number in 0..BLOCK_COUNT {
        device.write(&blocks[number % blocks.len()])?;
    }
    println!("write: {:.2} GB/s", bytes / start.elapsed().as_secs_f64() / 1e9);
    device.seek(0, Whence::Start);
    let (mut buffer, start) = (vec![0; BLOCK_SIZE], Instant::now());
    while device.read(&mut buffer)? > 0 {}
    println!("read: {:.2} GB/s", bytes / start.elapsed().as_secs_f64() / 1e9);
    Ok(())
}
