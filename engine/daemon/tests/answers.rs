//! What each command answers, for people and for programs.

mod support;

use support::{Place, random};

#[test]
fn a_stream_goes_in_and_comes_out() {
    let place = Place::new();
    for len in [0, 1, 4095, 100_000, 5 << 20] {
        let (name, bytes) = (format!("stream-{len}"), random(len as u64, len));
        let put = place.put(&name, &bytes);
        assert_eq!(put["bytes"].as_u64(), Some(len as u64), "{put}");
        assert_eq!(place.ok(&["get", &name]).out, bytes, "{len}");
        place.ok(&["get", &name, "-o", "restored"]);
        assert_eq!(std::fs::read(place.join("restored")).unwrap(), bytes, "{len}");
    }
    assert_eq!(place.names().len(), 5);
}

#[test]
fn put_counts_what_is_new() {
    let place = Place::new();
    let bytes = random(7, 3_000_000);
    let first = place.put("first", &bytes);
    for field in
        ["name", "bytes", "new_bytes", "stored_bytes", "chunks", "new_chunks", "dedup_ratio", "seconds"]
    {
        assert!(!first[field].is_null(), "{field}: {first}");
    }
    assert_eq!(first["new_bytes"], 3_000_000);
    assert!(first["throughput_bytes_per_second"].as_f64().unwrap() > 0.0);
    let second = place.put("second", &bytes);
    assert_eq!((&second["new_bytes"], &second["new_chunks"]), (&0.into(), &0.into()), "{second}");
    assert_eq!(second["chunks"], first["chunks"]);
}

#[test]
fn the_tuner_says_what_it_does() {
    let place = Place::empty();
    assert_eq!(place.run(&["init", "store", "--tuner", "on"]).code, Some(0));
    assert!(place.ok(&["stats"]).text().contains("tuner        on\n"));
    assert_eq!(place.ok(&["stats", "--json"]).object()["settings"]["tuner"], true);
    let first = place.put("disk-1", b"one");
    assert_eq!((&first["lineage"], &first["chunk_size_avg"]), (&"disk".into(), &16384.into()), "{first}");
    assert!(first["chunk_size_switch"].is_null());
    assert!(first["chunk_size_why"].as_str().unwrap().starts_with("first of its lineage"), "{first}");
    let second = place.put("disk-2", b"two");
    assert!(second["chunk_size_why"].as_str().unwrap().starts_with("cut as its lineage was"), "{second}");
    std::fs::write(place.join("file"), b"three").unwrap();
    let third = place.ok(&["put", "disk-3", "file", "--lineage", "other", "--json"]).object();
    assert!(third["chunk_size_why"].as_str().unwrap().starts_with("first of its lineage"), "{third}");
    assert_eq!(place.run(&["put", "disk-4", "file", "--lineage", ""]).code, Some(2));
    let off = Place::new().put("disk-1", b"one");
    assert!(off["chunk_size_why"].as_str().unwrap().starts_with("the tuner is off"), "{off}");
}

#[test]
fn a_file_is_stored_as_it_is() {
    let place = Place::new();
    let bytes = random(8, 300_000);
    std::fs::write(place.join("file"), &bytes).unwrap();
    let said = place.ok(&["put", "name", "file"]);
    assert!(said.text().starts_with("stored name: 300,000 bytes"), "{said:?}");
    assert_eq!(place.ok(&["get", "name"]).out, bytes);
}

#[test]
fn a_directory_comes_back_through_tar() {
    let place = Place::new();
    let source = place.join("source");
    std::fs::create_dir_all(source.join("below")).unwrap();
    std::fs::write(source.join("below/file"), random(9, 200_000)).unwrap();
    std::fs::hard_link(source.join("below/file"), source.join("again")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    let put = place.ok(&["put", "tree", "source", "--json"]);
    let object = put.object();
    assert_eq!(object["tree"]["files"], 1, "{object}");
    assert_eq!(object["tree"]["hard_links"], 1, "{object}");
    assert!(put.err.contains("sockets left out: 1"), "{put:?}");
    place.ok(&["get", "tree", "-o", "tree.tar"]);
    std::fs::create_dir(place.join("restored")).unwrap();
    let mut tar = std::process::Command::new("tar");
    tar.arg("-xf").arg(place.join("tree.tar")).arg("-C").arg(place.join("restored"));
    assert!(tar.status().unwrap().success());
    for name in ["below/file", "again"] {
        let [one, other] = ["source", "restored"].map(|folder| place.join(folder).join(name));
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(other).unwrap(), "{name}");
    }
    assert_eq!(place.ok(&["put", "twice", "source", "--json"]).object()["new_bytes"], 0);
}

#[test]
fn the_store_in_the_tree_is_left_out() {
    let place = Place::new();
    std::fs::write(place.join("file"), b"content").unwrap();
    let put = place.ok(&["put", "all", ".", "--json"]);
    assert_eq!(put.object()["tree"]["store_left_out"], true, "{put:?}");
    assert!(put.object()["bytes"].as_u64().unwrap() < 10_000, "{put:?}");
}

#[test]
fn ls_rm_and_stats_tell_the_same_story() {
    let place = Place::new();
    assert_eq!(place.ok(&["ls"]).text(), "no streams\n");
    place.put("b", &random(1, 100_000));
    place.put("a", &random(2, 50_000));
    assert_eq!(place.names(), ["a", "b"]);
    let listed = place.ok(&["ls"]);
    assert!(listed.text().lines().nth(1).unwrap().starts_with("a "), "{listed:?}");
    let stats = place.ok(&["stats", "--json"]).object();
    assert_eq!((&stats["streams"], &stats["logical_bytes"]), (&2.into(), &150_000.into()), "{stats}");
    assert!(place.ok(&["stats"]).text().contains("4k/16k/64k"));
    let removed = place.ok(&["rm", "b", "--json"]).object();
    assert_eq!((&removed["name"], &removed["bytes"]), (&"b".into(), &100_000.into()));
    assert_eq!(place.names(), ["a"]);
    assert_eq!(place.run(&["get", "b"]).code, Some(1));
}

#[test]
fn the_index_is_made_anew() {
    let place = Place::new();
    let bytes = random(3, 2_000_000);
    place.put("name", &bytes);
    std::fs::remove_dir_all(place.store().join("index")).unwrap();
    let rebuilt = place.ok(&["rebuild-index", "--json"]).object();
    assert!(rebuilt["chunks"].as_u64().unwrap() > 50, "{rebuilt}");
    assert!(rebuilt["seconds_per_gigabyte"].as_f64().unwrap() > 0.0, "{rebuilt}");
    assert_eq!(place.ok(&["get", "name"]).out, bytes);
    assert!(place.ok(&["fsck"]).text().ends_with("clean\n"));
}

#[test]
fn the_option_wins_over_the_environment() {
    let (named, other) = (Place::new(), Place::new());
    named.put("here", b"bytes");
    let store = named.store().into_os_string();
    let listed = other.ok(&["ls".as_ref(), "--store".as_ref(), store.as_os_str()]);
    assert!(listed.text().contains("here"), "{listed:?}");
}

#[test]
fn every_way_to_the_disk_works_and_is_named() {
    let place = Place::new();
    for (mode, name) in [("pwrite", "pwrite+direct"), ("buffered", "pwrite+buffered")] {
        let bytes = random(name.len() as u64, 1_000_000);
        std::fs::write(place.join("file"), &bytes).unwrap();
        place.ok(&["put", mode, "file", "--io", mode, "--workers", "1", "--memory", "256m"]);
        assert_eq!(place.ok(&["get", mode, "--io", mode]).out, bytes);
        let found = place.ok(&["stats", "--json", "--io", mode]).object()["io_mode"].clone();
        let expected = [name, "pwrite+buffered"]; // The second where this disk knows no direct I/O.
        assert!(expected.iter().any(|expected| found == *expected), "{found}");
    }
}
