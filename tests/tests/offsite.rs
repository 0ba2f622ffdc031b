//! Second copies of a store: `gdd copy`, `gdd export`, `gdd import`, and a replica that takes the store's place.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gdd_rig::Release;
use gdd_tests::bacula::assert_restored;
use gdd_tests::bothsides::BothSides;
use gdd_tests::damage::files;
use gdd_tests::gdd::{Gdd, Outcome};
use gdd_tests::json::{list, number, text};
use gdd_tests::random::Random;
use gdd_tests::serving::Serving;
use gdd_tests::workspace::scratch;

/// Stores below one folder.
struct Stores(tempfile::TempDir);

impl Stores {
    fn new() -> Self {
        Self(scratch("offsite"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn gdd(&self, name: &str) -> Gdd {
        let socket = self.path(&format!("{name}.sock"));
        Gdd::at(&self.path(name)).with_flags(&["--socket", socket.to_str().unwrap()])
    }

    /// A store with small containers.
    fn made(&self, name: &str) -> Gdd {
        let gdd = self.gdd(name);
        gdd.init_with(&["--container-size", "1m"]);
        gdd
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Random::new(seed).fill(&mut bytes);
    bytes
}

fn flip_bit(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// On standard output.
fn printed(outcome: &Outcome, words: &[&str]) {
    words.iter().for_each(|word| assert!(outcome.stdout.contains(word), "no {word:?}: {outcome:?}"));
}

fn put(gdd: &Gdd, name: &str, seed: u64, len: usize) {
    gdd.put(name, &noise(seed, len)[..]);
}

fn same(a: &Gdd, b: &Gdd, name: &str) {
    assert_eq!(a.digest(name), b.digest(name), "{name}");
}

#[test]
fn a_copy_sends_what_is_missing_and_says_what_it_did() {
    let stores = Stores::new();
    let (from, to) = (stores.made("from"), stores.made("to"));
    let [one, two] = [stores.text("from"), stores.text("to")];
    put(&from, "etc-monday", 1, 3_000_000);
    put(&from, "etc-tuesday", 1, 4_000_000);
    put(&from, "home", 2, 2_000_000);
    let etc = from.json(&["copy", &one, &two, "--prefix", "etc-"]);
    assert_eq!((number(&etc, "streams"), number(&etc, "copied"), number(&etc, "bytes")), (2, 2, 7_000_000));
    assert!((4_000_000..4_100_000).contains(&number(&etc, "sent_bytes")), "{etc}");
    let rest = from.json(&["copy", &one, &two]);
    assert_eq!((number(&rest, "copied"), number(&rest, "present")), (1, 2), "{rest}");
    for name in ["etc-monday", "etc-tuesday", "home"] {
        same(&from, &to, name);
    }
    let checked = from.expect(0, &["copy", &one, &two, "--check"]);
    printed(&checked, &["present      3", "sent         0 chunks"]);
    to.expect(0, &["fsck"]);
    from.expect(2, &["copy", &one, &one]).demand_said(&["name two stores"]);
    from.expect(1, &["copy", &one, &two, "none"]).demand_said(&["no stream named \"none\""]);
    from.expect(1, &["copy", &one, &stores.text("nowhere")]).demand_said(&["gdd init"]);
    let serving = Serving::start(&to, stores.0.path());
    from.expect(4, &["copy", &one, &two]).demand_said(&["in use by another process"]);
    serving.stop();
}

#[test]
fn what_has_rotted_is_not_copied_and_comes_back_from_the_copy() {
    let stores = Stores::new();
    let (from, to) = (stores.made("from"), stores.made("to"));
    let [one, two] = [stores.text("from"), stores.text("to")];
    put(&from, "old", 1, 900_000);
    from.expect(0, &["copy", &one, &two]);
    let containers = files(&stores.path("from/containers")).unwrap();
    containers.iter().for_each(|path| flip_bit(path, 300_000));
    put(&from, "new", 2, 900_000);
    let scrubbed = from.run(&["scrub"]);
    assert_eq!(scrubbed.code, Some(3), "{scrubbed:?}");
    fs::remove_dir_all(stores.path("to")).unwrap();
    let to = {
        drop(to);
        stores.made("to")
    };
    let partly = from.expect(3, &["copy", &one, &two, "--json"]).json();
    assert_eq!((number(&partly, "copied"), list(&partly, "failed").len()), (1, 1), "{partly}");
    assert_eq!(text(&list(&partly, "failed")[0], "name"), "old");
    same(&from, &to, "new");
    // An export is whole or none.
    let set = stores.text("set");
    printed(&from.expect(3, &["export", &one, &set]), &["NOT COPIED   old", "is not sealed"]);
    from.expect(3, &["import", &set, "--check"]).demand_said(&["export did not end"]);
    // Somebody has a good copy: it brings back what was lost.
    let good = stores.made("good");
    put(&good, "old", 1, 900_000);
    let healed = from.json(&["copy", &stores.text("good"), &one, "--check"]);
    assert_eq!((number(&healed, "healed"), number(&healed, "present")), (1, 1), "{healed}");
    same(&from, &good, "old");
    from.expect(0, &["copy", &one, &two]);
    same(&from, &to, "old");
}

/// A check asks the other store, which knows of the damage that somebody has met there.
#[test]
fn rot_that_nobody_has_met_is_found_by_a_scrub_of_the_copy() {
    let stores = Stores::new();
    let (from, to) = (stores.made("from"), stores.made("to"));
    let [one, two] = [stores.text("from"), stores.text("to")];
    put(&from, "old", 1, 900_000);
    from.expect(0, &["copy", &one, &two]);
    let containers = files(&stores.path("to/containers")).unwrap();
    containers.iter().for_each(|path| flip_bit(path, 300_000));
    assert_eq!(number(&from.json(&["copy", &one, &two, "--check"]), "healed"), 0);
    assert_eq!(to.run(&["get", "old"]).code, Some(3));
    // What that restore has met is known now. The rest is not.
    let healed = from.json(&["copy", &one, &two, "--scrub"]);
    assert_eq!((number(&healed, "healed"), number(&healed, "present")), (1, 1), "{healed}");
    assert!(number(&healed["scrub"], "containers_damaged") > 0, "{healed}");
    same(&from, &to, "old");
    for side in ["a", "b"] {
        let recipe = &files(&stores.path("to/recipes").join(side)).unwrap()[0];
        flip_bit(recipe, 5000);
    }
    assert_eq!(to.run(&["get", "old"]).code, Some(3));
    let healed = from.json(&["copy", &one, &two]);
    assert_eq!((number(&healed, "healed"), number(&healed, "renewed")), (1, 1), "{healed}");
    same(&from, &to, "old");
}

#[test]
fn a_number_of_a_volume_is_not_given_to_two_streams() {
    let stores = Stores::new();
    let (from, to) = (stores.made("from"), stores.made("to"));
    let name = |volume: u8| format!("sd/{}/{:016x}", format!("{volume:02x}").repeat(16), 5);
    put(&from, &name(1), 1, 10_000);
    put(&to, &name(2), 2, 10_000);
    let refused = from.expect(1, &["copy", &stores.text("from"), &stores.text("to")]);
    printed(&refused, &["its number is taken there", "volumes of its own"]);
    assert_eq!(list(&to.json(&["ls"]), "streams").len(), 1);
}

#[test]
fn a_set_goes_away_and_comes_back() {
    let stores = Stores::new();
    let from = stores.made("from");
    let [one, set, two] = ["from", "set", "to"].map(|name| stores.text(name));
    put(&from, "etc", 1, 3_000_000);
    put(&from, "home", 2, 2_000_000);
    from.expect(1, &["export", &one, &set, "none"]).demand_said(&["no stream named \"none\""]);
    let nobody = ["export", &one, &set, "--prefix", "nobody"];
    from.expect(2, &nobody).demand_said(&["no stream's name begins so"]);
    let made = from.json(&["export", &one, &set, "etc"]);
    let seal = text(&made, "set.seal").to_owned();
    assert_eq!((number(&made, "copied"), seal.len()), (1, 64));
    let carried = stores.path("carried");
    gdd_tests::copy::copy(Path::new(&set), &carried);
    let carried = carried.to_str().unwrap();
    assert_eq!(text(&from.json(&["import", carried, "--check"]), "set.seal"), seal);
    same(&from, &stores.gdd("carried"), "etc");
    let to = stores.made("to");
    from.expect(2, &["import", carried, &two, "--seal", "00"]).demand_said(&["another one"]);
    let came = from.json(&["import", carried, &two, "--seal", &seal]);
    assert_eq!((number(&came, "copied"), number(&came, "sent_bytes")), (1, 3_000_000));
    same(&from, &to, "etc");
    assert_eq!(number(&from.json(&["import", carried, &two]), "present"), 1);
    flip_bit(&Path::new(carried).join("gdd.store"), 100);
    let to = stores.made("third");
    from.expect(3, &["import", carried, &stores.text("third")])
        .demand_said(&["gdd.store", "when the set was sealed"]);
    assert_eq!(list(&to.json(&["ls"]), "streams").len(), 0);
    from.expect(2, &["export", &one, &set]).demand_said(&["is a gdd store already"]);
}

/// Copies, sets and imports of a store that a daemon has open go through the daemon.
#[test]
fn a_store_at_work_is_copied_and_takes_copies() {
    let stores = Stores::new();
    let socket = stores.path("gdd.sock");
    let at_work = stores.made("from").with_flags(&["--socket", socket.to_str().unwrap()]);
    let (to, other) = (stores.made("to"), stores.made("other"));
    let [one, two, set, third] = ["from", "to", "set", "other"].map(|name| stores.text(name));
    let numbered = format!("sd/{}/{:016x}", "07".repeat(16), 5);
    put(&other, "theirs", 3, 1_000_000);
    put(&other, &numbered, 4, 10_000);
    let serving = Serving::start(&at_work, stores.0.path());
    put(&at_work, "etc", 1, 3_000_000);
    let copied = at_work.json(&["copy", &one, &two]);
    assert_eq!((number(&copied, "copied"), number(&copied, "sent_bytes")), (1, 3_000_000), "{copied}");
    let made = at_work.json(&["export", &one, &set, "etc"]);
    let sealed = at_work.json(&["import", &set, "--check"]);
    assert_eq!(text(&made, "set.seal"), text(&sealed, "set.seal"));
    same(&stores.gdd("set"), &to, "etc");
    // Into it: but for streams of storage mode, to which its daemon gives numbers.
    let partly = at_work.expect(1, &["copy", &third, &one, "--json"]).json();
    assert_eq!((number(&partly, "copied"), number(&partly, "streams")), (1, 2), "{partly}");
    let failed = &list(&partly, "failed")[0];
    assert!(text(failed, "name") == numbered && text(failed, "why").contains("stop gdd"), "{partly}");
    same(&at_work, &other, "theirs");
    at_work.expect(0, &["rm", "etc"]);
    let back = at_work.json(&["import", &set, &one]);
    assert_eq!((number(&back, "copied"), text(&back, "set.seal")), (1, text(&made, "set.seal")), "{back}");
    same(&at_work, &to, "etc");
    at_work.expect(1, &["export", &one, &stores.text("no/where")]).demand_said(&["cannot look at"]);
    at_work.expect(1, &["copy", &one, &stores.text("nowhere")]).demand_said(&["gdd init"]);
    serving.stop();
    at_work.expect(0, &["copy", &third, &one]);
    at_work.expect(0, &["fsck"]);
    to.expect(0, &["fsck"]);
}

#[test]
fn a_replica_takes_the_stores_place_for_clients() {
    let Some(mut site) = BothSides::new(Release::V9) else { return };
    site.fill(1, 6, 300_000);
    let rig = site.start(&[]);
    let (first, _) = site.full(&rig);
    site.daemon().stop();
    let store = site.gdd.store().to_owned();
    let other = store.with_extension("replica");
    let [from, to] = [&store, &other].map(|path| path.to_str().unwrap());
    let like = site.gdd.json(&["init", to, "--replica-of", from]);
    assert!(number(&site.gdd.json(&["copy", from, to]), "copied") > 0);
    fs::remove_dir_all(&store).unwrap();
    fs::rename(&other, &store).unwrap();
    site.serve();
    assert_restored(&rig, &[&first], &site.client.tree());
    let (again, report) = site.full(&rig);
    assert_eq!(report.new, 0, "the replica knows what the store knew");
    assert_restored(&rig, &[&again], &site.client.tree());
    site.stop_and_check();
    assert_eq!(text(&site.gdd.json(&["stats"]), "store"), text(&like, "store"));
}
