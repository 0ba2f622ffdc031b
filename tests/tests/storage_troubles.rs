//! Everything that can be wrong around a job: each ends it in error, with a stable id and the remedy in Bacula's job
//! log, and when the remedy was followed the same job runs.
//!
//! What is wrong is real: the daemon is not there, the kernel refuses the socket or the memory, the disk is full or
//! turned read-only. Restores that fail leave nothing made up: no file that is empty or zero-filled.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::thread;

use gdd_rig::{Builder, Daemon, Device, JobResult, Level, Pool, Release, Rig};
use gdd_tests::bacula::{DEVICE, POOL, Site, VOLUME, assert_failed, assert_restored};
use gdd_tests::damage::files;
use gdd_tests::denied::without_shared_memory;
use gdd_tests::random::Random;
use gdd_tests::serving::Serving;
use gdd_tests::small_disk::SmallDisk;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    listen, recv, send, shutdown, socket_with,
};

/// The user `nobody`, who owns nothing here.
const NOBODY: u32 = 65_534;
const MIB: usize = 1 << 20;

/// `files` files of 1 MiB, none like another.
fn tree(site: &Site, seed: u64, files: usize) -> std::path::PathBuf {
    let root = site.folder().join(format!("source-{seed}"));
    fs::create_dir(&root).unwrap();
    let mut random = Random::new(seed);
    let mut bytes = vec![0; MIB];
    for file in 0..files {
        random.fill(&mut bytes);
        fs::write(root.join(format!("{file:03}")), &bytes).unwrap();
    }
    root
}

/// A full backup that must fail with all of `words` in its log.
fn fails(rig: &Rig, words: &[&str]) -> JobResult {
    let failed = rig.run("tree", Level::Full).unwrap();
    println!("{}", lines_of(&failed));
    assert_failed(&failed, words);
    failed
}

/// What the driver told a job.
fn lines_of(job: &JobResult) -> String {
    job.log.lines().filter(|line| line.contains("GDD-")).collect::<Vec<_>>().join("\n")
}

/// A full backup, and its restore, that must end well.
fn succeeds(rig: &Rig, source: &Path) -> JobResult {
    let job = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    assert_restored(rig, &[&job], source);
    job
}

/// A restore that must fail with all of `words` in its log, and make nothing up.
fn restore_fails(rig: &Rig, job: &JobResult, source: &Path, words: &[&str]) {
    let back = rig.restore(&[job.id]).unwrap();
    println!("{}", lines_of(&back.result));
    assert_failed(&back.result, words);
    let folder = back.path(source);
    let Ok(files) = fs::read_dir(&folder) else { return }; // Nothing at all came back.
    for file in files.map(Result::unwrap) {
        let (found, expected) =
            (fs::read(file.path()).unwrap(), fs::read(source.join(file.file_name())).unwrap());
        assert!(!found.is_empty() && expected.starts_with(&found), "{} was made up", file.path().display());
    }
}

fn start(builder: Builder, source: &Path) -> Rig {
    builder.backup("tree", source).start().unwrap()
}

fn an_absent_daemon(release: Release) {
    let Some(mut site) = Site::without_daemon(release) else { return };
    site.gdd.init();
    let source = tree(&site, 1, 3);
    let rig = start(site.bacula(), &source);
    let words = ["[GDD-SD-0003]", "no gdd daemon at", "systemctl start gdd"];
    fails(&rig, &words);
    site.serve();
    let good = succeeds(&rig, &source);
    site.daemon().stop();
    restore_fails(&rig, &good, &source, &words);
    fails(&rig, &words);
    site.serve();
    assert_restored(&rig, &[&good], &source);
    succeeds(&rig, &source);
    site.stop_and_check();
}

#[test]
fn an_absent_daemon_is_told_on_bacula_9() {
    an_absent_daemon(Release::V9);
}

#[test]
fn an_absent_daemon_is_told_on_bacula_15() {
    an_absent_daemon(Release::V15);
}

#[test]
fn another_store_gives_nothing_back_and_takes_new_jobs() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let (source, other) = (tree(&site, 2, 3), tree(&site, 20, 3));
    let rig = start(site.bacula().backup("other", &other), &source);
    let good = succeeds(&rig, &source);
    site.daemon().stop();
    let (store, kept) = (site.folder().join("store"), site.folder().join("kept"));
    fs::rename(&store, &kept).unwrap();
    site.gdd.init();
    site.serve();
    let words = ["[GDD-SD-0116]", "belongs to store", "start gdd on that store"];
    restore_fails(&rig, &good, &source, &words);
    // What comes new is whole. Streams have the same numbers in both stores, and are not taken for each other. It goes
    // to a volume of its own, because Bacula reads one block further than a job goes.
    rig.update(&format!("volume={VOLUME} volstatus=Used")).unwrap();
    let new = rig.run("other", Level::Full).unwrap().demand_ok().unwrap();
    assert_restored(&rig, &[&new], &other);
    restore_fails(&rig, &good, &source, &words);
    site.daemon().stop();
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&kept, &store).unwrap();
    site.serve();
    restore_fails(&rig, &new, &other, &words);
    assert_restored(&rig, &[&good], &source);
    let [volume] = &new.volumes[..] else { unreachable!("one volume: {new:?}") };
    rig.update(&format!("volume={volume} volstatus=Used")).unwrap();
    succeeds(&rig, &source);
    site.stop_and_check();
}

#[test]
fn a_wrong_configuration_of_the_driver_is_told() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let source = tree(&site, 14, 3);
    let configuration = site.folder().join("plugin.toml");
    fs::write(&configuration, "# where gdd is\nsokcet = \"/run/gdd/gdd.sock\"\n").unwrap();
    let path = configuration.to_str().unwrap();
    let rig = start(site.bacula().env(Daemon::Storage, "GDD_PLUGIN_CONFIG", path), &source);
    fails(&rig, &["[GDD-SD-0002]", "plugin.toml: line 2", "sokcet", "correct the file", "restart bacula-sd"]);
    fs::write(&configuration, "socket = \"/run/gdd/gdd.sock\"\n").unwrap();
    rig.restart(Daemon::Storage).unwrap();
    succeeds(&rig, &source); // The environment names the socket of this rig.
    site.stop_and_check();
}

/// The file alone says where the daemon is: what every site has, and tests replace by the environment.
#[test]
fn the_configuration_of_the_driver_names_the_daemon() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let source = tree(&site, 16, 3);
    let configuration = site.folder().join("plugin.toml");
    let socket = site.folder().join("gdd.sock");
    let path = configuration.to_str().unwrap();
    let builder = site.bacula().env(Daemon::Storage, "GDD_SOCKET", "");
    let rig = start(builder.env(Daemon::Storage, "GDD_PLUGIN_CONFIG", path), &source);
    fs::write(&configuration, "socket = \"/nonexistent/gdd.sock\"\n").unwrap();
    rig.restart(Daemon::Storage).unwrap();
    fails(&rig, &["[GDD-SD-0003]", "/nonexistent/gdd.sock", "correct `socket` in plugin.toml"]);
    fs::write(&configuration, format!("socket = \"{}\"\n", socket.display())).unwrap();
    rig.restart(Daemon::Storage).unwrap();
    succeeds(&rig, &source);
    site.stop_and_check();
}

/// The daemon is stopped as systemd stops it, in the middle of a job: the job is told, nothing has to be cut off, and
/// the store is closed as if nobody had been there.
#[test]
fn a_daemon_that_is_stopped_within_a_job_ends_well_and_says_so() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let source = tree(&site, 15, 40);
    let builder = site.bacula().line(Daemon::File(0), "Maximum Bandwidth Per Job = 8 mb/s");
    let rig = start(builder, &source);
    let id = rig.submit("tree", Level::Full).unwrap();
    rig.wait_for("bytes in the daemon", || Ok(site.bytes_in() > 4 << 20)).unwrap();
    assert_eq!(rig.job_status(id).unwrap(), 'R', "it is in the middle");
    let log = site.serving().log_file().to_owned();
    site.daemon().stop(); // Demands exit code 0.
    let failed = rig.wait(id).unwrap();
    assert_failed(&failed, &["[GDD-SD-0027]", "the gdd daemon was stopped", "start it again"]);
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains("the store is closed cleanly") && !said.contains("in time"), "{said}");
    let checked = site.gdd.expect(0, &["fsck"]);
    assert!(checked.stdout.ends_with(": clean\n"), "{checked:?}");
    fs::remove_file(&log).unwrap();
    site.serve();
    let said = fs::read_to_string(&log).unwrap();
    assert!(!said.contains("not closed cleanly"), "no recovery was needed: {said}");
    succeeds(&rig, &source);
    site.stop_and_check();
}

/// A driver for other Baculas than this one, made from ours by other version numbers in its list.
fn driver_for_others(site: &Site) {
    let drivers = site.folder().join("drivers");
    let [driver] = &files(&drivers).unwrap()[..] else { unreachable!("one driver: {}", drivers.display()) };
    let mut bytes = fs::read(driver).unwrap();
    // Also where the compiler has made a comparison with a number of it.
    let (mut patched, version) = (0, b"9.6.");
    for at in 0..bytes.len() - version.len() {
        if bytes[at..].starts_with(version) {
            bytes[at..at + version.len()].copy_from_slice(b"9.4.");
            patched += 1;
        }
    }
    assert!(patched > 0, "the driver knows this version");
    fs::write(driver, bytes).unwrap();
}

#[test]
fn a_driver_for_another_bacula_is_told() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let source = tree(&site, 17, 3);
    let good = site.bacula();
    let whole = fs::read(&files(&site.folder().join("drivers")).unwrap()[0]).unwrap();
    driver_for_others(&site);
    let rig = start(good, &source);
    fails(&rig, &["[GDD-ABI-0005]", "Bacula 9.6.7 is not known", "install a gdd for it"]);
    fs::write(&files(&site.folder().join("drivers")).unwrap()[0], whole).unwrap();
    rig.restart(Daemon::Storage).unwrap();
    succeeds(&rig, &source);
    site.stop_and_check();
}

/// One bit of `wanted`, wherever the store has it, becomes another.
fn spoil(store: &Path, wanted: &[u8]) {
    for path in files(&store.join("containers")).unwrap() {
        let mut bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(wanted.len()).position(|found| found == wanted) {
            bytes[at] ^= 1;
            return fs::write(&path, bytes).unwrap();
        }
    }
    unreachable!("the store has these bytes");
}

#[test]
fn a_damaged_store_is_told_and_makes_nothing_up() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let (source, other) = (tree(&site, 12, 3), tree(&site, 13, 3));
    let rig = start(site.bacula().backup("other", &other), &source);
    let good = succeeds(&rig, &source);
    site.daemon().stop();
    let file = fs::read(source.join("001")).unwrap();
    spoil(&site.folder().join("store"), &file[MIB / 2..MIB / 2 + 100]);
    site.serve();
    restore_fails(&rig, &good, &source, &["[GDD-SD-0033]", "gdd fsck", "from another job"]);
    // Data that have nothing to do with it are stored and given back as before.
    let new = rig.run("other", Level::Full).unwrap().demand_ok().unwrap();
    assert_restored(&rig, &[&new], &other);
    // What could not be given back does not count as known: the next backup heals it, for the old job as well.
    assert_eq!(site.stat("chunks_suspect"), 1);
    let again = succeeds(&rig, &source);
    assert_restored(&rig, &[&again], &source);
    assert_restored(&rig, &[&good], &source);
    assert_eq!(site.stat("chunks_suspect"), 0);
    site.daemon().stop();
    site.gdd.expect(3, &["fsck"]);
}

#[test]
fn a_socket_that_may_not_be_opened_is_told() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let source = tree(&site, 3, 3);
    // Root is kept out by no mode, but without these capabilities it is a user like others.
    let builder =
        site.bacula().privileges(Daemon::Storage, &["--bounding-set=-dac_override,-dac_read_search"]);
    let rig = start(builder, &source);
    let socket = site.folder().join("gdd.sock.plugin");
    chown(&socket, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    fails(&rig, &["[GDD-SD-0004]", "Permission denied", "let bacula-sd's user open the socket"]);
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    succeeds(&rig, &source);
    site.stop_and_check();
}

#[test]
fn a_user_that_the_daemon_does_not_serve_is_told() {
    let Some(mut site) = Site::new(Release::V9) else { return };
    let source = tree(&site, 4, 3);
    // It can read and write the rig's files as root does, and is another user to the daemon.
    let capabilities = "+dac_override,+dac_read_search,+fowner,+chown";
    let words = [
        format!("--reuid={NOBODY}"),
        format!("--inh-caps={capabilities}"),
        format!("--ambient-caps={capabilities}"),
    ];
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let rig = start(site.bacula().privileges(Daemon::Storage, &words), &source);
    fails(&rig, &["[GDD-SD-0032]", "does not serve user 65534", "name it in `users` of gdd.toml"]);
    site.daemon().stop();
    let serving = Serving::configured(&site.gdd, site.folder(), "users = [\"nobody\"]\n");
    site.adopt(serving);
    succeeds(&rig, &source);
    site.stop_and_check();
}

#[test]
fn a_daemon_that_may_make_no_shared_memory_is_told() {
    let Some(mut site) = Site::without_daemon(Release::V9) else { return };
    site.gdd.init();
    let source = tree(&site, 5, 3);
    let rig = start(site.bacula(), &source);
    let denied = without_shared_memory(|| Serving::start(&site.gdd, site.folder()));
    site.adopt(denied);
    fails(&rig, &["[GDD-SD-0031]", "cannot make shared memory", "Operation not permitted", "memfd_create"]);
    site.daemon().stop();
    site.serve();
    succeeds(&rig, &source);
    site.stop_and_check();
}

/// Listens as a daemon of another version does, until `body` has ended: it takes everyone in, in words of its own.
fn with_daemon_of_version(version: u32, socket: &Path, body: impl FnOnce()) {
    let listener =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(socket).unwrap()).unwrap();
    listen(&listener, 8).unwrap();
    let welcome =
        [&b"gddWELCM"[..], &version.to_le_bytes(), b"something that a later version may add"].concat();
    thread::scope(|scope| {
        scope.spawn(|| {
            while let Ok(peer) = accept(&listener) {
                recv(&peer, &mut [0; 4096], RecvFlags::empty()).unwrap();
                send(&peer, &welcome, SendFlags::NOSIGNAL).unwrap();
                // It ends when the driver does.
                recv(&peer, &mut [0; 1], RecvFlags::empty()).unwrap();
            }
        });
        body();
        shutdown(&listener, Shutdown::Both).unwrap();
    });
    fs::remove_file(socket).unwrap();
}

#[test]
fn a_daemon_of_another_version_is_told() {
    let Some(mut site) = Site::without_daemon(Release::V9) else { return };
    site.gdd.init();
    let source = tree(&site, 10, 3);
    let rig = start(site.bacula(), &source);
    let socket = site.folder().join("gdd.sock.plugin");
    with_daemon_of_version(3, &socket, || {
        let words = ["[GDD-SD-0028]", "speaks version 3, this driver 2", "driver and daemon of one release"];
        fails(&rig, &words);
    });
    site.serve();
    succeeds(&rig, &source);
    site.stop_and_check();
}

/// A disk with little room behind a ballast file.
fn disk(mebibytes: u64, ballast: usize) -> Option<SmallDisk> {
    match SmallDisk::new(mebibytes) {
        Ok(disk) => {
            fs::write(disk.root().join("ballast"), vec![7; ballast]).unwrap();
            Some(disk)
        }
        Err(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

/// `is_read`: the volume is read before the trouble is mended, so that Bacula opens it anew to write.
fn a_full_store(release: Release, is_read: bool) {
    let Some(disk) = disk(500, 340 * MIB) else { return };
    let Some(mut site) = Site::with_store(release, &disk.root().join("store")) else { return };
    site.gdd.init_with(&["--container-size", "8m"]);
    site.serve();
    let (large, small) = (tree(&site, 6, 180), tree(&site, 7, 3));
    let rig = site.bacula().backup("tree", &large).backup("small", &small).start().unwrap();
    let before = rig.run("small", Level::Full).unwrap().demand_ok().unwrap();
    let words =
        ["[GDD-SD-0022]", "No space left on device", "free space in the store's file system", "restart gdd"];
    fails(&rig, &words);
    // Until it is restarted the store takes nothing, and says the same; it gives back what it has.
    assert_failed(&rig.run("small", Level::Full).unwrap(), &words);
    if is_read {
        assert_restored(&rig, &[&before], &small);
    }
    site.daemon().kill(); // As it stopped accepting data, there is nothing that it could close well.
    fs::remove_file(disk.root().join("ballast")).unwrap();
    site.serve();
    let after = succeeds(&rig, &large);
    println!("{}", lines_of(&after));
    let listed = rig.bls(DEVICE, VOLUME, &["-j"]).unwrap().all();
    for job in [&before, &after] {
        let end = format!("End Job Session Record: File:blk=0:0 SessId={}", job.id);
        assert!(listed.contains(&end), "the whole volume can be read\n{listed}");
    }
    assert_restored(&rig, &[&before], &small);
    site.stop_and_check();
}

#[test]
fn a_full_store_is_told_and_mended_on_bacula_9() {
    a_full_store(Release::V9, true);
}

#[test]
fn a_full_store_is_told_and_mended_on_bacula_15() {
    a_full_store(Release::V15, false);
}

#[test]
fn a_store_that_turns_read_only_is_told_and_mended() {
    let Some(disk) = disk(400, MIB) else { return };
    let Some(mut site) = Site::with_store(Release::V9, &disk.root().join("store")) else { return };
    site.gdd.init_with(&["--container-size", "8m"]);
    site.serve();
    let source = tree(&site, 8, 30);
    let rig = start(site.bacula(), &source);
    disk.break_down().unwrap();
    fails(&rig, &["[GDD-SD-0023]", "mount the store's file system for writing", "restart gdd"]);
    site.daemon().kill();
    disk.mount_again().unwrap();
    site.serve();
    succeeds(&rig, &source);
    site.stop_and_check();
}

#[test]
fn a_full_disk_of_volumes_is_told_and_mended() {
    let Some(disk) = disk(64, MIB) else { return };
    let Some(mut site) = Site::new(Release::V9) else { return };
    let source = tree(&site, 9, 20);
    let device = Device::new(DEVICE, "Cloud").archive(disk.root());
    let builder = site.bacula_with(device, Pool::new(POOL, DEVICE).label_format("Dedup-"));
    let rig = start(builder, &source);
    let good = succeeds(&rig, &source);
    let filler = disk.root().join("filler");
    std::io::copy(&mut std::io::repeat(7), &mut fs::File::create(&filler).unwrap()).expect_err("it is full");
    fails(&rig, &["[GDD-SD-0101]", "No space left on device", "free space"]);
    fs::remove_file(&filler).unwrap();
    assert_restored(&rig, &[&good], &source);
    succeeds(&rig, &source);
    site.stop_and_check();
}
