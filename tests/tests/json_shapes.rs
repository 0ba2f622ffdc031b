//! What programs read: every command's `--json` has the fields that were promised, and so has a failure.

use std::process::Command;

use gdd_tests::gdd::Gdd;
use gdd_tests::json::{at, list, number, text};
use gdd_tests::serving::Serving;
use gdd_tests::stream::{Content, Stream};
use gdd_tests::workspace::scratch;
use serde_json::{Deserializer, Value};

fn store() -> (tempfile::TempDir, Gdd) {
    let folder = scratch("json");
    let gdd = Gdd::at(&folder.path().join("store"));
    gdd.init();
    (folder, gdd)
}

#[test]
fn put_says_what_it_did() {
    let (_folder, gdd) = store();
    let stream = Stream::new(Content::Random, 1, 1_000_000);
    let put = gdd.put("a name", stream.clone());
    assert_eq!(text(&put, "name"), "a name");
    let counts = ["bytes", "new_bytes", "stored_bytes"].map(|field| number(&put, field));
    assert_eq!(counts, [1_000_000; 3]);
    assert_eq!(number(&put, "chunks"), number(&put, "new_chunks"));
    for field in ["dedup_ratio", "seconds", "throughput_bytes_per_second"] {
        assert!(at(&put, field).as_f64().is_some_and(|value| value > 0.0), "{field}: {put}");
    }
    let again = gdd.put("again", stream);
    let counts = ["new_bytes", "stored_bytes", "new_chunks"].map(|field| number(&again, field));
    assert_eq!(counts, [0; 3]);
}

#[test]
fn stats_say_what_the_store_holds() {
    let (_folder, gdd) = store();
    let stream = Stream::new(Content::Random, 1, 1_000_000);
    let put = gdd.put("first", stream.clone());
    gdd.put("second", stream);
    let stats = gdd.json(&["stats"]);
    assert_eq!(number(&stats, "streams"), 2);
    assert_eq!(number(&stats, "logical_bytes"), 2_000_000);
    assert_eq!(number(&stats, "unique_bytes"), 1_000_000);
    assert_eq!(number(&stats, "stored_bytes"), 1_000_000);
    assert_eq!(number(&stats, "chunks"), number(&put, "chunks"));
    assert!(number(&stats, "disk_bytes") > 1_000_000, "{stats}");
    assert!(number(&stats, "containers") >= 1, "{stats}");
    for field in ["hot_lookups", "cold_lookups", "index_lookups_saved", "false_positives"] {
        assert!(at(&stats, &format!("filter.{field}")).is_u64(), "{field}: {stats}");
    }
    assert!(!text(&stats, "io_mode").is_empty());
    let sizes = ["min", "avg", "max"].map(|part| number(&stats, &format!("chunk_size_{part}")));
    assert_eq!(sizes, [4096, 16_384, 65_536]);
}

#[test]
fn ls_lists_streams_by_name() {
    let (_folder, gdd) = store();
    for (seed, name) in [(1, "b"), (2, "a"), (3, "c")] {
        gdd.put(name, Stream::new(Content::Random, seed, seed * 1000));
    }
    gdd.expect(0, &["rm", "c"]);
    let listed = gdd.json(&["ls"]);
    let found: Vec<_> =
        list(&listed, "streams").iter().map(|one| (text(one, "name"), number(one, "bytes"))).collect();
    assert_eq!(found, [("a", 2000), ("b", 1000)]);
}

#[test]
fn fsck_reports() {
    let (_folder, gdd) = store();
    gdd.put("name", Stream::new(Content::Random, 1, 1_000_000));
    let report = gdd.json(&["fsck", "--level", "3"]);
    assert_eq!((at(&report, "clean"), number(&report, "level")), (&Value::Bool(true), 3));
    assert!(list(&report, "findings").is_empty() && list(&report, "streams_affected").is_empty());
    assert_eq!(number(&report, "streams"), 1);
    assert!(number(&report, "chunks") > 10 && number(&report, "bytes_read") > 1_000_000, "{report}");
    let containers = std::fs::read_dir(gdd.store().join("containers")).unwrap();
    containers.for_each(|entry| std::fs::remove_file(entry.unwrap().path()).unwrap());
    let damaged = gdd.expect(3, &["fsck", "--json"]).json();
    assert_eq!(at(&damaged, "clean"), &Value::Bool(false));
    let finding = &list(&damaged, "findings")[0];
    assert_eq!(text(finding, "severity"), "damage");
    assert!(text(finding, "file").contains("containers") && !text(finding, "what").is_empty(), "{finding}");
    assert_eq!(text(&list(&damaged, "streams_affected")[0], "name"), "name");
}

#[test]
fn status_says_how_the_daemon_is() {
    let folder = scratch("json");
    let socket = folder.path().join("gdd.sock");
    let gdd = Gdd::at(&folder.path().join("store")).with_flags(&["--socket", socket.to_str().unwrap()]);
    gdd.init();
    let serving = Serving::start(&gdd, folder.path());
    gdd.put("name", Stream::new(Content::Random, 1, 1_000_000));
    gdd.digest("name");
    gdd.digest("name");
    let status = gdd.json(&["status"]);
    assert_eq!((text(&status, "state"), number(&status, "requests")), ("ready", 1));
    assert_eq!(number(&status, "pid"), u64::from(serving.pid()));
    for field in ["uptime_seconds", "epoch", "stats.streams", "stats.chunks_suspect"] {
        assert!(at(&status, field).is_u64(), "{field}: {status}");
    }
    assert!(!text(&status, "io_mode").is_empty() && at(&status, "io_notes").is_array(), "{status}");
    // The second restore found everything in the cache.
    assert!(number(&status, "cache.hits") >= number(&status, "stats.chunks"), "{status}");
    assert!(number(&status, "cache.bytes") <= number(&status, "cache.capacity"), "{status}");
    assert!(number(&status, "services.storage.cache.capacity") > 0, "{status}");
    assert_eq!((at(&status, "tuner"), number(&status, "tuned.switched")), (&Value::Bool(false), 0));
    assert!(at(&status, "last_fsck").is_null(), "{status}");
    for work in ["vacuum", "scrub"] {
        for field in ["running", "last", "last_unix"] {
            assert!(at(&status, &format!("services.{work}.{field}")).is_null(), "{field}: {status}");
        }
        assert!(number(&status, &format!("services.{work}.every_seconds")) > 0, "{status}");
    }
    assert!(list(&status, "services.storage.sessions").is_empty(), "{status}");
    let people = gdd.expect(0, &["status"]).stdout;
    for line in ["cache        ", "tuner        off", "last fsck    not by this daemon", "filter       "] {
        assert!(people.contains(line), "{line:?}: {people}");
    }
    gdd.expect(0, &["fsck"]);
    assert_eq!(at(&gdd.json(&["status"]), "last_fsck.damaged"), &Value::Bool(false));
    serving.stop();
}

#[test]
fn a_failure_is_an_object_too() {
    let (_folder, gdd) = store();
    gdd.put("taken", &b"bytes"[..]);
    let cases: [(i32, &[&str]); 6] = [
        (1, &["get", "nobody", "-o", "/dev/null"]),
        (1, &["put", "taken", "/etc/hostname"]),
        (1, &["rm", "nobody"]),
        (1, &["ls", "--store", "/nonexistent"]),
        (2, &["put", "", "/etc/hostname"]),
        (2, &["fsck", "--level", "9"]),
    ];
    for (code, command) in cases {
        let outcome = gdd.expect(code, &[command, &["--json"]].concat());
        let values: Vec<Value> =
            Deserializer::from_str(&outcome.stdout).into_iter().collect::<Result<_, _>>().unwrap();
        assert_eq!(values.len(), 1, "{command:?}: exactly one object: {}", outcome.stdout);
        assert!(!text(&values[0], "error").is_empty(), "{command:?}");
        assert_eq!(number(&values[0], "code"), u64::try_from(code).unwrap(), "{command:?}");
        assert!(!outcome.stderr.is_empty(), "{command:?}: people are told too");
    }
}

#[test]
fn a_get_with_json_keeps_the_stream_apart_from_the_object() {
    let (folder, gdd) = store();
    gdd.put("name", &b"bytes"[..]);
    let target = folder.path().join("target");
    let got = gdd.json(&["get", "name", "-o", target.to_str().unwrap()]);
    assert_eq!(number(&got, "bytes"), 5);
    assert_eq!(std::fs::read(target).unwrap(), b"bytes");
}

#[test]
fn status_says_how_long_stages_take() {
    let (folder, gdd) = store();
    let serving = Serving::start(&gdd, folder.path());
    let client = gdd.with_env("GDD_SOCKET", serving.socket().to_str().unwrap());
    client.put("name", Stream::new(Content::Random, 1, 9_000_000));
    let status = client.json(&["status"]);
    let stages = list(&status, "stages_ns");
    let names: Vec<_> = stages.iter().map(|stage| text(stage, "stage")).collect();
    let expected = [
        "ring_wait",
        "ring_held",
        "stream_wait",
        "cut_hash",
        "filter",
        "index",
        "append",
        "write",
        "sync",
        "commit",
        "recall_cache_hit",
        "recall_read_ahead",
        "recall_cold",
    ];
    assert_eq!(names, expected, "programs know them by these names");
    for stage in stages {
        assert!(!text(stage, "of").is_empty() && at(stage, "mean").is_f64(), "{stage}");
        let fields = ["p50", "p90", "p99", "p999", "max"].map(|field| number(stage, field));
        assert!(fields.is_sorted(), "{stage}");
        assert!(number(stage, "sum") >= fields[0] || number(stage, "count") == 0, "{stage}");
    }
    for (stage, least) in [("cut_hash", 3), ("filter", 1), ("append", 1), ("sync", 1), ("commit", 1)] {
        let found = stages.iter().find(|found| text(found, "stage") == stage).unwrap();
        assert!(number(found, "count") >= least, "{found}");
    }
    assert_eq!(list(&status, "recall_ns").len(), 3);
    assert_eq!(number(&status, "command_line.done.logical_bytes"), 9_000_000);
    assert!(number(&status, "resident_bytes") > 1_000_000);
    for field in ["receipts", "logical_bytes", "wire_bytes", "new_bytes", "stored_bytes", "bytes_back"] {
        assert_eq!(number(&status, &format!("services.storage.done.{field}")), 0);
    }
    let metrics = client.json(&["status", "--prometheus"]);
    assert!(text(&metrics, "metrics").contains("# TYPE gdd_stage_seconds histogram\n"), "{metrics}");
    assert!(text(&metrics, "content_type").starts_with("text/plain"));
}

#[test]
fn the_version_is_told() {
    let mut command = Gdd::at("/nonexistent".as_ref()).command();
    let output = Command::output(command.arg("--version")).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.starts_with("gdd "), "{said}");
}
