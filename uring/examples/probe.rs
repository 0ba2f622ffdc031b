//! `cargo run -p gdd-uring --release --example probe -- DIR [read-only]`: how would a store in DIR reach its disk?

use std::io;
use std::path::Path;

use gdd_uring::probe::{Mode, probe, probe_read_only};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or_else(|| ".".to_owned());
    let read_only = arguments.next().is_some();
    let dir = Path::new(&dir);
    let source = if read_only { probe_read_only(dir, Mode::Auto)? } else { probe(dir, Mode::Auto, false)? };
    println!("{}", source.mode());
    source.notes().iter().for_each(|note| println!("{note}"));
    Ok(())
}
