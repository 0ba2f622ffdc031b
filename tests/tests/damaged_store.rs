//! Stores that disks, controllers and people have ruined: a check finds and names it, writes nothing and never panics;
//! a restore gives the exact bytes or an error, never wrong ones; and what is not affected still comes back.

use std::fs;
use std::io;
use std::path::Path;

use gdd_tests::damage::{files, strike};
use gdd_tests::effort::sized;
use gdd_tests::gdd::Gdd;
use gdd_tests::random::Random;
use gdd_tests::untouched::Untouched;
use gdd_tests::victim::{self, HEADER_SIZE, Model, Verdict, restore_all};

#[test]
fn a_whole_store_is_found_whole() {
    Model::new("whole").with_copy(|gdd| {
        let verdict = Verdict::of(gdd, "nothing");
        assert!(verdict.is_clean(), "{verdict:?}");
        assert!(restore_all(gdd, "nothing").is_empty());
        let before = Untouched::of(gdd.store()).unwrap();
        for level in ["0", "1", "2"] {
            gdd.expect(0, &["fsck", "--level", level]);
        }
        gdd.expect(0, &["stats"]);
        gdd.expect(0, &["ls"]);
        assert!(restore_all(gdd, "nothing").is_empty());
        before.demand(gdd.store(), "reading");
    });
}

/// One way to ruin a container: what it is called, and how it is done to the first path (the second is another one).
type Ruin = (&'static str, fn(&Path, &Path) -> io::Result<()>);

const RUINS: [Ruin; 6] = [
    ("removed", |path, _| fs::remove_file(path)),
    ("emptied", |path, _| fs::write(path, "")),
    ("cut in the middle of its data", |path, _| {
        let end = fs::read(path)?.iter().rposition(|&byte| byte != 0).unwrap_or(0);
        fs::OpenOptions::new().write(true).open(path)?.set_len((end / 2) as u64)
    }),
    ("zeroed", |path, _| fs::write(path, vec![0; fs::read(path)?.len()])),
    ("replaced by another", |path, other| fs::copy(other, path).map(drop)),
    ("hit in its first record", |path, _| {
        let mut bytes = fs::read(path)?;
        bytes[HEADER_SIZE + 4096] ^= 1; // The header of a batch is not that long.
        fs::write(path, bytes)
    }),
];

#[test]
fn every_ruined_container_is_found_and_named() {
    let model = Model::new("containers");
    let containers = model.containers();
    for (ruin, ruin_it) in RUINS {
        for (index, container) in containers.iter().enumerate() {
            let story = format!("{} {ruin}", container.display());
            let other = &containers[(index + 1) % containers.len()];
            model.with_copy(|gdd| {
                ruin_it(&gdd.store().join(container), &gdd.store().join(other)).unwrap();
                let verdict = Verdict::of(gdd, &story);
                assert_eq!(verdict.outcome.code, Some(3), "{story}: {verdict:?}");
                assert!(verdict.names(&gdd.store().join(container)), "{story}: {verdict:?}");
                let lost = restore_all(gdd, &story);
                let affected = verdict.affected();
                assert!(lost.is_subset(&affected), "{story}: lost {lost:?}, said {affected:?}");
                assert!(!lost.is_empty(), "{story}: every container holds something that a stream needs");
            });
        }
    }
}

#[test]
fn damage_anywhere_is_never_answered_with_wrong_bytes() {
    let model = Model::new("anywhere");
    let (mut damaged, mut refused, mut harmless) = (0, 0, 0);
    for seed in 0..sized(60, 1000) {
        model.with_copy(|gdd| {
            let mut random = Random::new(seed);
            let strikes: Vec<_> =
                (0..=random.below(3)).map(|_| strike(gdd.store(), &mut random).unwrap()).collect();
            let story = format!("seed {seed}: {}", strikes.join("; "));
            let verdict = Verdict::of(gdd, &story);
            let lost = restore_all(gdd, &story);
            let affected = verdict.affected();
            match verdict.outcome.code {
                Some(0) => harmless += 1,
                Some(3) if verdict.report.is_some() => damaged += 1,
                _ => return refused += 1, // Nothing can be said of a store that cannot be opened.
            }
            if !lost.is_subset(&affected) {
                // The end of the index's log is gone: the recipe belongs to no stream, until recovery adopts it.
                assert!(!verdict.is_clean(), "{story}: lost {lost:?}, said nothing: {verdict:?}");
                open_for_writing(gdd);
                let lost = restore_all(gdd, &story);
                assert!(lost.is_subset(&affected), "{story}: lost {lost:?}, said {affected:?}: {verdict:?}");
            }
            index_comes_back(gdd, &strikes, &story);
        });
    }
    println!("{damaged} damaged, {refused} could not be opened, {harmless} harmless");
    assert!(damaged > 0 && refused > 0 && harmless > 0, "all three kinds were met");
}

/// Recover, or rebuild where recovery says so.
fn open_for_writing(gdd: &Gdd) {
    let refused = gdd.run(&["rm", "nobody"]);
    if refused.code != Some(1) {
        refused.demand(3);
        refused.demand_said(&["gdd rebuild-index"]);
        gdd.expect(0, &["rebuild-index"]);
    }
}

/// Where only the index or the filter was hit, everything comes back by a rebuild.
fn index_comes_back(gdd: &Gdd, strikes: &[String], story: &str) {
    let derived = |strike: &String| ["index/", "filter/"].iter().any(|folder| strike.starts_with(folder));
    if strikes.iter().all(derived) {
        gdd.expect(0, &["rebuild-index"]);
        assert!(restore_all(gdd, story).is_empty(), "{story}");
        gdd.expect(0, &["fsck"]);
    }
}

#[test]
fn a_lost_copy_of_a_recipe_or_superblock_costs_nothing() {
    let model = Model::new("copies");
    let store = model.whole.store();
    let recipes = files(&store.join("recipes")).unwrap();
    let copies = recipes.into_iter().chain([store.join("gdd.store"), store.join("gdd.store.copy")]);
    for path in copies {
        let path = path.strip_prefix(store).unwrap();
        for ruin in [0, 3] {
            let (ruin, ruin_it) = RUINS[ruin];
            let story = format!("{} {ruin}", path.display());
            model.with_copy(|gdd| {
                ruin_it(&gdd.store().join(path), path).unwrap();
                let verdict = Verdict::of(gdd, &story);
                assert!(!verdict.is_clean(), "{story}");
                assert_eq!(verdict.affected().len(), 0, "{story}: {verdict:?}");
                assert!(restore_all(gdd, &story).is_empty(), "{story}");
            });
        }
    }
}

/// Damage found by a check costs a stream only until the data comes by again.
#[test]
fn the_next_backup_heals_a_lost_container() {
    let model = Model::new("heals");
    for container in model.containers() {
        model.with_copy(|gdd| {
            let story = format!("{} lost", container.display());
            fs::remove_file(gdd.store().join(&container)).unwrap();
            for (name, stream) in victim::streams() {
                gdd.put(&format!("{name} again"), stream);
            }
            for (name, stream) in victim::streams() {
                assert_eq!(gdd.digest(&format!("{name} again")).0, stream.digest(), "{story}: {name}");
            }
            assert!(restore_all(gdd, &story).is_empty(), "{story}: the earlier ones are healed too");
        });
    }
}
