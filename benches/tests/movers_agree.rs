//! The rivals of `io` write the same bytes to the same places, and each reads what the others wrote.

use std::io;

use gdd_benches::mover::{self, Mover, Shape, stamped};
use gdd_benches::scratch::Scratch;
use gdd_benches::tokio_mover::TokioMover;
use gdd_uring::probe::{Mode, probe};

/// More blocks than the depth, and no multiple of it.
const SHAPE: Shape = Shape { block: 8192, depth: 4, count: 19 };

/// Numbers found in the file by ordinary reading.
fn numbers(path: &std::path::Path) -> Vec<u64> {
    std::fs::read(path).expect("the file is there").chunks_exact(SHAPE.block).map(stamped).collect()
}

#[test]
fn every_rival_moves_every_block_once() -> io::Result<()> {
    let scratch = Scratch::new();
    let path = scratch.path().join("blocks");
    let expected: Vec<u64> = (0..SHAPE.count).collect();
    let mut raced = Vec::new();

    for mode in [Mode::Uring, Mode::Pwrite, Mode::Buffered] {
        mover::prepare(&path, SHAPE.bytes())?;
        assert_ne!(numbers(&path), expected, "a prepared file carries no numbers");
        match probe(scratch.path(), mode, false) {
            Ok(source) => {
                let mut mover = Mover::open(source.as_ref(), &path, SHAPE)?;
                mover.write()?;
                assert_eq!(numbers(&path), expected, "{mode:?}");
                assert_eq!(mover.read()?, SHAPE.sum(), "{mode:?}");
                raced.push(mode);
            }
            Err(why) => println!("skipped, {mode:?}: {why}"),
        }
    }
    assert!(raced.contains(&Mode::Buffered), "the last rung of the ladder works everywhere");

    mover::prepare(&path, SHAPE.bytes())?;
    match TokioMover::open(&path, SHAPE) {
        Ok(mut tokio) => {
            for _ in 0..2 {
                tokio.write()?;
                assert_eq!(numbers(&path), expected, "tokio-uring");
                assert_eq!(tokio.read()?, SHAPE.sum(), "tokio-uring");
            }
        }
        Err(why) => println!("skipped, tokio-uring: {why}"),
    }
    Ok(())
}
