//! Whatever stands in the files, and however they are named: a report, never a panic, and a script that is one.

mod support;

use std::path::Path;

use gdd_tuning::script::Tried;
use gdd_tuning::tree::Tree;
use gdd_tuning::{advise, script};
use proptest::prelude::*;
use support::{TREES, complaint, files, folder, question};

/// What replaces a file's content.
#[derive(Clone, Debug)]
enum Garbage {
    Bytes(Vec<u8>),
    Word(&'static str),
    /// The content, cut there.
    Cut(prop::sample::Index),
    /// The content, each of its numbers this one.
    Numbers(u64),
    /// A byte of the content is another one.
    Flip(prop::sample::Index, u8),
}

const WORDS: [&str; 10] = [
    "",
    "[]",
    "[x] [y]",
    "-1",
    "99999999999999999999999",
    "'; touch pwned; echo '",
    "$(touch pwned) `touch pwned`\n#\\",
    "a\nb\rc\u{1b}[2J\u{2028}d",
    " - - - : : : ,,, ... /../../..",
    "0-4294967295,0-4294967295",
];

fn garbage() -> impl Strategy<Value = Garbage> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80).prop_map(Garbage::Bytes),
        prop::sample::select(&WORDS[..]).prop_map(Garbage::Word),
        any::<prop::sample::Index>().prop_map(Garbage::Cut),
        prop::sample::select(vec![0, 1, u64::from(u32::MAX), u64::MAX]).prop_map(Garbage::Numbers),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Garbage::Flip(at, byte)),
    ]
}

fn spoil(bytes: &[u8], garbage: &Garbage) -> Vec<u8> {
    match garbage {
        Garbage::Bytes(bytes) => bytes.clone(),
        Garbage::Word(word) => word.as_bytes().to_vec(),
        Garbage::Cut(at) => bytes[..at.index(bytes.len() + 1)].to_vec(),
        Garbage::Numbers(number) => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit()) && !word.is_empty();
            let replaced = text
                .split(' ')
                .map(|word| if is_number(word.trim()) { number.to_string() } else { word.to_owned() });
            replaced.collect::<Vec<_>>().join(" ").into_bytes()
        }
        Garbage::Flip(at, byte) => {
            let mut bytes = bytes.to_vec();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes
        }
    }
}

fn write(root: &Path, path: &Path, bytes: &[u8]) {
    let place = root.join(path);
    let folder = place.parent().expect("inside the root");
    // Where the tree has a file, no folder can be: that one is left out.
    if std::fs::create_dir_all(folder).is_ok() && !place.is_dir() {
        std::fs::write(place, bytes).expect("the tree can be written");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn files_may_hold_anything(
        tree in prop::sample::select(&TREES[..]),
        spoiled in prop::collection::vec(prop::option::weighted(0.4, garbage()), 400),
        memory in prop::sample::select(vec![0, 1, 1 << 30, u64::MAX]),
    ) {
        let (name, store, _) = tree;
        let root = tempfile::tempdir().unwrap();
        for ((path, bytes), spoiled) in files(&folder(name)).iter().zip(spoiled.iter().cycle()) {
            let bytes = spoiled.as_ref().map_or_else(|| bytes.clone(), |garbage| spoil(bytes, garbage));
            write(root.path(), path, &bytes);
        }
        let report = advise(&Tree::at(root.path()), question(store, memory));
        let text = script::render(&report, &|_| Some(Tried { lines: vec!["a\nb".to_owned()], is_advised: false }));
        prop_assert_eq!(complaint(&text), "", "{}", text);
        prop_assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "only comments: {}", text);
        prop_assert_eq!(complaint(&script::render(&report, &|_| None)), "");
        serde_json::to_string(&report).unwrap();
    }

    #[test]
    fn disks_and_mounts_may_have_any_name(
        disk in "(sd|nvme|vd|dm-|md)[ -~]{0,12}",
        point in "/[ -~]{0,20}",
        options in "[ -~]{0,20}",
    ) {
        prop_assume!(!disk.contains('/'));
        let root = tempfile::tempdir().unwrap();
        let escaped: String = point.replace('\\', "\\134").replace(' ', "\\040");
        let line = format!("1 0 8:0 / {escaped} rw,nobarrier,{options} - ext4 /dev/x rw,discard\n");
        let queue = format!("sys/block/{disk}/queue");
        for (path, text) in [
            ("proc/self/mountinfo".to_owned(), &*line),
            (format!("sys/block/{disk}/dev"), "8:0"),
            (format!("{queue}/scheduler"), "[bfq] none mq-deadline"),
            (format!("{queue}/rotational"), "1"),
            (format!("{queue}/nomerges"), "2"),
            (format!("{queue}/read_ahead_kb"), "99999"),
        ] {
            write(root.path(), Path::new(&path), text.as_bytes());
        }
        let report = advise(&Tree::at(root.path()), question(&point, 1 << 30));
        let text = script::render(&report, &|_| None);
        prop_assert_eq!(complaint(&text), "", "{}", text);
        // One command a line, and each is one of ours.
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            prop_assert!(["echo ", "mount -o remount,"].iter().any(|ours| line.starts_with(ours)), "{}", line);
        }
    }
}
