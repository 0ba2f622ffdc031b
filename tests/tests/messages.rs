//! docs/messages.md has every message id, once, and no other: an operator who searches for one must find it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gdd_tests::workspace::root;

/// Folders whose code tells operators something in Bacula's job log.
const SPEAKERS: [&str; 5] =
    ["plugin/abi/src", "plugin/fd/src", "plugin/link/src", "plugin/sd/src", "engine/daemon/src"];

/// Every `GDD-FAMILY-NNNN` in `text`.
fn ids(text: &str) -> BTreeSet<String> {
    let upper = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_uppercase()).len();
    let id = |(at, _): (usize, &str)| {
        let family = upper(text[at + 4..].get(..)?);
        let id = text.get(at..at + 4 + family + 5)?;
        let number = id.rsplit('-').next()?;
        let is_id = family > 0 && number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        is_id.then(|| id.to_owned())
    };
    text.match_indices("GDD-").filter_map(id).collect()
}

/// Those in the product code of `folder`.
fn spoken(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            spoken(&path, found);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            found.extend(ids(text.split("#[cfg(test)]\nmod").next().unwrap()));
        }
    }
}

#[test]
fn every_message_is_explained_and_every_explained_one_is_a_message() {
    let table = fs::read_to_string(root().join("docs/messages.md")).unwrap();
    let mut explained = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| GDD-")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "id, meaning, what to do: {row}");
        assert!(cells[1..].iter().all(|cell| cell.ends_with('.')), "sentences: {row}");
        assert_eq!(ids(cells[0]), [cells[0].to_owned()].into(), "one id: {row}");
        assert!(explained.insert(cells[0].to_owned()), "explained twice: {row}");
    }
    let mut found = BTreeSet::new();
    SPEAKERS.iter().for_each(|folder| spoken(&root().join(folder), &mut found));
    assert!(found.len() > 40, "the search finds the ids: {found:?}");
    let missing: Vec<_> = found.difference(&explained).collect();
    let stale: Vec<_> = explained.difference(&found).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "docs/messages.md lacks {missing:?}, and need not have {stale:?}"
    );
}

#[test]
fn ids_are_found_and_what_looks_like_one_is_not() {
    let text = "[GDD-SD-0001] x; GDD-ABI-0123, GDD-SD-12, GDD--0001, GDD-SD-00x1, GDD-SD-0001, GDD-";
    assert_eq!(ids(text), ["GDD-ABI-0123", "GDD-SD-0001"].map(str::to_owned).into());
}
