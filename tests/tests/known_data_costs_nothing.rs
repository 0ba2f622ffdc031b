//! Data that the store has is not stored again, and an insertion moves one cut, not all.

use std::fs;
use std::io::Read;

use gdd_tests::effort::sized;
use gdd_tests::gdd::Gdd;
use gdd_tests::json::number;
use gdd_tests::stream::{Content, Stream};
use gdd_tests::tree::{self, Shape};
use gdd_tests::workspace::scratch;

#[test]
fn an_unchanged_directory_is_stored_once() {
    let folder = scratch("again");
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    tree::build(&source, 21, Shape { files: 200, ..Shape::SMALL }).unwrap();
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init();
    let first = gdd.put_path("first", &source);
    let again = gdd.put_path("again", &source);
    assert_eq!(number(&again, "bytes"), number(&first, "bytes"));
    assert_eq!(number(&again, "chunks"), number(&first, "chunks"));
    assert!(number(&again, "new_bytes") * 1000 < number(&again, "bytes"), "{again}");
    assert_eq!(gdd.digest("again"), gdd.digest("first"));
}

#[test]
fn a_byte_in_front_makes_two_new_chunks_at_most() {
    let folder = scratch("insertion");
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init();
    let stream = Stream::new(Content::Random, 22, sized(64 << 20, 1 << 30));
    gdd.put("before", stream.clone());
    let put = gdd.put("after", (&b"!"[..]).chain(stream.clone()));
    assert_eq!(number(&put, "bytes"), stream.length() + 1);
    assert!((1..=2).contains(&number(&put, "new_chunks")), "{put}");
    let mut expected = blake3::Hasher::new();
    expected.update(b"!").update_reader(stream).unwrap();
    assert_eq!(gdd.digest("after").0, expected.finalize());
}
