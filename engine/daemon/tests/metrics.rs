//! What operators and their monitoring see of a daemon at work.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use gdd_engine::observe::Stage;
use gdd_sd::block::SessionId;
use gdd_sd::label::About;
use gdd_sd::store::ring::RingStore;
use gdd_sd::store::{Store, VolumeId};
use serde_json::Value;
use support::daemon::serve_with;
use support::exposition::Exposition;
use support::{Place, list, random};
use twox_hash::XxHash3_128;

const CONFIG: &str = "workers = 2\n[metrics]\nlisten = \"127.0.0.1:0\"\n";
const LEN: usize = 40_000_000;

/// A job of storage mode through the running daemon, by a driver that pauses once.
fn job(place: &Place, bytes: &[u8]) {
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    let mut driver = RingStore::new(place.join("gdd.sock.plugin"), vec![0, own]);
    let about = About { job: "nightly.7".into(), client: "mail".into(), ..About::default() };
    let stream = driver.begin(VolumeId([7; 16]), SessionId { id: 1, time: 2 }, &about).unwrap();
    for (number, part) in bytes.chunks(63_000).enumerate() {
        if number == 3 {
            thread::sleep(Duration::from_millis(300)); // The ring is empty, and its session waits.
        }
        driver.append(stream, number == 0, part).unwrap();
    }
    driver.finish(stream, bytes.len() as u64, XxHash3_128::oneshot(bytes)).unwrap();
}

/// New data, known data, and restores, through a daemon that was started in between.
fn busy(place: &Place) -> support::daemon::Daemon {
    let bytes = random(11, LEN);
    let mut daemon = serve_with(place, CONFIG);
    place.put("new", &bytes);
    daemon.stop();
    let daemon = serve_with(place, CONFIG); // It remembers no directory, so the index is asked.
    place.put("known", &bytes);
    place.put("other", &random(12, LEN));
    job(place, &random(13, 5_000_000));
    for _ in 0..2 {
        assert!(place.ok(&["get", "new"]).out == bytes);
    }
    daemon
}

fn status(place: &Place) -> Value {
    place.ok(&["status", "--json"]).object()
}

fn address(status: &Value) -> SocketAddr {
    status["services"]["metrics"]["listen"].as_str().unwrap().parse().unwrap()
}

fn send(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Restore until somebody has waited for the disk: on a busy machine it may have answered each time before.
fn until_one_waits(place: &Place) {
    for seed in 100..150 {
        let waited =
            |row: &Value| row["stage"] == Stage::RecallCold.name() && row["count"].as_u64() > Some(0);
        if status(place)["stages_ns"].as_array().unwrap().iter().any(waited) {
            break;
        }
        let (name, bytes) = (format!("new-{seed}"), random(seed, LEN / 10));
        place.put(&name, &bytes);
        assert!(place.ok(&["get", &name]).out == bytes);
    }
}

#[test]
fn every_stage_is_seen_everywhere() {
    let place = Place::new();
    let _daemon = busy(&place);
    until_one_waits(&place);
    let status = status(&place);
    let stages = status["stages_ns"].as_array().unwrap();
    let text = place.ok(&["status"]);
    let page = place.ok(&["status", "--prometheus"]);
    let page = Exposition::read(page.text());
    assert_eq!(stages.len(), Stage::ALL.len());
    for (found, stage) in stages.iter().zip(Stage::ALL) {
        let name = stage.name();
        assert_eq!(found["stage"], name);
        let [count, p50, p99, p999, max, sum] =
            ["count", "p50", "p99", "p999", "max", "sum"].map(|field| found[field].as_u64().unwrap());
        assert!(count > 0 && p50 <= p99 && p99 <= p999 && p999 <= max && max <= sum + sum / 64, "{found}");
        assert!(found["hdr"].is_null(), "only when it is asked for");
        let is_row = |line: &str| line.starts_with(&format!("{name} ")) && line.ends_with(stage.what());
        assert!(text.text().lines().any(is_row), "{name}: {}", text.text());
        assert!(page.value(&format!("gdd_stage_seconds_count{{stage=\"{name}\"}}")) >= 1.0);
    }
    // An extent has 4 MiB, and each put of this daemon has at least ten of them.
    let cut = stages.iter().find(|row| row["stage"] == "cut_hash").unwrap();
    assert!(cut["count"].as_u64().unwrap() >= 20, "{cut}");

    let made = place.ok(&["status", "--hgrm", "curves", "--json"]).object();
    let names: Vec<String> = Stage::ALL.iter().map(|stage| format!("{}.hgrm", stage.name())).collect();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(list(&place.join("curves")), sorted);
    assert_eq!(made["hgrm"].as_array().unwrap().len(), names.len());
    for name in names {
        let curve = std::fs::read_to_string(place.join("curves").join(&name)).unwrap();
        assert!(curve.contains("1/(1-Percentile)") && curve.contains("#[Max"), "{name}: {curve}");
    }
}

#[test]
fn a_job_is_reported_and_counted() {
    let place = Place::new();
    let _daemon = busy(&place);
    let status = status(&place);
    let last = &status["services"]["storage"]["jobs"][0];
    assert_eq!((&last["job"], &last["client"]), (&"nightly.7".into(), &"mail".into()), "{status}");
    for field in ["logical_bytes", "wire_bytes", "new_bytes"] {
        assert_eq!(last[field], 5_000_000, "{field}: {last}");
    }
    assert!(last["savings_percent"].as_f64().unwrap() < 1.0 && last["ended"].as_u64() > Some(1_600_000_000));
    let text = place.ok(&["status"]);
    assert!(
        text.text().contains("done: job nightly.7, client mail: logical 5000000 B, new 5000000 B"),
        "{}",
        text.text()
    );

    let answer = send(address(&status), "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    let page = Exposition::read(body);
    for (series, value) in [
        ("gdd_ready", 1.0),
        ("gdd_store_streams", 4.0),
        ("gdd_backups_total{mode=\"storage\"}", 1.0),
        ("gdd_backup_logical_bytes_total{mode=\"storage\"}", 5e6),
        ("gdd_backups_total{mode=\"command_line\"}", 2.0),
        ("gdd_backup_logical_bytes_total{mode=\"command_line\"}", 8e7),
        ("gdd_backup_new_bytes_total{mode=\"command_line\"}", 4e7),
        ("gdd_restore_bytes_total{mode=\"command_line\"}", 8e7),
        ("gdd_sessions{mode=\"storage\"}", 0.0),
        ("gdd_streams_abandoned_total", 0.0),
        ("gdd_upkeep_running{job=\"vacuum\"}", 0.0),
        ("gdd_store_chunks_suspect", 0.0),
        ("gdd_stats_failed", 0.0),
    ] {
        assert!((page.value(series) - value).abs() < 0.5, "{series} is {}", page.value(series));
    }
    for series in [
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "gdd_filter_lookups_total{tier=\"hot\"}",
        "gdd_index_lookups_total",
        "gdd_cache_hits_total{mode=\"command_line\"}",
        "gdd_store_disk_bytes",
        "gdd_commits_total",
        "gdd_chunks_appended_total",
    ] {
        assert!(page.value(series) > 0.0, "{series}");
    }
    assert_eq!(page.kinds["gdd_stage_seconds"], "histogram");
}

#[test]
fn only_metrics_are_served_and_nobody_holds_them_up() {
    let place = Place::new();
    let _daemon = serve_with(&place, CONFIG);
    let at = address(&status(&place));
    let _silent = TcpStream::connect(at).unwrap();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("GET /metrics/../etc HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("\x01\x02 what is this\r\n\r\n", "400"),
        ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", "200"),
    ] {
        let answer = send(at, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(8192 - 26));
    assert!(send(at, &long).starts_with("HTTP/1.1 400 "));
    let text = place.ok(&["status"]);
    assert!(text.text().contains("/metrics, read 1 times, 6 requests refused"), "{}", text.text());
}

#[test]
fn a_collectors_file_is_replaced_as_a_whole() {
    let place = Place::new();
    let _daemon = serve_with(&place, "workers = 2\n");
    assert!(status(&place)["services"]["metrics"].is_null(), "nobody asked for it");
    for _ in 0..2 {
        assert_eq!(place.ok(&["status", "--prometheus", "-o", "gdd.prom"]).text(), "");
        let text = std::fs::read_to_string(place.join("gdd.prom")).unwrap();
        assert!(Exposition::read(&text).value("gdd_ready") > 0.5);
        assert_eq!(std::fs::metadata(place.join("gdd.prom")).unwrap().permissions().mode() & 0o777, 0o644);
    }
    assert_eq!(place.run(&["status", "--prometheus", "-o", "no/such/folder"]).code, Some(1));
    assert_eq!(place.run(&["status", "-o", "gdd.prom"]).code, Some(2));
    assert_eq!(list(&place.join("")).iter().filter(|name| name.starts_with(".tmp")).count(), 0);
}

#[test]
fn an_address_in_use_costs_the_metrics_and_nothing_else() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let _daemon = serve_with(&place, &format!("workers = 2\n[metrics]\nlisten = \"{at}\"\n"));
    place.put("stored", &random(1, 100_000));
    let text = place.ok(&["status"]);
    assert!(text.text().contains(&format!("NOT at {at}")), "{}", text.text());
    let status = status(&place);
    let metrics = &status["services"]["metrics"];
    assert!(metrics["listen"].is_null() && metrics["error"].is_string(), "{status}");
}
