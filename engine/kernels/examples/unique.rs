//! What a perfect store would keep: `cargo run --release -p gdd-kernels --example unique -- FILE...`
//!
//! Cuts each file with the `fastcdc` crate's serial v2020 iterator at 4/16/64 KiB, hashes each chunk with
//! `blake3::hash`, and prints after every file how many bytes no earlier chunk had. `gdd put` of the same files in the
//! same order must report exactly these as `new_bytes`.

use std::collections::HashSet;
use std::fs::File;

use fastcdc::v2020::StreamCDC;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut known = HashSet::new();
    for path in std::env::args().skip(1) {
        let (mut bytes, mut new_bytes, mut chunks, mut new_chunks) = (0, 0, 0, 0);
        for chunk in StreamCDC::new(File::open(&path)?, 4 << 10, 16 << 10, 64 << 10) {
            let chunk = chunk?;
            bytes += chunk.length;
            chunks += 1;
            if known.insert(*blake3::hash(&chunk.data).as_bytes()) {
                new_bytes += chunk.length;
                new_chunks += 1;
            }
        }
        println!("{path}: {bytes} bytes in {chunks} chunks, {new_bytes} bytes in {new_chunks} chunks new");
    }
    Ok(())
}
