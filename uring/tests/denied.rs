//! Machines that deny what the ring needs: each in a child process, since such a denial cannot be taken back.
#![expect(unsafe_code, reason = "installs a seccomp filter and ignores a signal")]

use std::path::Path;
use std::process::Command;

use gdd_uring::buffer::{ALIGN, IoBuf, Pool};
use gdd_uring::conformance::check;
use gdd_uring::io::{Io, Op, Open, run};
use gdd_uring::probe::{Mode, probe};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

const CHILD: &str = "GDD_URING_CHILD";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build folder is writable")
}

/// Run `body` in a process of its own: this program again, with only the test of this name.
fn in_child(name: &str, body: impl FnOnce(&Path)) {
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        let dir = folder();
        return body(dir.path());
    }
    let output = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .output()
        .expect("this program can be run");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Make `io_uring_setup` fail with `errno` in this thread and those it starts.
fn deny_io_uring(errno: i32) {
    let code = |bits: u32| u16::try_from(bits).expect("a code has 16 bits");
    let statement = |bits, k| libc::sock_filter { code: code(bits), jt: 0, jf: 0, k };
    let number = u32::try_from(libc::SYS_io_uring_setup).expect("system calls have small numbers");
    let refusal = libc::SECCOMP_RET_ERRNO | errno.cast_unsigned();
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0), // The system call's number.
        libc::sock_filter {
            code: code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K),
            jt: 0,
            jf: 1,
            k: number,
        },
        statement(libc::BPF_RET | libc::BPF_K, refusal),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: the program points to a filter of the stated length, and the kernel copies both before it returns.
    let installed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    assert!(installed, "{}", std::io::Error::last_os_error());
}

fn falls_back_under_seccomp(dir: &Path, errno: i32) {
    let direct = probe(dir, Mode::Pwrite, false).expect("a probe of our folder works").mode().to_owned();
    deny_io_uring(errno);
    let source = probe(dir, Mode::Auto, false).expect("a denial is no error");
    assert_eq!(source.mode(), direct, "the next level is used");
    if direct == "pwrite+direct" {
        let notes = source.notes().join("\n");
        assert!(notes.contains("seccomp") && notes.contains("pwrite+direct"), "{notes}");
        let demanded = probe(dir, Mode::Uring, false).err().expect("io_uring is denied").to_string();
        assert!(demanded.contains("seccomp"), "{demanded}");
    }
    check(&*source, dir);
}

#[test]
fn seccomp_that_forbids() {
    in_child("seccomp_that_forbids", |dir| falls_back_under_seccomp(dir, libc::EPERM));
}

#[test]
fn seccomp_that_poses_as_an_old_kernel() {
    in_child("seccomp_that_poses_as_an_old_kernel", |dir| falls_back_under_seccomp(dir, libc::ENOSYS));
}

/// Give up the capability that lifts the limit, then set the limit.
fn lock_at_most(bytes: u64) {
    let mut sets = capabilities(None).expect("we may look at ourselves");
    sets.effective.remove(CapabilitySet::IPC_LOCK);
    sets.permitted.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, sets).expect("less is allowed");
    setrlimit(Resource::Memlock, Rlimit { current: Some(bytes), maximum: Some(bytes) })
        .expect("less is allowed");
}

#[test]
fn no_locked_memory_at_all() {
    in_child("no_locked_memory_at_all", |dir| {
        lock_at_most(0);
        let source = probe(dir, Mode::Auto, false).unwrap();
        check(&*source, dir);
        if source.mode() != "pwrite+buffered" {
            let notes = source.notes().join("\n");
            assert!(notes.contains("RLIMIT_MEMLOCK is 0 bytes"), "{} {notes}", source.mode());
        }
    });
}

#[test]
fn memory_beyond_the_limit_is_used_unregistered() {
    in_child("memory_beyond_the_limit_is_used_unregistered", |dir| {
        lock_at_most(1 << 20);
        let source = probe(dir, Mode::Auto, false).unwrap();
        if source.mode() != "uring+direct" {
            return eprintln!("skipped: {:?}", source.notes());
        }
        let mut io = source.open().unwrap();
        let pool = Pool::new(8 << 20, 1);
        assert!(!io.register(&pool), "8 MiB do not fit under 1 MiB");
        let notes = source.notes().join("\n");
        assert!(notes.contains("RLIMIT_MEMLOCK is 1048576 bytes"), "{notes}");
        let file = io.open(&dir.join("file"), Open::Create).unwrap();
        let write = Op::Write { file, offset: 0, buffer: pool.take().unwrap() };
        assert_eq!(run(io.as_mut(), write).unwrap().0, 8 << 20, "the operation works all the same");
    });
}

/// A limit on file size cuts a write short in the middle: the rest is tried, and its error is the operation's.
fn short_write(io: &mut dyn Io, dir: &Path) {
    let file = io.open(&dir.join("file"), Open::Create).expect("a new file can be created");
    let mut buffer = IoBuf::zeroed(8 * ALIGN);
    buffer.fill(7);
    let mut done = Vec::new();
    io.submit(gdd_uring::io::Tag(1), Op::Write { file, offset: 0, buffer }).expect("there is room");
    while done.is_empty() {
        io.poll(&mut done, gdd_uring::io::Wait::For(std::time::Duration::from_secs(120)))
            .expect("the ring works");
    }
    let one = done.remove(0);
    assert_eq!(one.result.map_err(|e| e.raw_os_error()), Err(Some(libc::EFBIG)));
    assert_eq!(one.buffer.map(|buffer| buffer.len()), Some(8 * ALIGN));
    assert_eq!(io.size(file).expect("the file is open"), 3 * ALIGN as u64, "the first part was written");
    io.close(file);
    io.unlink(&dir.join("file")).expect("the file exists");
}

#[test]
fn short_writes_are_continued() {
    in_child("short_writes_are_continued", |dir| {
        let sources = [Mode::Auto, Mode::Pwrite, Mode::Buffered].map(|mode| probe(dir, mode, false).unwrap());
        // SAFETY: ignoring a signal installs no handler.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        let limit = Some(3 * ALIGN as u64);
        setrlimit(Resource::Fsize, Rlimit { current: limit, maximum: limit }).unwrap();
        for source in sources {
            short_write(source.open().unwrap().as_mut(), dir);
        }
    });
}
