//! The benches, small, so that they never rot: they run, and every figure stands beside its ceiling.

mod support;

use serde_json::Value;
use support::{Place, list};

fn rate(value: &Value) -> f64 {
    let rate = value["median"].as_f64().unwrap_or_default();
    assert!(rate > 0.0, "{value}");
    rate
}

#[test]
fn ingest_shows_ceilings() {
    let place = Place::empty();
    let words = ["bench", "ingest", "--bytes", "16m", "--runs", "1", "--streams", "2", "--json"];
    let object = place.ok(&words).object();
    for field in ["new_one", "known_one", "new_many", "known_many", "device_write", "cut_and_hash_per_core"] {
        rate(&object["bytes_per_second"][field]);
    }
    assert!(object["ceiling_new"].as_f64().unwrap() > 0.0 && object["hardware"]["commit"].is_string());
    assert!(list(&place.join("")).is_empty(), "scratch files are removed");
}

#[test]
fn recall_shows_percentiles_and_draws_them() {
    let place = Place::new();
    let mut words = vec!["bench", "recall", "--bytes", "16m", "--sizes", "64k,1m", "--json"];
    words.extend(["--hgrm", "curves", "--svg", "curves.svg"]);
    let object = place.ok(&words).object();
    let sizes = object["sizes"].as_array().unwrap();
    assert_eq!(sizes.len(), 2);
    for size in sizes {
        let kinds = [
            "cache hit, copied",
            "cache hit, borrowed",
            "cold",
            "cold, BLAKE3",
            "raw read",
            "raw read, 8 pieces",
        ];
        for kind in kinds {
            let found = &size["microseconds"][kind];
            assert!(
                found["p50"].as_f64() <= found["p99"].as_f64() && found["count"].as_u64() > Some(100),
                "{size}"
            );
        }
        rate(&size["restore_bytes_per_second"]);
        rate(&size["raw_bytes_per_second"]);
    }
    assert_eq!(list(&place.join("curves")).len(), 20);
    assert!(std::fs::read_to_string(place.join("curves.svg")).unwrap().starts_with("<svg"));
    assert_eq!(list(&place.join("")), ["curves", "curves.svg", "store"], "the store itself is left alone");
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn stages_and_io_run() {
    let place = Place::empty();
    let object = place.ok(&["bench", "stages", "--bytes", "8m", "--runs", "1", "--json"]).object();
    let stages = object["stages"].as_object().unwrap();
    assert!(stages.len() >= 11, "{object}");
    rate(&stages["cut and hash, fused"]["bytes_per_second"]);
    rate(&stages["index: look up, known"]["chunks_per_second"]);
    let object = place.ok(&["bench", "io", "--bytes", "8m", "--runs", "1", "--json"]).object();
    for figure in object["figures"].as_array().unwrap() {
        rate(&figure["bytes_per_second"]);
    }
    assert!(list(&place.join("")).is_empty(), "scratch files are removed");
}

#[test]
fn saved_runs_become_a_page() {
    let place = Place::new();
    let ingest = ["bench", "ingest", "--bytes", "16m", "--runs", "1", "--streams", "2", "--json", "--save"];
    for name in ["one.json", "other.json"] {
        let object = place.ok(&[&ingest[..], &[name]].concat()).object();
        let record = &object["record"];
        assert_eq!((&record["bench"], record["rates"].as_array().unwrap().len()), (&"ingest".into(), 7));
        let flows = record["flows"].as_array().unwrap();
        assert_eq!(flows.len(), 4, "{record}");
        assert!(flows.iter().all(|flow| !flow["points"].as_array().unwrap().is_empty()), "{record}");
        let curves = record["curves"].as_array().unwrap();
        for stage in ["cut_hash", "filter", "append", "sync", "commit"] {
            let of = |group: &str| curves.iter().any(|one| one["name"] == stage && one["group"] == group);
            assert!(of("new data, 1 stream") && of("new data, 2 streams"), "{stage}: {record}");
        }
        let saved: Value = serde_json::from_slice(&std::fs::read(place.join(name)).unwrap()).unwrap();
        assert_eq!(saved["record"]["curves"], record["curves"]);
    }
    let made = place.ok(&["bench", "report", "one.json", "--json"]).object();
    assert_eq!((&made["written"], &made["runs"]), (&"report.html".into(), &1.into()), "{made}");
    let page = std::fs::read_to_string(place.join("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert_eq!(
        page.matches("<svg").count(),
        4 + 4,
        "a picture of each group over time, and one of its times"
    );
    for words in ["one.json", "new data, 2 streams", "cut_hash", "p99.9", "ceiling"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("src=") && !page.contains("href="), "it needs nothing besides itself");
    place.ok(&["bench", "report", "one.json", "other.json", "-o", "compared.html"]);
    let page = std::fs::read_to_string(place.join("compared.html")).unwrap();
    assert!(page.contains("one.json") && page.contains("other.json") && page.contains("B / A"));
    assert!(page.matches("<svg").count() > 4 + 4, "a picture of each stage of each group");
    std::fs::write(place.join("none.json"), "{}").unwrap();
    let refused = place.run(&["bench", "report", "none.json"]);
    assert!(refused.code == Some(2) && refused.err.contains("--save"), "{refused:?}");
}

#[test]
fn runs_of_different_benches_are_not_compared() {
    let place = Place::new();
    place.ok(&["bench", "recall", "--bytes", "16m", "--sizes", "64k", "--save", "recall.json"]);
    place.ok(&["bench", "report", "recall.json"]);
    let page = std::fs::read_to_string(place.join("report.html")).unwrap();
    assert!(page.contains("restore, chunks of 64k, by BLAKE3") && page.contains("raw read, 8 pieces"));
    let words =
        ["bench", "ingest", "--bytes", "8m", "--runs", "1", "--histograms", "off", "--save", "ingest.json"];
    place.ok(&words);
    let saved: Value = serde_json::from_slice(&std::fs::read(place.join("ingest.json")).unwrap()).unwrap();
    assert_eq!(saved["record"]["curves"].as_array().unwrap().len(), 0, "nothing was recorded: {saved}");
    let refused = place.run(&["bench", "report", "recall.json", "ingest.json"]);
    assert!(refused.code == Some(2) && refused.err.contains("different benches"), "{refused:?}");
}

#[test]
fn the_cost_of_recording_is_measured_in_pairs() {
    let place = Place::empty();
    let words = ["bench", "ingest", "--histograms", "paired", "--bytes", "8m", "--runs", "3", "--json"];
    let object = place.ok(&words).object();
    for kind in ["new", "known"] {
        for figure in ["bytes_per_second", "cpu_seconds_per_gigabyte"] {
            let pairs = &object[kind][figure];
            assert_eq!(pairs["ratio"]["values"].as_array().unwrap().len(), 3, "{object}");
            ["on", "off", "ratio"].iter().for_each(|name| assert!(rate(&pairs[name]) > 0.0));
        }
    }
    let only = place.ok(&[&words[..], &["--only", "known"]].concat()).object();
    assert_eq!(only["new"]["bytes_per_second"]["on"]["values"].as_array().unwrap().len(), 0, "{only}");
    rate(&only["known"]["bytes_per_second"]["ratio"]);
    assert!(list(&place.join("")).is_empty(), "scratch files are removed");
}

#[test]
fn too_little_room_is_said_before() {
    let place = Place::empty();
    let ended = place.run(&["bench", "ingest", "--bytes", "64t"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("--store") && ended.err.contains("free"), "{ended:?}");
}
