//! Style is a test: what a reviewer would otherwise have to say again and again.
//!
//! Each rule reports every breach at once, with what to do instead. A rule that no longer helps is changed here, in the
//! open, and not bent in one place.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gdd_tests::source::{code_only, functions, modules};
use gdd_tests::workspace::root;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 120;

/// Functions that are longer, with their length: they may shrink and not grow. Keep this empty.
const LONG_FUNCTIONS: [(&str, &str, usize); 0] = [];

/// The only files with `unsafe` in them. Each opens with `#![expect(unsafe_code, reason = "...")]`.
const UNSAFE_FILES: &[&str] = &[
    "engine/kernels/src/copy.rs",
    "engine/kernels/src/hash/lanes_avx512.rs",
    "engine/kernels/src/scan_avx512.rs",
    "plugin/abi/src/close.rs",
    "plugin/abi/src/host.rs",
    "plugin/abi/src/message_types.rs",
    "plugin/abi/src/probe.rs",
    "plugin/abi/src/symbols.rs",
    "plugin/abi/src/vtable.rs",
    "plugin/fd/src/abi/entry.rs",
    "plugin/fd/src/abi/host.rs",
    "plugin/sd/src/driver.rs",
    "tests/shim/src/lib.rs",
    "tests/src/denied.rs",
    "tests/src/host13.rs",
    "tests/src/tun.rs",
    "uring/src/buffer.rs",
    "uring/src/mapped.rs",
    "uring/ring/src/memory.rs",
    "uring/ring/src/model.rs",
    "uring/ring/src/process.rs",
    "uring/src/ring.rs",
    "uring/src/submit.rs",
    "uring/tests/denied.rs",
];

/// Folders whose code runs inside other programs.
const LIBRARIES: &[&str] = &[
    "uring/src/",
    "uring/ring/src/",
    "engine/src/",
    "engine/kernels/src/",
    "plugin/abi/src/",
    "plugin/client/src/",
    "plugin/fd/src/",
    "plugin/link/src/",
    "plugin/sd/src/",
    "plugin/wire/src/",
    "tuning/src/",
];
/// Those and the program itself. Test helpers shared between test binaries may leave some unused.
const PRODUCT: &[&str] = &[
    "uring/src/",
    "uring/ring/src/",
    "engine/src/",
    "engine/kernels/src/",
    "engine/daemon/src/",
    "plugin/abi/src/",
    "plugin/client/src/",
    "plugin/fd/src/",
    "plugin/link/src/",
    "plugin/sd/src/",
    "plugin/wire/src/",
    "tuning/src/",
];

/// Code that is not written here: the pattern, in which folders (everywhere when empty; where folders are named, their
/// `mod tests` are free), and what to write instead.
const BANNED_CODE: [(&str, &[&str], &str); 13] = [
    ("#[allow(", &[], "`#[expect(..., reason = \"...\")]`, which complains when it is no longer needed"),
    (
        "#![allow(",
        PRODUCT,
        "`#![expect(..., reason = \"...\")]`, which complains when it is no longer needed",
    ),
    ("#[path", &[], "the module's ordinary place, where the next reader looks for it"),
    ("static mut", &[], "an atomic, or state that is passed along"),
    ("lazy_static!", &[], "`std::sync::LazyLock`"),
    ("mem::uninitialized", &[], "`MaybeUninit`"),
    ("extern crate", &[], "`use`"),
    (
        "process::exit",
        &[],
        "return an `ExitCode` from main: exit() skips destructors, and a ring must be closed",
    ),
    ("println!", LIBRARIES, "`tracing`: a library does not own the terminal"),
    ("fs::write", &["tuning/src/"], "nothing: the advisor reads only"),
    ("File::create", &["tuning/src/"], "nothing: the advisor reads only"),
    ("OpenOptions", &["tuning/src/"], "`File::open`: the advisor reads only"),
    (
        "SystemTime::now",
        &["engine/src/", "engine/kernels/src/"],
        "the clock of the I/O seam, which the simulator turns",
    ),
];

/// Words that say less than their replacement.
const BANNED_WORDS: [(&str, &str); 6] = [
    ("utilize", "use"),
    ("leverage", "use"),
    ("blazing", "a number"),
    ("in order to ", "to "),
    ("out of the box", "say what works without set-up"),
    ("state-of-the-art", "name it and measure against it"),
];

/// A text file of the project: path from the root, and content.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// This file holds the patterns that it looks for.
    fn is_this(&self) -> bool {
        self.path == "tests/tests/tidy.rs"
    }
}

/// Every text file below the root, but for build output and what belongs to git.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("the workspace can be read").flatten() {
            let path = folder.join(entry.file_name());
            let skipped = ["target", "tmp", ".git"].iter().any(|name| path == Path::new(name));
            let kind = entry.file_type().expect("an entry has a type");
            if kind.is_dir() && !skipped {
                folders.push(path);
            } else if kind.is_file() && is_text(&path) {
                let text = fs::read_to_string(root().join(&path)).expect("a source file is UTF-8");
                sources.push(Source { path: path.to_str().expect("a plain path").to_owned(), text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(
        sources.iter().filter(|source| source.is_rust()).count() > 20,
        "the walk has found the workspace"
    );
    sources
}

fn is_text(path: &Path) -> bool {
    let known =
        |extension| ["rs", "md", "toml", "sh", "yml", "service"].iter().any(|known| extension == *known);
    path.extension().is_some_and(known) || path == Path::new(".ci/run")
}

fn assert_none(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}

#[test]
fn files_are_short() {
    let long = |source: &Source| source.is_rust() && source.text.lines().count() > FILE_LINES_MAX;
    let breaches: Vec<_> = sources().into_iter().filter(long).map(|source| source.path).collect();
    assert_none("a file has 500 lines at most; one idea per file", &breaches);
}

#[test]
fn functions_are_short() {
    let mut breaches = Vec::new();
    let mut longest = (0, String::new());
    for source in sources().iter().filter(|source| source.is_rust()) {
        for function in functions(&code_only(&source.text)) {
            let allowed =
                LONG_FUNCTIONS.iter().find(|long| (long.0, long.1) == (&source.path, &function.name));
            let limit = allowed.map_or(FUNCTION_LINES_MAX, |long| long.2);
            let place =
                format!("{}:{} {} has {} lines", source.path, function.line, function.name, function.length);
            if function.length > limit {
                breaches.push(place.clone());
            }
            longest = longest.max((function.length, place));
        }
    }
    println!("longest: {}", longest.1);
    assert_none("a function has 70 lines at most; give a part of it a name", &breaches);
}

#[test]
fn lines_fit() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| !source.path.ends_with(".md")) {
        for (number, line) in source.text.lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX {
                breaches.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    assert_none("a line has 120 columns at most", &breaches);
}

#[test]
fn sources_are_plain_ascii() {
    let mut breaches = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(odd) = line.chars().find(|c| !matches!(c, ' '..='~')) {
                breaches.push(format!("{}:{}: {odd:?}", source.path, number + 1));
            }
        }
        if !source.text.ends_with('\n') || source.text.ends_with("\n\n") {
            breaches.push(format!("{}: ends with exactly one newline", source.path));
        }
    }
    assert_none(
        "sources are printable ASCII, without tabs; write names of characters, or escapes",
        &breaches,
    );
}

#[test]
fn unsafe_stays_in_its_files() {
    let opening = "#![expect(unsafe_code, reason = ";
    let mut breaches = Vec::new();
    let mut listed: BTreeSet<_> = UNSAFE_FILES.iter().copied().collect();
    for source in sources().iter().filter(|source| source.is_rust() && !source.is_this()) {
        let code = code_only(&source.text);
        let uses = code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
        let opens =
            code.contains("#![expect(unsafe_code") && source.text.replace("(\n    ", "(").contains(opening);
        match (listed.remove(source.path.as_str()), uses, opens) {
            (true, true, true) | (false, false, false) => {}
            (true, ..) => {
                breaches.push(format!("{} is listed: it must open with {opening} and need it", source.path))
            }
            (false, ..) => breaches
                .push(format!("{} is not listed: move the unsafe code to a file that is", source.path)),
        }
    }
    breaches.extend(listed.iter().map(|path| format!("{path} is listed and does not exist")));
    assert_none("unsafe code stays in the closed list of files in tests/tests/tidy.rs", &breaches);
}

#[test]
fn nothing_is_left_for_later_and_no_machine_is_named() {
    let words = ["TODO", "FIXME", "XXX", "HACK", "todo!(", "unimplemented!(", "dbg!("];
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp/", "brief")];
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| !source.is_this()) {
        for (number, line) in source.text.lines().enumerate() {
            let found = words.iter().chain(&paths).find(|pattern| line.contains(*pattern));
            breaches.extend(found.map(|pattern| format!("{}:{}: {pattern}", source.path, number + 1)));
        }
    }
    assert_none("do it now or open an issue; write paths that exist on every machine", &breaches);
}

#[test]
fn banned_code_has_a_replacement() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust() && !source.is_this()) {
        let code = code_only(&source.text);
        let tests =
            code.find("#[cfg(test)]\nmod tests {").map_or(usize::MAX, |at| code[..at].lines().count());
        let applies = |folders: &[&str], line: usize| match folders {
            [] => true,
            folders => line < tests && folders.iter().any(|folder| source.path.starts_with(folder)),
        };
        for (number, line) in code.lines().enumerate() {
            let hit = |banned: &&(&str, &[&str], &str)| line.contains(banned.0) && applies(banned.1, number);
            breaches.extend(BANNED_CODE.iter().find(hit).map(|(pattern, _, instead)| {
                format!("{}:{}: `{pattern}`; write {instead}", source.path, number + 1)
            }));
        }
    }
    assert_none("banned", &breaches);
}

#[test]
fn banned_words_have_a_replacement() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| !source.is_this()) {
        for (number, line) in source.text.to_ascii_lowercase().lines().enumerate() {
            let hit = BANNED_WORDS.iter().find(|(word, _)| line.contains(word));
            breaches.extend(hit.map(|(word, instead)| {
                format!("{}:{}: {word:?}; write {instead:?}", source.path, number + 1)
            }));
        }
    }
    assert_none("plain words", &breaches);
}

#[test]
fn every_rust_file_is_compiled() {
    let all: BTreeSet<_> =
        sources().into_iter().filter(Source::is_rust).map(|source| PathBuf::from(source.path)).collect();
    let mut open: Vec<_> = all.iter().filter(|path| is_crate_root(path)).cloned().collect();
    let mut reached = BTreeSet::new();
    let mut breaches = Vec::new();
    while let Some(path) = open.pop() {
        let text = fs::read_to_string(root().join(&path)).expect("a file that was just listed");
        let folder = path.parent().expect("a file lies in a folder");
        let owns_folder = is_crate_root(&path) || path.ends_with("mod.rs");
        let folder = if owns_folder { folder.to_owned() } else { path.with_extension("") };
        for name in modules(&code_only(&text)) {
            let places = [folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")];
            match places.into_iter().find(|place| all.contains(place)) {
                Some(place) => open.push(place),
                None => breaches.push(format!("{}: `mod {name};` has no file", path.display())),
            }
        }
        reached.insert(path);
    }
    breaches.extend(all.difference(&reached).map(|path| format!("{}: no `mod` leads to it", path.display())));
    assert_none("every file belongs to a crate", &breaches);
}

/// A file from which cargo starts: lib.rs, main.rs, build.rs, each file right below tests, benches, examples, bin and
/// fuzz_targets, and main.rs in a folder of tests or examples.
fn is_crate_root(path: &Path) -> bool {
    let folder = path.parent().unwrap_or(Path::new(""));
    let beside_manifest = |folder: &Path| root().join(folder).join("Cargo.toml").exists();
    let names = |names: &[&str]| names.iter().any(|name| path.ends_with(name));
    let parent = folder.parent().unwrap_or(Path::new(""));
    let in_folder = |names: &[&str]| names.iter().any(|name| folder.ends_with(name));
    (names(&["lib.rs", "main.rs"]) && folder.ends_with("src") && beside_manifest(parent))
        || (names(&["build.rs"]) && beside_manifest(folder))
        || (in_folder(&["tests", "benches", "examples", "fuzz_targets"]) && beside_manifest(parent))
        || (names(&["main.rs"])
            && ["tests", "examples"].iter().any(|name| parent.ends_with(name))
            && beside_manifest(parent.parent().unwrap_or(parent)))
        || folder.ends_with("src/bin")
}

#[test]
fn markdown_has_one_title_and_its_links_lead_somewhere() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| source.path.ends_with(".md")) {
        let prose: Vec<_> = source.text.split("```").step_by(2).flat_map(str::lines).collect();
        let titles = prose.iter().filter(|line| line.starts_with("# ")).count();
        if titles != 1 || !source.text.starts_with("# ") {
            breaches.push(format!("{}: starts with its only `# title`, has {titles}", source.path));
        }
        let folder = root().join(&source.path).parent().expect("a file lies in a folder").to_owned();
        for target in
            prose.iter().flat_map(|line| line.split("](").skip(1)).filter_map(|rest| rest.split(')').next())
        {
            let target = target.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !folder.join(target).exists() {
                breaches.push(format!("{}: links to {target}, which does not exist", source.path));
            }
        }
    }
    assert_none("Markdown", &breaches);
}

#[test]
fn two_commands_set_everything_up() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README.md");
    let set_up = readme.split("\n## Set up\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let set_up = set_up.expect("README.md has a section `Set up`");
    let commands: Vec<_> =
        set_up.split("```").skip(1).step_by(2).flat_map(|block| block.lines().skip(1)).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(
        commands[0].starts_with("cargo xtask demo") && commands[1].starts_with("cargo xtask test"),
        "{commands:?}"
    );
    let gate = fs::read_to_string(root().join(".ci/run")).expect("there is a .ci/run");
    assert!(
        gate.lines().any(|line| line.trim() == "cargo xtask test"),
        ".ci/run calls what the README names"
    );
}

#[test]
fn chores_that_are_named_exist() {
    let xtask = fs::read_to_string(root().join("xtask/src/main.rs")).expect("there is an xtask");
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| !source.is_rust()) {
        for rest in source.text.split("cargo xtask ").skip(1) {
            let name: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
            if !name.is_empty() && !xtask.contains(&format!("\"{name}\",")) {
                breaches.push(format!("{}: `cargo xtask {name}`", source.path));
            }
        }
    }
    assert_none("no such chore", &breaches);
}

#[test]
fn the_changelog_names_what_is_not_released() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).expect("there is a CHANGELOG.md");
    assert!(changelog.starts_with("# Changelog\n") && changelog.contains("\n## Unreleased\n"));
}
