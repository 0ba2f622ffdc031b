//! What a power cut may take on the simulator: everything that the contract leaves open, and nothing else.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gdd_uring::buffer::{ALIGN, IoBuf};
use gdd_uring::io::{Done, FileId, Io, IoSource, Op, Open, Tag, Wait, datasync, run, write_at};
use gdd_uring::sim::{OpKind, SimDisk, is_power_cut};
use proptest::prelude::*;

const SECTOR: usize = 512;

fn painted(byte: u8, pages: usize) -> IoBuf {
    let mut buffer = IoBuf::zeroed(pages * ALIGN);
    buffer.fill(byte);
    buffer
}

fn reap_all(io: &mut dyn Io) -> Vec<Done> {
    let mut done = Vec::new();
    while io.in_flight() > 0 {
        io.poll(&mut done, Wait::For(std::time::Duration::from_secs(1))).unwrap();
    }
    done
}

/// A disk with a durable file of zeros at `/file`.
fn prepared(seed: u64, pages: u64) -> (SimDisk, Box<dyn Io>, FileId) {
    let disk = SimDisk::new(seed);
    let mut io = disk.source().open().unwrap();
    let file = io.open(Path::new("/file"), Open::Create).unwrap();
    if pages > 0 {
        run(io.as_mut(), Op::Allocate { file, len: pages * ALIGN as u64 }).unwrap();
    }
    io.sync_all(file).unwrap();
    io.sync_dir(Path::new("/")).unwrap();
    (disk, io, file)
}

fn contents(disk: &SimDisk) -> Vec<u8> {
    disk.contents(Path::new("/file")).unwrap()
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.files().iter().map(|file| file.path.to_str().unwrap().to_owned()).collect()
}

/// The different results of `look` on the crash images of 200 seeds.
fn outcomes<T: Ord>(disk: &SimDisk, look: impl Fn(&SimDisk) -> T) -> BTreeSet<T> {
    (0..200).map(|seed| look(&disk.crash(seed))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Random writes, several at once, and syncs; a crash; each sector holds what was synced last, or something newer.
    #[test]
    fn synced_data_always_survives(seed: u64, steps in prop::collection::vec((0_u64..12, 1_usize..4, 0_u8..4), 1..40)) {
        let (disk, mut io, file) = prepared(seed, 16);
        // For each sector the bytes it may have, oldest first.
        let mut may: Vec<Vec<u8>> = vec![vec![0]; 16 * ALIGN / SECTOR];
        for (byte, (page, pages, then)) in (1..).zip(&steps) {
            let op = Op::Write { file, offset: page * ALIGN as u64, buffer: painted(byte, *pages) };
            io.submit(Tag(0), op).unwrap();
            let first = usize::try_from(*page).unwrap() * ALIGN / SECTOR;
            may[first..first + pages * ALIGN / SECTOR].iter_mut().for_each(|bytes| bytes.push(byte));
            // Two writes of the same place are never in flight together.
            reap_all(io.as_mut());
            if *then == 0 {
                datasync(io.as_mut(), file).unwrap();
                may.iter_mut().for_each(|bytes| *bytes = vec![*bytes.last().unwrap()]);
            }
        }
        for crash in 0..4 {
            let left = contents(&disk.crash(seed ^ crash));
            prop_assert_eq!(left.len(), 16 * ALIGN);
            for (sector, (bytes, may)) in left.chunks(SECTOR).zip(&may).enumerate() {
                prop_assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a sector is never torn");
                prop_assert!(may.contains(&bytes[0]), "sector {} has {}, may have {:?}", sector, bytes[0], may);
            }
        }
    }

    /// A reboot changes nothing, also not the second one.
    #[test]
    fn the_crash_image_of_a_crash_image_is_the_same(seed: u64) {
        let (disk, mut io, file) = prepared(seed, 4);
        write_at(io.as_mut(), file, 0, painted(1, 8)).unwrap();
        io.open(Path::new("/other"), Open::Create).unwrap();
        let first = disk.crash(seed);
        let second = first.crash(!seed);
        prop_assert_eq!(names(&first), names(&second));
        prop_assert_eq!(contents(&first), contents(&second));
    }
}

#[test]
fn unsynced_writes_may_stay_vanish_or_tear() {
    let (disk, mut io, file) = prepared(1, 4);
    write_at(io.as_mut(), file, 0, painted(1, 2)).unwrap();
    let sectors = |disk: &SimDisk| contents(disk).chunks(SECTOR).filter(|sector| sector[0] == 1).count();
    let seen = outcomes(&disk, sectors);
    assert!(seen.contains(&0) && seen.contains(&16) && seen.len() > 5, "{seen:?}");
    datasync(io.as_mut(), file).unwrap();
    assert_eq!(outcomes(&disk, sectors), [16].into());
}

#[test]
fn writes_in_flight_may_arrive_in_part() {
    let (disk, mut io, file) = prepared(1, 4);
    io.submit(Tag(1), Op::Write { file, offset: 0, buffer: painted(1, 2) }).unwrap();
    let sectors = |disk: &SimDisk| contents(disk).chunks(SECTOR).filter(|sector| sector[0] == 1).count();
    let before = outcomes(&disk, sectors);
    assert!(before.contains(&0) && before.contains(&16) && before.len() > 5, "{before:?}");
    disk.cut_power();
    let done = reap_all(io.as_mut());
    assert!(is_power_cut(done[0].result.as_ref().unwrap_err()) && done[0].buffer.is_some());
    assert_eq!(outcomes(&disk, sectors), before, "the same after the cut has been noticed");
}

#[test]
fn two_unsynced_writes_survive_in_either_order() {
    let (disk, mut io, file) = prepared(1, 1);
    for byte in [1, 2] {
        write_at(io.as_mut(), file, 0, painted(byte, 1)).unwrap();
    }
    let first = outcomes(&disk, |disk| contents(disk)[0]);
    assert_eq!(first, [0, 1, 2].into());
}

#[test]
fn a_sync_covers_only_completions_reaped_before_it() {
    let mut lost = 0;
    for seed in 0..100 {
        let (disk, mut io, file) = prepared(seed, 1);
        io.submit(Tag(1), Op::Write { file, offset: 0, buffer: painted(1, 1) }).unwrap();
        io.submit(Tag(2), Op::Datasync { file }).unwrap();
        assert!(reap_all(io.as_mut()).iter().all(|done| done.result.is_ok()));
        lost += u32::from(outcomes(&disk, |disk| contents(disk)[0]).contains(&0));
    }
    assert_eq!(lost, 100, "the write was not covered, whatever the order of completions");
}

#[test]
fn lengths_are_durable_after_a_sync() {
    let (disk, mut io, file) = prepared(1, 0);
    let len = |disk: &SimDisk| contents(disk).len() / ALIGN;
    write_at(io.as_mut(), file, 0, painted(1, 3)).unwrap();
    let grown = outcomes(&disk, len);
    assert!(grown.contains(&0) && grown.contains(&3), "{grown:?}");
    datasync(io.as_mut(), file).unwrap();
    assert_eq!(outcomes(&disk, len), [3].into());
    io.truncate(file, ALIGN as u64).unwrap();
    assert_eq!(outcomes(&disk, len), [1, 3].into());
    io.sync_all(file).unwrap();
    assert_eq!(outcomes(&disk, len), [1].into());
    run(io.as_mut(), Op::Allocate { file, len: 8 * ALIGN as u64 }).unwrap();
    assert_eq!(outcomes(&disk, len), [1, 8].into());
    datasync(io.as_mut(), file).unwrap();
    assert_eq!(outcomes(&disk, len), [8].into());
    let bytes = contents(&disk.crash(0));
    assert!(bytes[..ALIGN].iter().all(|&byte| byte == 1) && bytes[ALIGN..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_new_name_without_a_directory_sync_may_be_lost_with_its_data() {
    let disk = SimDisk::new(1);
    let mut io = disk.source().open().unwrap();
    let file = io.open(Path::new("/file"), Open::Create).unwrap();
    write_at(io.as_mut(), file, 0, painted(1, 1)).unwrap();
    datasync(io.as_mut(), file).unwrap();
    io.sync_all(file).unwrap();
    let there = outcomes(&disk, |disk| disk.contents(Path::new("/file")).ok().map(|bytes| bytes[0]));
    assert_eq!(there, [None, Some(1)].into());
    io.sync_dir(Path::new("/")).unwrap();
    assert_eq!(outcomes(&disk, names), [vec!["/file".to_owned()]].into());
}

#[test]
fn a_rename_shows_either_name_and_a_removed_name_may_return() {
    let (disk, mut io, _) = prepared(1, 1);
    io.rename(Path::new("/file"), Path::new("/new")).unwrap();
    let either: BTreeSet<_> = [vec!["/file".to_owned()], vec!["/new".to_owned()]].into();
    assert_eq!(outcomes(&disk, names), either);
    io.sync_dir(Path::new("/")).unwrap();
    io.unlink(Path::new("/new")).unwrap();
    assert_eq!(outcomes(&disk, names), [vec![], vec!["/new".to_owned()]].into());
    io.sync_dir(Path::new("/")).unwrap();
    assert_eq!(outcomes(&disk, names), [vec![]].into());
}

#[test]
fn a_replaced_file_is_old_or_new_and_never_missing() {
    let (disk, mut io, _) = prepared(1, 1);
    let new = io.open(Path::new("/new"), Open::Create).unwrap();
    write_at(io.as_mut(), new, 0, painted(7, 1)).unwrap();
    datasync(io.as_mut(), new).unwrap();
    io.rename(Path::new("/new"), Path::new("/file")).unwrap();
    assert_eq!(outcomes(&disk, |disk| contents(disk)[0]), [0, 7].into());
    io.sync_dir(Path::new("/")).unwrap();
    assert_eq!(outcomes(&disk, |disk| contents(disk)[0]), [7].into());
}

#[test]
fn a_folder_that_was_not_synced_takes_its_files_along() {
    let disk = SimDisk::new(1);
    let mut io = disk.source().open().unwrap();
    io.create_dir(Path::new("/d")).unwrap();
    io.open(Path::new("/d/file"), Open::Create).unwrap();
    io.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(outcomes(&disk, names), [vec![], vec!["/d/file".to_owned()]].into());
    io.sync_dir(Path::new("/")).unwrap();
    assert_eq!(outcomes(&disk, names), [vec!["/d/file".to_owned()]].into());
}

#[test]
fn every_crash_image_of_a_small_script_is_enumerated() {
    let (disk, mut io, file) = prepared(1, 2);
    let one = |disk: &SimDisk| disk.crash_images(1024).map(|image| contents(&image)).collect::<Vec<_>>();
    assert_eq!(one(&disk).len(), 1, "nothing is open");
    write_at(io.as_mut(), file, 0, painted(1, 1)).unwrap();
    assert!(disk.crash_images(256).is_exhaustive() && !disk.crash_images(255).is_exhaustive());
    let images = one(&disk);
    assert_eq!((images.len(), images.iter().collect::<BTreeSet<_>>().len()), (256, 256));
    io.rename(Path::new("/file"), Path::new("/new")).unwrap();
    let mut counts: BTreeMap<Vec<String>, u32> = BTreeMap::new();
    disk.crash_images(1024).for_each(|image| *counts.entry(names(&image)).or_default() += 1);
    assert_eq!(counts, [(vec!["/file".to_owned()], 256), (vec!["/new".to_owned()], 256)].into());
    datasync(io.as_mut(), file).unwrap();
    // Bytes that stay as they were are no choice: only the rename is left.
    write_at(io.as_mut(), file, 0, painted(1, 1)).unwrap();
    assert_eq!(disk.crash_images(1024).count(), 2);
}

#[test]
fn larger_scripts_are_enumerated_by_writes_and_then_sampled() {
    let (disk, mut io, file) = prepared(1, 16);
    for page in 0..8 {
        write_at(io.as_mut(), file, page * ALIGN as u64, painted(1, 1)).unwrap();
    }
    let images: Vec<_> = disk.crash_images(300).map(|image| contents(&image)).collect();
    assert_eq!(images.len(), 300);
    let whole = |bytes: &Vec<u8>| bytes.chunks(ALIGN).all(|page| page.iter().all(|byte| *byte == page[0]));
    assert_eq!(images[..256].iter().filter(|bytes| whole(bytes)).collect::<BTreeSet<_>>().len(), 256);
    assert!(images[256..].iter().any(|bytes| !whole(bytes)), "the samples tear");
    let few: Vec<_> = disk.crash_images(5).map(|image| contents(&image)[..8 * ALIGN].to_vec()).collect();
    assert_eq!(few.len(), 5);
    assert_eq!((few[0].iter().max(), few[1].iter().min()), (Some(&0), Some(&1)), "nothing, then everything");
}

#[test]
fn power_goes_at_every_operation_in_turn() {
    let script = |disk: &SimDisk| -> std::io::Result<()> {
        let mut io = disk.source().open()?;
        let file = io.open(Path::new("/file"), Open::Create)?;
        write_at(io.as_mut(), file, 0, painted(1, 1))?;
        datasync(io.as_mut(), file)?;
        io.rename(Path::new("/file"), Path::new("/final"))?;
        io.sync_dir(Path::new("/"))
    };
    let whole = SimDisk::new(1);
    script(&whole).unwrap();
    assert_eq!((whole.op_count(), whole.sync_count(), whole.count(OpKind::Write)), (5, 2, 1));
    for number in 0..5 {
        let disk = SimDisk::new(1);
        disk.crash_at(number);
        assert!(is_power_cut(&script(&disk).unwrap_err()), "operation {number}");
        assert!(disk.is_dead());
        let mut io = disk.source().open().unwrap();
        assert!(is_power_cut(&io.list(Path::new("/")).unwrap_err()), "it stays cut");
        assert!(disk.crash(0).source().open().unwrap().list(Path::new("/")).is_ok());
    }
}

#[test]
fn a_killed_process_leaves_its_reaped_writes_and_any_of_the_others() {
    let mut applied = BTreeSet::new();
    for seed in 0..50 {
        let (disk, mut io, file) = prepared(seed, 2);
        write_at(io.as_mut(), file, 0, painted(1, 1)).unwrap();
        io.submit(Tag(1), Op::Write { file, offset: ALIGN as u64, buffer: painted(2, 1) }).unwrap();
        drop(io);
        let bytes = contents(&disk);
        assert_eq!(bytes[0], 1);
        applied.insert(bytes[ALIGN]);
    }
    assert_eq!(applied, [0, 2].into());
}

#[test]
fn completions_come_in_any_order_and_never_at_once() {
    let mut orders = BTreeSet::new();
    for seed in 0..100 {
        let (_disk, mut io, file) = prepared(seed, 4);
        for tag in 0..3 {
            io.submit(Tag(tag), Op::Write { file, offset: tag * ALIGN as u64, buffer: painted(1, 1) })
                .unwrap();
        }
        let mut done = Vec::new();
        io.poll(&mut done, Wait::No).unwrap();
        assert!(done.is_empty(), "a device is not that fast");
        done.append(&mut reap_all(io.as_mut()));
        orders.insert(done.iter().map(|done| done.tag.0).collect::<Vec<_>>());
    }
    assert_eq!(orders.len(), 6, "{orders:?}");
}

#[test]
fn time_is_simulated() {
    let disk = SimDisk::new(1);
    let mut io = disk.source().open().unwrap();
    let before = io.now();
    io.poll(&mut Vec::new(), Wait::For(std::time::Duration::from_secs(3600))).unwrap();
    assert!(io.now() >= before + std::time::Duration::from_secs(3600));
    assert!(!disk.skip_idle(), "nothing is under way");
}
