//! The plugin as Bacula 13.0.3's file daemon would load it: it finds its way in that daemon's tables and packets, backs
//! up, gives back, and ends a job with the number that means "fatal" there.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use gdd_tests::bothsides::free_port;
use gdd_tests::client::product;
use gdd_tests::gdd::Gdd;
use gdd_tests::host13::{self, CORE, ERROR, FATAL, HOST_SIZE, INFO, Job, OK, Plugin, VERSION, said};
use gdd_tests::serving::Serving;
use gdd_tests::stream::{Content, Stream};
use gdd_tests::workspace::scratch;

fn has_said(said: &[(i32, String)], kind: i32, word: &str) -> bool {
    said.iter().any(|(had, text)| *had == kind && text.contains(word))
}

fn begin(plugin: Plugin, events: &[u32]) -> Job {
    let mut job = Job::new(plugin, "files.2026-01-31_23.59.59_07");
    for event in events {
        assert_eq!(job.tell(*event), OK, "event {event} of {:?}", job.name());
    }
    job
}

fn write(file: &Path, bytes: u64) {
    let mut stream = Stream::new(Content::Random, 13, bytes);
    std::io::copy(&mut stream, &mut fs::File::create(file).unwrap()).unwrap();
}

#[test]
fn the_plugin_works_in_the_interface_of_13() {
    // Tables that no release has are refused, and do not stand in the way of the right one.
    for (version, size) in [(VERSION, 144), (VERSION, 168), (21, HOST_SIZE), (24, HOST_SIZE)] {
        assert!(Plugin::load(&product(), version, size).is_err(), "{version} with {size} bytes");
    }
    let plugin = Plugin::load(&product(), VERSION, HOST_SIZE).unwrap();
    let folder = scratch("host13");
    let at = |name: &str| folder.path().join(name);
    let (socket, key, port) = (at("gdd.sock"), at("site.key"), free_port());
    let gdd = Gdd::at(&at("store")).with_flags(&["--socket", socket.to_str().unwrap()]);
    gdd.init();
    gdd.expect(0, &["key", "new", key.to_str().unwrap()]);
    let lines =
        format!("[net]\nlisten = [\"127.0.0.1:{port}\"]\n[net.domains.site]\nkey = \"{}\"\n", key.display());
    let daemon = Serving::configured(&gdd, folder.path(), &lines);
    let string = format!("gdd:server=127.0.0.1:{port}:key_file={}:patience=5", key.display());
    let (file, back) = (at("file"), at("back"));
    write(&file, 3_000_000);

    let mut job = begin(plugin, &[1, 12, 19, 3]);
    let volume = job.back_up(&file, &string).unwrap();
    assert!((1..200).contains(&volume.len()), "a reference has {} bytes", volume.len());
    assert_eq!(job.tell(4), OK, "{:?}", said());
    job.tell(2);
    drop(job);
    let heard = said();
    assert!(has_said(&heard, INFO, "gdd: 1 files, logical 3000000 B"), "{heard:?}");
    assert!(!heard.iter().any(|(kind, _)| *kind == FATAL), "{heard:?}");

    let mut job = begin(plugin, &[1, 5]);
    assert_eq!(job.restore(&file, &back, &string, &volume), Ok(3_000_000), "{:?}", said());
    assert_eq!(job.tell(6), OK);
    job.tell(2);
    drop(job);
    assert!(fs::read(&back).unwrap() == fs::read(&file).unwrap(), "other bytes came back");
    assert_eq!(host13::said(), [], "a good restore needs no words");

    an_update_is_left_to_core(plugin, &file, &string, &volume);

    // A job that was incomplete is not gone on with.
    let mut job = begin(plugin, &[1, 12, 19]);
    job.goes_on_after(19);
    assert_ne!(job.tell(3), OK);
    assert!(job.back_up(&file, &string).is_err());
    assert_ne!(job.tell(4), OK);
    drop(job);
    let heard = said();
    assert!(has_said(&heard, FATAL, "GDD-FD-0208"), "{heard:?}");

    daemon.kill();
    no_backup_without_the_daemon(plugin, &file, &string);
}

/// The update of an earlier job's file has no data: it is core's, and leaves the file's bytes alone.
fn an_update_is_left_to_core(plugin: Plugin, file: &Path, string: &str, volume: &[u8]) {
    let (mut job, apart) = (begin(plugin, &[1, 5]), file.with_file_name("apart"));
    assert_eq!(job.restore(file, &apart, string, volume), Ok(3_000_000), "{:?}", said());
    assert_eq!(job.restore_update(file, &apart, string), Ok([CORE, CORE]), "{:?}", said());
    assert_eq!(job.tell(6), OK);
    drop(job);
    assert!(fs::read(&apart).unwrap() == fs::read(file).unwrap(), "an update changed the bytes");
    assert_eq!(host13::said(), []);
}

/// Fatal, by this daemon's number; and where that goes nowhere and Bacula takes no notice of it, the job has failed all
/// the same.
fn no_backup_without_the_daemon(plugin: Plugin, file: &Path, string: &str) {
    for kind in [FATAL, ERROR] {
        let mut job = begin(plugin, &[1, 12, 19, 3]);
        assert!(job.back_up(file, string).is_err());
        assert_ne!(job.tell(4), OK, "the end of a job without a receipt");
        assert_eq!(job.status(), 'f');
        drop(job);
        let heard = said();
        assert!(has_said(&heard, kind, "GDD-FD-0101"), "{heard:?}");
        host13::hear_nothing_fatal();
    }
}
