//! What went in comes out, byte for byte: directories, tar streams, and streams of every awkward length.

use std::fs;
use std::process::{Command, Stdio};

use gdd_tests::effort::{is_full, sized};
use gdd_tests::gdd::Gdd;
use gdd_tests::json::{list, number, text};
use gdd_tests::snapshot::Snapshot;
use gdd_tests::stream::{Content, Stream, digest};
use gdd_tests::tree::{self, Shape};
use gdd_tests::workspace::scratch;

const EXTENT_SIZE: u64 = 4 << 20;

fn store(name: &str) -> (tempfile::TempDir, Gdd) {
    let folder = scratch(name);
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init();
    (folder, gdd)
}

#[test]
fn a_directory_comes_back() {
    let (folder, gdd) = store("directory");
    let [source, target] = ["source", "target"].map(|name| folder.path().join(name));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&target).unwrap();
    let full = Shape { files: 5000, file_size_max: 800_000, sparse_size: 5 << 30, ..Shape::SMALL };
    tree::build(&source, 11, sized(Shape::SMALL, full)).unwrap();
    let put = gdd.put_path("tree", &source);
    assert!(number(&put, "bytes") > 4_000_000, "{put}");
    gdd.extract("tree", &target);
    let differences = Snapshot::of(&source).unwrap().differences(&Snapshot::of(&target).unwrap());
    assert_eq!(differences, Vec::<String>::new());
}

#[test]
fn a_tar_stream_comes_back() {
    let (folder, gdd) = store("tar");
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    tree::build(&source, 12, Shape::SMALL).unwrap();
    let tar = || {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--sort=name", "--directory"]).arg(&source).arg(".");
        let mut child = tar.stdout(Stdio::piped()).spawn().expect("tar starts");
        let output = child.stdout.take().expect("standard output is a pipe");
        (child, output)
    };
    let (mut first, output) = tar();
    let put = gdd.put("tar", output);
    assert!(first.wait().unwrap().success());
    let (mut second, output) = tar();
    let expected = digest(output).unwrap();
    assert!(second.wait().unwrap().success());
    assert_eq!(gdd.digest("tar"), (expected, number(&put, "bytes")));
}

#[test]
fn streams_of_every_length_come_back() {
    let (_folder, gdd) = store("lengths");
    let around = |length: u64| [length - 1, length, length + 1];
    let mut lengths = vec![0, 1, 2];
    for length in [4 << 10, 16 << 10, 64 << 10, EXTENT_SIZE] {
        lengths.extend(around(length));
    }
    lengths.extend([3 * EXTENT_SIZE + 1, 10 * EXTENT_SIZE - 1]);
    let streams: Vec<_> =
        lengths.iter().map(|&length| Stream::new(Content::Random, length, length)).collect();
    for stream in &streams {
        let put = gdd.put(&stream.length().to_string(), stream.clone());
        let counted = ["bytes", "new_bytes"].map(|field| number(&put, field));
        assert_eq!(counted, [stream.length(); 2], "{put}");
    }
    for stream in &streams {
        let name = stream.length().to_string();
        assert_eq!(gdd.digest(&name), (stream.digest(), stream.length()), "stream of {name} bytes");
    }
    let listed = gdd.json(&["ls"]);
    let mut names: Vec<_> = list(&listed, "streams").iter().map(|stream| text(stream, "name")).collect();
    let mut expected: Vec<_> = lengths.iter().map(u64::to_string).collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    gdd.expect(0, &["fsck"]);
}

#[test]
fn a_stream_longer_than_many_containers_comes_back() {
    let (_folder, gdd) = store("long");
    let length = sized(600 << 20, 5 << 30);
    let stream = Stream::new(Content::Repeats { percent: 50 }, 13, length + 12_345);
    let put = gdd.put("long", stream.clone());
    assert_eq!(number(&put, "bytes"), length + 12_345);
    assert_eq!(gdd.digest("long"), (stream.digest(), length + 12_345));
}

/// Only with `GDD_TEST_FULL=1`: everything that this machine has in /usr, compared by tar itself.
#[test]
fn this_machines_usr_comes_back() {
    if !is_full() {
        return;
    }
    let (_folder, gdd) = store("usr");
    gdd.put_path("usr", "/usr".as_ref());
    let mut tar = Command::new("tar");
    tar.args(["--compare", "--file=-", "--directory=/usr"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tar.spawn().expect("tar starts");
    gdd.get("usr", &mut child.stdin.take().expect("standard input is a pipe"));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
