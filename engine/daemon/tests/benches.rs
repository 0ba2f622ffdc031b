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
    assert_eq!(list(&place.join("curves")).len(), 16);
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
fn too_little_room_is_said_before() {
    let place = Place::empty();
    let ended = place.run(&["bench", "ingest", "--bytes", "64t"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("--store") && ended.err.contains("free"), "{ended:?}");
}
