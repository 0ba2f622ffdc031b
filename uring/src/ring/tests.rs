//! What only the ring's insides can show: teardown, retries, and what is registered.

use super::*;
use crate::buffer::ALIGN;
use std::io::Write;

/// A ring, and a pipe with a name: reads of it wait for as long as a test wants.
fn ring_and_pipe(dir: &Path) -> Option<(Ring, FileId, File)> {
    let access = Access { direct: false, read_only: false };
    let mut ring = match Ring::open(access, Arc::default(), Instant::now()) {
        Ok(ring) => ring,
        Err(e) => {
            tracing::warn!("skipped: {e}");
            return None;
        }
    };
    let path = dir.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let file = ring.open(&path, Open::Write).unwrap(); // For both ways, or it would wait for the other end.
    let end = File::options().write(true).open(&path).unwrap();
    Some((ring, file, end))
}

#[test]
fn a_dropped_ring_waits_for_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let pool = Pool::new(ALIGN, 1);
    let (begun, begins) = std::sync::mpsc::channel();
    let dropper = std::thread::spawn({
        let (pool, path) = (pool.clone(), dir.path().to_owned());
        move || {
            let Some((mut ring, file, end)) = ring_and_pipe(&path) else { return };
            assert!(ring.register(&pool));
            let buffer = pool.take().unwrap();
            ring.submit(Tag(1), Op::Read { file, offset: 0, buffer }).unwrap();
            ring.poll(&mut Vec::new(), Wait::No).unwrap();
            begun.send(end).unwrap();
            drop(ring);
        }
    });
    let Ok(mut end) = begins.recv() else { return dropper.join().unwrap() };
    std::thread::sleep(Duration::from_millis(100)); // Long enough for a teardown that does not wait.
    assert_eq!(pool.available(), 0, "the kernel may still fill the buffer");
    end.write_all(&[0xab; ALIGN]).unwrap();
    dropper.join().unwrap();
    assert!(pool.take().unwrap().iter().all(|&byte| byte == 0xab), "and it did");
}

#[test]
fn again_is_answered_with_another_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut ring, file, mut end)) = ring_and_pipe(dir.path()) else { return };
    rustix::fs::fcntl_setfl(&*ring.files.get(file).unwrap().file, rustix::fs::OFlags::NONBLOCK).unwrap();
    let buffer = crate::buffer::IoBuf::zeroed(ALIGN);
    ring.submit(Tag(1), Op::Read { file, offset: 0, buffer }).unwrap();
    assert!(ring.enter(None).unwrap());
    assert_eq!(ring.ring.completion().next().map(|entry| entry.result()), Some(-libc::EAGAIN));
    ring.complete(crate::in_flight::Token(1 << 32), -libc::EAGAIN).unwrap();
    assert_eq!(ring.in_flight(), 1, "not given back");
    end.write_all(&[0xcd; ALIGN]).unwrap();
    let mut done = Vec::new();
    ring.poll(&mut done, Wait::For(Duration::from_secs(120))).unwrap();
    assert_eq!(done[0].result.as_ref().ok(), Some(&ALIGN));
    assert!(done[0].buffer.as_ref().unwrap().iter().all(|&byte| byte == 0xcd));
}

#[test]
#[should_panic(expected = "no operation of a closed file is in flight")]
fn closing_a_file_in_flight_is_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut ring, file, mut end)) = ring_and_pipe(dir.path()) else {
        unreachable!("skipped: no operation of a closed file is in flight")
    };
    ring.submit(Tag(1), Op::Read { file, offset: 0, buffer: crate::buffer::IoBuf::zeroed(ALIGN) }).unwrap();
    end.write_all(&[1; ALIGN]).unwrap();
    ring.close(file);
}

#[test]
fn a_sync_is_never_begun_twice() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut ring, file, _end)) = ring_and_pipe(dir.path()) else { return };
    for errno in [libc::EAGAIN, libc::EINTR, libc::EIO] {
        let pending = admit(&ring.files, Tag(1), Op::Datasync { file }).unwrap();
        let token = ring.in_flight.insert(pending);
        ring.complete(token, -errno).unwrap();
        let done = ring.ready.pop().unwrap();
        assert_eq!(done.result.map_err(|e| e.raw_os_error()), Err(Some(errno)));
    }
    assert!(ring.ring.submission().is_empty());
}

#[test]
fn a_pool_is_registered_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut ring, ..)) = ring_and_pipe(dir.path()) else { return };
    let pools = [Pool::new(ALIGN, 1), Pool::new(ALIGN, 1)];
    for (slot, pool) in pools.iter().enumerate() {
        assert!(ring.register(pool) && ring.register(pool));
        assert_eq!(registered(&ring.pools, pool.slab().0).map(usize::from), Some(slot));
    }
    assert_eq!(ring.pools.len(), 2);
    assert!(!ring.register(&Pool::new(REGISTERED_SIZE_MAX + 1, 1)), "more than the kernel takes");
}

#[test]
fn a_wake_up_is_silenced() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut ring, ..)) = ring_and_pipe(dir.path()) else { return };
    assert!(ring.alarm.bell.doze());
    ring.alarm.ring();
    ring.poll(&mut Vec::new(), Wait::For(Duration::from_secs(120))).unwrap();
    let left = rustix::io::read(&ring.alarm.event, &mut [0_u8; 8]);
    assert_eq!(left, Err(rustix::io::Errno::AGAIN), "or every later wait would spin");
}

#[test]
fn closed_files_leave_their_slots() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut ring, ..)) = ring_and_pipe(dir.path()) else { return };
    let path = dir.path().join("file");
    let file = ring.open(&path, Open::Create).unwrap();
    ring.close(file);
    for _ in 0..2 * FILE_SLOTS {
        let file = ring.open(&path, Open::Read).unwrap();
        assert!(ring.files.get(file).unwrap().slot.is_some(), "a slot is free again");
        ring.close(file);
    }
}

#[test]
fn a_stale_completion_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut ring, ..)) = ring_and_pipe(dir.path()) else { return };
    assert!(ring.complete(crate::in_flight::Token(3), 0).is_err());
}

#[test]
fn a_dropped_ring_lets_go_of_its_files_at_once() {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let dir = tempfile::tempdir().unwrap();
    let Some((ring, file, end)) = ring_and_pipe(dir.path()) else { return };
    assert!(ring.files.get(file).unwrap().slot.is_some(), "the kernel holds it too");
    let mut options = File::options();
    let mut reader = options.read(true).custom_flags(libc::O_NONBLOCK).open(dir.path().join("pipe")).unwrap();
    drop((ring, end));
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "nobody has the other end any more");
}
