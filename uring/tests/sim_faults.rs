//! Faults that are asked for happen, where they were asked for, and can be switched off.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::io;
use std::path::Path;

use gdd_uring::buffer::{ALIGN, IoBuf};
use gdd_uring::io::{FileId, Io, IoSource, Op, Open, datasync, read_at, run, write_at};
use gdd_uring::sim::{Fault, Faults, OpKind, SimDisk};

const PAGE: u64 = ALIGN as u64;

fn painted(byte: u8, pages: usize) -> IoBuf {
    let mut buffer = IoBuf::zeroed(pages * ALIGN);
    buffer.fill(byte);
    buffer
}

/// A disk with one new file `/file`, before any fault.
fn prepared() -> (SimDisk, Box<dyn Io>, FileId) {
    let disk = SimDisk::new(1);
    let mut io = disk.source().open().unwrap();
    let file = io.open(Path::new("/file"), Open::Create).unwrap();
    io.sync_dir(Path::new("/")).unwrap();
    (disk, io, file)
}

fn code<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

fn plan(kind: OpKind, number: u64, sticky: bool, fault: Fault) -> Faults {
    Faults::default().plan(Some(kind), number, sticky, fault)
}

fn contents(disk: &SimDisk) -> Vec<u8> {
    disk.contents(Path::new("/file")).unwrap()
}

#[test]
fn the_nth_operation_fails_once_or_for_ever() {
    for sticky in [false, true] {
        let (disk, mut io, file) = prepared();
        write_at(io.as_mut(), file, 0, painted(1, 1)).unwrap();
        disk.set_faults(Faults::at(disk.op_count() + 1, sticky));
        write_at(io.as_mut(), file, 0, painted(2, 1)).unwrap();
        assert_eq!(code(write_at(io.as_mut(), file, 0, painted(3, 1))), libc::EIO);
        assert_eq!(read_at(io.as_mut(), file, 0, ALIGN).is_err(), sticky);
    }
}

#[test]
fn every_kind_can_fail() {
    let (disk, mut io, file) = prepared();
    let fail = |kind| disk.set_faults(plan(kind, disk.count(kind), false, Fault::Error));
    let (here, there) = (Path::new("/file"), Path::new("/there"));
    write_at(io.as_mut(), file, 0, painted(1, 1)).unwrap();
    fail(OpKind::Read);
    assert_eq!(code(read_at(io.as_mut(), file, 0, ALIGN)), libc::EIO);
    fail(OpKind::Datasync);
    assert_eq!(code(datasync(io.as_mut(), file)), libc::EIO);
    fail(OpKind::Allocate);
    assert_eq!(code(run(io.as_mut(), Op::Allocate { file, len: 9 * PAGE })), libc::EIO);
    fail(OpKind::Open);
    assert_eq!(code(io.open(here, Open::Read)), libc::EIO);
    fail(OpKind::Create);
    assert_eq!(code(io.open(there, Open::Create)), libc::EIO);
    fail(OpKind::Size);
    assert_eq!(code(io.size(file)), libc::EIO);
    fail(OpKind::Truncate);
    assert_eq!(code(io.truncate(file, 0)), libc::EIO);
    fail(OpKind::SyncAll);
    assert_eq!(code(io.sync_all(file)), libc::EIO);
    fail(OpKind::Rename);
    assert_eq!(code(io.rename(here, there)), libc::EIO);
    fail(OpKind::Unlink);
    assert_eq!(code(io.unlink(here)), libc::EIO);
    fail(OpKind::CreateDir);
    assert_eq!(code(io.create_dir(there)), libc::EIO);
    fail(OpKind::SyncDir);
    assert_eq!(code(io.sync_dir(Path::new("/"))), libc::EIO);
    fail(OpKind::List);
    assert_eq!(code(io.list(Path::new("/"))), libc::EIO);
    assert_eq!(io.list(Path::new("/")).unwrap().len(), 1, "nothing that failed took effect");
    assert_eq!(io.size(file).unwrap(), PAGE);
}

#[test]
fn a_failed_write_leaves_any_of_its_sectors() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let disk = SimDisk::with_faults(seed, plan(OpKind::Write, 1, false, Fault::Error));
        let mut io = disk.source().open().unwrap();
        let file = io.open(Path::new("/file"), Open::Create).unwrap();
        write_at(io.as_mut(), file, 0, painted(1, 2)).unwrap();
        assert_eq!(code(write_at(io.as_mut(), file, 0, painted(2, 2))), libc::EIO);
        seen.insert(contents(&disk).chunks(512).filter(|sector| sector[0] == 2).count());
    }
    assert!(seen.len() > 8, "{seen:?}");
}

#[test]
fn a_full_disk_fills_and_is_freed() {
    let (disk, mut io, file) = prepared();
    disk.set_capacity(Some(8 * PAGE));
    assert_eq!(code(run(io.as_mut(), Op::Allocate { file, len: 9 * PAGE })), libc::ENOSPC);
    run(io.as_mut(), Op::Allocate { file, len: 6 * PAGE }).unwrap();
    write_at(io.as_mut(), file, 0, painted(1, 6)).unwrap();
    assert_eq!(io.free_bytes(Path::new("/")).unwrap(), 2 * PAGE, "what was reserved costs nothing more");
    let other = io.open(Path::new("/other"), Open::Create).unwrap();
    write_at(io.as_mut(), other, 100 * PAGE, painted(2, 2)).unwrap();
    assert_eq!(code(write_at(io.as_mut(), other, 0, painted(2, 1))), libc::ENOSPC);
    write_at(io.as_mut(), other, 100 * PAGE, painted(3, 2)).unwrap();
    assert_eq!(read_at(io.as_mut(), file, 0, 6 * ALIGN).unwrap().len(), 6 * ALIGN, "reads go on");
    io.unlink(Path::new("/file")).unwrap();
    assert_eq!(io.free_bytes(Path::new("/")).unwrap(), 0, "it is open still");
    io.close(file);
    assert_eq!(io.free_bytes(Path::new("/")).unwrap(), 6 * PAGE);
    write_at(io.as_mut(), other, 0, painted(2, 1)).unwrap();
    io.truncate(other, PAGE).unwrap();
    assert_eq!(disk.used_bytes(), PAGE);
    disk.set_faults(plan(OpKind::Allocate, disk.count(OpKind::Allocate), false, Fault::NoSpace));
    assert_eq!(code(run(io.as_mut(), Op::Allocate { file: other, len: 2 * PAGE })), libc::ENOSPC);
    run(io.as_mut(), Op::Allocate { file: other, len: 2 * PAGE }).unwrap();
}

#[test]
fn after_a_failed_sync_the_next_one_lies() {
    for all in [false, true] {
        let mut evicted = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let kind = if all { OpKind::SyncAll } else { OpKind::Datasync };
            let faults = Faults { fsyncgate: true, ..plan(kind, 0, false, Fault::Error) };
            let disk = SimDisk::with_faults(seed, faults);
            let mut io = disk.source().open().unwrap();
            let file = io.open(Path::new("/file"), Open::Create).unwrap();
            io.sync_dir(Path::new("/")).unwrap();
            write_at(io.as_mut(), file, 0, painted(1, 1)).unwrap();
            let mut sync = || if all { io.sync_all(file) } else { datasync(io.as_mut(), file) };
            assert_eq!(code(sync()), libc::EIO);
            sync().unwrap();
            evicted.insert(contents(&disk)[0]);
            for crash in 0..20 {
                assert_eq!(contents(&disk.crash(crash)), [0; ALIGN], "the data is gone, its place is not");
            }
        }
        assert_eq!(evicted, [0, 1].into(), "seen at once, or only after a reboot");
    }
}

#[test]
fn an_honest_failed_sync_can_be_repeated() {
    let (disk, mut io, file) = prepared();
    disk.set_faults(plan(OpKind::Datasync, 0, false, Fault::Error));
    write_at(io.as_mut(), file, 0, painted(1, 1)).unwrap();
    assert_eq!(code(datasync(io.as_mut(), file)), libc::EIO);
    datasync(io.as_mut(), file).unwrap();
    assert_eq!(contents(&disk.crash(1)), [1; ALIGN]);
}

#[test]
fn a_lost_directory_sync_lies_too() {
    let (disk, mut io, _) = prepared();
    disk.set_faults(Faults { fsyncgate: true, ..plan(OpKind::SyncDir, 1, false, Fault::Error) });
    io.rename(Path::new("/file"), Path::new("/new")).unwrap();
    assert_eq!(code(io.sync_dir(Path::new("/"))), libc::EIO);
    io.sync_dir(Path::new("/")).unwrap();
    assert!((0..20).all(|seed| disk.crash(seed).contents(Path::new("/file")).is_ok()));
}

#[test]
fn a_read_only_file_system_reads() {
    let (disk, mut io, file) = prepared();
    write_at(io.as_mut(), file, 0, painted(1, 1)).unwrap();
    disk.set_faults(plan(OpKind::Write, 1, false, Fault::ReadOnly));
    assert_eq!(code(write_at(io.as_mut(), file, 0, painted(2, 1))), libc::EROFS);
    assert_eq!(code(run(io.as_mut(), Op::Allocate { file, len: 2 * PAGE })), libc::EROFS);
    assert_eq!(
        code(datasync(io.as_mut(), file)),
        libc::EROFS,
        "the first write is not durable and cannot become so"
    );
    assert_eq!(code(io.open(Path::new("/new"), Open::Create)), libc::EROFS);
    assert_eq!(code(io.open(Path::new("/file"), Open::Write)), libc::EROFS);
    assert_eq!(code(io.rename(Path::new("/file"), Path::new("/new"))), libc::EROFS);
    assert_eq!(code(io.unlink(Path::new("/file"))), libc::EROFS);
    assert_eq!(code(io.truncate(file, 0)), libc::EROFS);
    assert_eq!(&*read_at(io.as_mut(), file, 0, ALIGN).unwrap(), [1; ALIGN]);
    disk.set_read_only(false);
    datasync(io.as_mut(), file).unwrap();
}

/// What a read of the first page of `/file` gives after one write of 1 and one of 2, the second with `fault`.
fn second_write(fault: Fault) -> (SimDisk, io::Result<IoBuf>) {
    let (disk, mut io, file) = prepared();
    disk.put_file(Path::new("/victim"), &[9; 4 * ALIGN]).unwrap();
    disk.set_faults(plan(OpKind::Write, 1, false, fault));
    write_at(io.as_mut(), file, 0, painted(1, 1)).unwrap();
    write_at(io.as_mut(), file, 0, painted(2, 1)).unwrap();
    datasync(io.as_mut(), file).unwrap();
    let read = read_at(io.as_mut(), file, 0, ALIGN);
    (disk, read)
}

fn assert_heals(disk: &SimDisk) {
    // Damage is on the medium: a reboot does not help.
    assert_eq!(disk.crash(1).damaged(), disk.damaged());
    assert_eq!(contents(disk), [2; ALIGN], "the truth is kept");
    disk.heal();
    assert!(disk.damaged().is_empty());
    let mut io = disk.source().open().unwrap();
    let file = io.open(Path::new("/file"), Open::Read).unwrap();
    assert_eq!(&*read_at(io.as_mut(), file, 0, ALIGN).unwrap(), [2; ALIGN]);
}

#[test]
fn a_lost_write_shows_the_old_bytes_after_a_sync_that_worked() {
    let (disk, read) = second_write(Fault::Lose);
    assert_eq!(&*read.unwrap(), [1; ALIGN]);
    assert_heals(&disk);
}

#[test]
fn a_misdirected_write_harms_two_places() {
    let (disk, read) = second_write(Fault::Misdirect);
    assert_eq!(&*read.unwrap(), [1; ALIGN]);
    let mut io = disk.source().open().unwrap();
    let victim = io.open(Path::new("/victim"), Open::Read).unwrap();
    let bytes = read_at(io.as_mut(), victim, 0, 4 * ALIGN).unwrap();
    assert_eq!(bytes.iter().filter(|byte| **byte == 2).count(), ALIGN);
    assert_eq!(disk.damaged().len(), 2);
    assert_heals(&disk);
}

#[test]
fn a_flipped_bit_and_a_dead_sector() {
    let (disk, read) = second_write(Fault::Flip);
    let odd: Vec<_> = read.unwrap().iter().copied().filter(|byte| *byte != 2).collect();
    assert!(odd.len() == 1 && (odd[0] ^ 2).count_ones() == 1, "{odd:?}");
    assert_heals(&disk);
    let (disk, read) = second_write(Fault::Latent);
    assert_eq!(code(read), libc::EIO);
    assert_heals(&disk);
}

#[test]
fn writing_repairs() {
    let (disk, _) = second_write(Fault::Latent);
    let mut io = disk.source().open().unwrap();
    let file = io.open(Path::new("/file"), Open::Write).unwrap();
    write_at(io.as_mut(), file, 0, painted(3, 1)).unwrap();
    assert_eq!(&*read_at(io.as_mut(), file, 0, ALIGN).unwrap(), [3; ALIGN]);
}

#[test]
fn a_stale_read_gives_the_version_before_once() {
    let (disk, mut io, file) = prepared();
    disk.set_faults(plan(OpKind::Read, 0, false, Fault::Stale));
    write_at(io.as_mut(), file, 0, painted(1, 1)).unwrap();
    write_at(io.as_mut(), file, 0, painted(2, 1)).unwrap();
    assert_eq!(&*read_at(io.as_mut(), file, 0, ALIGN).unwrap(), [1; ALIGN]);
    assert_eq!(&*read_at(io.as_mut(), file, 0, ALIGN).unwrap(), [2; ALIGN]);
}

#[test]
fn files_can_be_damaged_by_hand() {
    let disk = SimDisk::new(1);
    let (a, b) = (Path::new("/d/a"), Path::new("/d/b"));
    disk.create_dir_all(Path::new("/d")).unwrap();
    disk.put_file(a, &[1; 2 * ALIGN]).unwrap();
    disk.put_file(b, &[2; 5000]).unwrap();
    disk.flip_bit(a, 10, 7).unwrap();
    disk.zero_sector(a, 1030).unwrap();
    let read = |path| {
        let mut io = disk.source().open()?;
        let file = io.open(path, Open::Read)?;
        read_at(io.as_mut(), file, 0, 2 * ALIGN)
    };
    let bytes = read(a).unwrap();
    assert_eq!(
        (bytes[9], bytes[10], bytes[1023], bytes[1024], bytes[1535], bytes[1536]),
        (1, 0x81, 1, 0, 0, 1)
    );
    disk.latent_error(a, PAGE).unwrap();
    assert_eq!(code(read(a)), libc::EIO);
    assert_eq!(code(disk.flip_bit(b, 5000, 0)), libc::EINVAL);
    disk.swap_files(a, b).unwrap();
    assert_eq!(&*read(a).unwrap(), [2; 5000]);
    disk.cut_file(a, 10).unwrap();
    assert_eq!(&*read(a).unwrap(), [2; 10]);
    assert_eq!(disk.crash(1).contents(a).unwrap(), [2; 10]);
    disk.remove(a).unwrap();
    assert_eq!(read(a).map_err(|e| e.kind()).err(), Some(io::ErrorKind::NotFound));
    let dir = tempfile::tempdir().unwrap();
    disk.export(dir.path()).unwrap();
    assert_eq!(std::fs::read(dir.path().join("d/b")).unwrap(), [1; 2 * ALIGN], "exports are the true bytes");
    assert!(!dir.path().join("d/a").exists());
}
