//! `gdd key`: what is made is good, and what is not good is refused with its reason, without showing the key.
#![allow(missing_docs)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use support::{Ended, Place};

/// The key in the file, which must never be seen anywhere else.
fn secret(text: &str) -> &str {
    text.lines().nth(1).expect("a key file has two lines")
}

fn refused(place: &Place, file: &str, words: &[&str]) {
    for flag in [&[][..], &["--json"]] {
        let ended = place.run(&[&["key", "check", file], flag].concat());
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let said = format!("{}{}", ended.err, ended.text());
        for word in words {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
        assert!(flag.is_empty() || ended.object()["code"] == 1, "{ended:?}");
    }
}

#[test]
fn a_key_is_made_and_checked_and_never_shown() {
    let place = Place::empty();
    let made = place.ok(&["key", "new", "site.key", "--json"]);
    let (made_state, id) = (made.object()["state"].clone(), made.object()["id"].clone());
    assert_eq!(made_state, "made");
    let checked = place.ok(&["key", "check", "site.key", "--json"]);
    assert_eq!((&checked.object()["state"], &checked.object()["id"]), (&"good".into(), &id));
    let text = place.ok(&["key", "check", "site.key"]);
    assert!(text.text().contains(id.as_str().expect("an id")) && text.text().starts_with("good"), "{text:?}");
    let file = fs::read_to_string(place.join("site.key")).expect("it was made");
    let hides = |ended: &Ended| !format!("{}{}", ended.text(), ended.err).contains(secret(&file));
    assert!([&made, &checked, &text].into_iter().all(hides));
    // One that is there is not replaced.
    assert_eq!(place.run(&["key", "new", "site.key"]).code, Some(1));
    assert_eq!(fs::read_to_string(place.join("site.key")).expect("it is there"), file);
}

#[test]
fn a_key_file_that_is_not_good_is_refused() {
    let place = Place::empty();
    place.ok(&["key", "new", "site.key"]);
    let path = place.join("site.key");
    let good = fs::read_to_string(&path).expect("it was made");
    let mode = |mode: u32| fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
    mode(0o640);
    refused(&place, "site.key", &["site.key", "mode", "0600 or 0400", "0640"]);
    mode(0o400);
    place.ok(&["key", "check", "site.key"]);
    mode(0o600);
    // Its two lines do not belong together any more.
    let digit = if secret(&good).starts_with('0') { "1" } else { "0" };
    let damaged = good.replacen(secret(&good), &format!("{digit}{}", &secret(&good)[1..]), 1);
    for text in [&damaged, &good[..good.len() - 2], "", "not a key"] {
        fs::write(&path, text).expect("it is ours");
        refused(&place, "site.key", &["site.key"]);
    }
    refused(&place, "nowhere.key", &["nowhere.key", "No such file"]);
    assert_eq!(place.run(&["key", "check"]).code, Some(2), "which file?");
    fs::write(&path, &good).expect("it is ours");
    place.ok(&["key", "check", "site.key"]);
}
