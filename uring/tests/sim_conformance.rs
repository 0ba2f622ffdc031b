//! The simulator passes the suite of the real backends, on a good day and on a slow one.

use std::path::Path;

use gdd_uring::conformance::check;
use gdd_uring::io::IoSource;
use gdd_uring::sim::{Faults, SimDisk};

#[test]
fn the_simulator_conforms() {
    for seed in 0..3 {
        let source = SimDisk::new(seed).source();
        check(&source, Path::new("/"));
        assert_eq!((source.mode(), source.notes()), ("sim", Vec::new()));
    }
}

#[test]
fn short_and_late_operations_conform() {
    for seed in 0..3 {
        let faults = Faults { short: 500_000, late: 200_000, ..Faults::default() };
        let source =
            SimDisk::with_faults(seed, faults).source().with_capacity(8 + usize::try_from(seed).unwrap());
        check(&source, Path::new("/"));
    }
}

#[test]
fn a_bounded_disk_conforms_and_gives_all_space_back() {
    let disk = SimDisk::with_faults(1, Faults { capacity: Some(64 << 20), ..Faults::default() });
    check(&disk.source(), Path::new("/"));
    let linked: u64 = disk.files().iter().map(|file| file.size.next_multiple_of(4096)).sum();
    assert!(disk.used_bytes() <= linked, "holes take no space, files without a name neither");
    for file in disk.files() {
        disk.remove(&file.path).unwrap();
    }
    assert_eq!(disk.used_bytes(), 0);
}
