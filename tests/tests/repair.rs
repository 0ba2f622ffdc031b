//! `gdd fsck --repair`: a plan that changes nothing; the work, which loses nothing that was readable and deletes no
//! evidence; and afterwards a store that a check finds whole, but for what is lost for good.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gdd_tests::damage::{files, strike};
use gdd_tests::effort::sized;
use gdd_tests::gdd::Gdd;
use gdd_tests::json::{list, text};
use gdd_tests::random::Random;
use gdd_tests::untouched::Untouched;
use gdd_tests::victim::{Model, restore_all, streams};
use serde_json::Value;

/// Something is done to a store, and the actions that a plan then has.
type Case = (&'static str, fn(&Path), &'static [&'static str]);

const CASES: [Case; 8] = [
    ("nothing", |_| (), &[]),
    (
        "foreign files",
        |store| {
            fs::write(store.join("containers/notes.txt"), "mine").unwrap();
            fs::write(store.join("recipes/a/notes.txt"), "mine too").unwrap();
        },
        &["set_files_aside"],
    ),
    ("a lost copy of the superblock", |store| fs::remove_file(store.join("gdd.store")).unwrap(), &["settle"]),
    ("a lost index", |store| fs::remove_dir_all(store.join("index")).unwrap(), &["rebuild_index"]),
    ("a lost epoch", |store| fs::write(store.join("epoch"), [0; 4096]).unwrap(), &["write_epoch"]),
    ("a lost copy of a recipe", |store| fs::remove_file(&recipes(store, "a")[0]).unwrap(), &["write_copies"]),
    (
        "a recipe lost in both copies",
        |store| {
            for side in ["a", "b"] {
                let path = &recipes(store, side)[0];
                let len = fs::metadata(path).unwrap().len();
                fs::write(path, vec![0; usize::try_from(len).unwrap()]).unwrap();
            }
        },
        &["set_streams_aside", "write_copies"],
    ),
    (
        "a hole in a container",
        |store| {
            let path = largest(&store.join("containers"));
            let mut bytes = fs::read(&path).unwrap();
            bytes[100_000..150_000].fill(0);
            fs::write(path, bytes).unwrap();
        },
        &["mark_chunks", "evacuate"],
    ),
];

fn recipes(store: &Path, side: &str) -> Vec<PathBuf> {
    files(&store.join("recipes").join(side)).unwrap()
}

fn largest(folder: &Path) -> PathBuf {
    // Sealed ones are cut to what they hold; those in use have room reserved.
    let sealed =
        files(folder).unwrap().into_iter().filter(|path| !fs::read(path).unwrap().ends_with(&[0; 8]));
    sealed.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

fn actions(value: &Value, list_name: &str) -> Vec<String> {
    list(value, list_name).iter().map(|step| text(step, "action").to_owned()).collect()
}

fn repair(gdd: &Gdd, story: &str) -> Value {
    let outcome = gdd.run(&["fsck", "--repair", "--apply", "--json"]);
    assert!(matches!(outcome.code, Some(0 | 3)), "{story}: {outcome:?}");
    outcome.json()
}

/// What a stream that was set aside was called.
fn set_aside(repaired: &Value) -> BTreeSet<String> {
    list(repaired, "streams_set_aside").iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Store everything again, and let the vacuum put away what nobody needs: then nothing may be left to find.
fn heal(gdd: &Gdd, story: &str) {
    for (name, stream) in streams() {
        gdd.put(&format!("{name} again"), stream);
    }
    for _ in 0..3 {
        gdd.expect(0, &["vacuum"]);
    }
    let report = gdd.run(&["fsck", "--json"]).json();
    assert_eq!(report["damage_count"], 0, "{story}: {report:#}");
    for (name, stream) in streams() {
        assert_eq!(gdd.digest(&format!("{name} again")).0, stream.digest(), "{story}: {name}");
    }
}

#[test]
fn each_kind_of_damage_has_its_repair() {
    let model = Model::new("repair");
    for (story, ruin, expected) in CASES {
        model.with_copy(|gdd| {
            ruin(gdd.store());
            let lost = if story.contains("epoch") { BTreeSet::new() } else { restore_all(gdd, story) };
            let before = Untouched::of(gdd.store()).unwrap();
            let proposal = gdd.run(&["fsck", "--repair", "--json"]).json();
            before.demand(gdd.store(), "a plan");
            assert_eq!(actions(&proposal["plan"], "steps"), expected, "{story}: {proposal:#}");
            let repaired = repair(gdd, story);
            assert_eq!(actions(&repaired, "done"), expected, "{story}: {repaired:#}");
            let now = restore_all(gdd, story);
            let is_index = story.contains("index");
            assert!(now.is_subset(&lost), "{story}: {now:?} of {lost:?}");
            assert_eq!(now.is_empty(), lost.is_empty() || is_index, "{story}: {now:?}");
            match story {
                "foreign files" => {
                    let kept = files(&gdd.store().join("quarantine")).unwrap();
                    let kept: Vec<_> = kept.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
                    assert_eq!(kept, ["mine", "mine too"]);
                }
                "a recipe lost in both copies" => {
                    assert_eq!(set_aside(&repaired), lost, "{repaired:#}");
                    assert_eq!(files(&gdd.store().join("quarantine")).unwrap().len(), 2);
                }
                _ => assert!(set_aside(&repaired).is_empty(), "{repaired:#}"),
            }
            let left = &repaired["left"];
            if story != "a hole in a container" {
                assert_eq!(left["damage_count"], 0, "{story}: {left:#}");
            }
            assert!(!actions(&repair(gdd, story), "done").contains(&"rebuild_index".to_owned()), "{story}");
            heal(gdd, story);
        });
    }
}

#[test]
fn no_repair_makes_anything_worse() {
    let model = Model::new("repairs");
    let (mut whole, mut partly) = (0, 0);
    for seed in 0..sized(40, 1000) {
        model.with_copy(|gdd| {
            let mut random = Random::new(9000 + seed);
            let strikes: Vec<_> =
                (0..=random.below(3)).map(|_| strike(gdd.store(), &mut random).unwrap()).collect();
            let story = format!("seed {seed}: {}", strikes.join("; "));
            let lost = restore_all(gdd, &story);
            let outcome = gdd.run(&["fsck", "--repair", "--apply", "--json"]);
            if !matches!(outcome.code, Some(0)) && outcome.json().get("done").is_none() {
                // Both superblocks, say: it says so, and what could be read still can.
                assert!(restore_all(gdd, &story).is_subset(&lost), "{story}: {outcome:?}");
                return;
            }
            let repaired = outcome.json();
            let now = restore_all(gdd, &story);
            assert!(now.is_subset(&lost), "{story}: {now:?} of {lost:?}: {repaired:#}");
            if now.is_empty() {
                whole += 1
            } else {
                partly += 1
            }
            heal(gdd, &story);
        });
    }
    println!("{whole} whole, {partly} with something lost");
    assert!(whole > 0 && partly > 0, "both were met");
}

/// Without the index, nothing but its recipe says that there was a stream. One that cannot be read is not forgotten.
#[test]
fn a_recipe_that_is_lost_with_the_index_is_set_aside_and_named() {
    Model::new("repair-both").with_copy(|gdd| {
        let story = "index and recipe";
        for side in ["a", "b"] {
            let path = &recipes(gdd.store(), side)[0];
            let len = fs::metadata(path).unwrap().len();
            fs::write(path, vec![0; usize::try_from(len).unwrap()]).unwrap();
        }
        let lost = restore_all(gdd, story);
        assert_eq!(lost.len(), 1);
        fs::remove_dir_all(gdd.store().join("index")).unwrap();
        let repaired = repair(gdd, story);
        let done = actions(&repaired, "done");
        assert_eq!(done[..2], ["rebuild_index", "set_streams_aside"], "{repaired:#}");
        assert_eq!(set_aside(&repaired).len(), 1, "{repaired:#}");
        assert_eq!(files(&gdd.store().join("quarantine")).unwrap().len(), 2);
        assert_eq!(restore_all(gdd, story), lost);
        heal(gdd, story);
    });
}

/// A rebuild alone sets nothing aside: it says so, and the vacuum waits until somebody has decided.
#[test]
fn a_rebuild_names_what_it_cannot_read() {
    Model::new("rebuild-names").with_copy(|gdd| {
        for side in ["a", "b"] {
            fs::write(&recipes(gdd.store(), side)[0], [7; 8192]).unwrap();
        }
        let rebuilt = gdd.expect(3, &["rebuild-index", "--json"]).json();
        let name = list(&rebuilt, "streams_unreadable")[0].as_str().unwrap().to_owned();
        assert!(name.starts_with("unreadable/"), "{rebuilt}");
        let checked = gdd.expect(3, &["fsck"]);
        assert!(checked.stdout.contains(&format!("stream {name} cannot be restored")), "{}", checked.stdout);
        gdd.expect(2, &["vacuum"]).demand_said(&["nothing is freed", &name]);
        gdd.expect(0, &["rm", &name]);
        gdd.expect(0, &["vacuum"]);
        gdd.expect(0, &["fsck"]);
    });
}
