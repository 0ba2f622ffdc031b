//! The command line on real files, without Bacula: store a directory twice, give it back, and compare every byte.
//!
//! It fails when anything differs, when the second put stores more than a trace, or when fsck complains.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{Run, root};
use crate::{Result, setup, tree};

/// Relative to the workspace root, where every command runs.
const GDD: &str = "target/release/gdd";
const TOUR: &str = "target/tour";
const STORE: &str = "target/tour/store";
const RESTORED: &str = "target/tour/restored";

/// An unchanged tree stored again may add this share of its bytes at most (the README's promise).
const NEW_SHARE_MAX: f64 = 0.001;

struct Options {
    keep: bool,
    source: PathBuf,
}

/// The chore `tour`.
pub fn run(arguments: &[String]) -> Result {
    let options = parse(arguments)?;
    setup::for_build()?;
    println!(
        "tour: building gdd; the first time this compiles RocksDB, which takes 10 to 15 minutes on two cores"
    );
    Run::cargo().words("build --release").run()?;
    let folder = root().join(TOUR);
    remove(&folder)?;
    fs::create_dir_all(&folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    let outcome = show(&options.source);
    if options.keep {
        println!("tour: the store stays in {STORE}; look at it with `{GDD} --store {STORE} ls`");
    } else {
        remove(&folder)?;
    }
    outcome
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options { keep: false, source: "/usr/bin".into() };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--keep" => options.keep = true,
            "--source" => options.source = words.next().ok_or("--source needs a directory")?.into(),
            _ => return Err(format!("unknown argument {word:?}; known here: --keep --source DIR")),
        }
    }
    Ok(options)
}

fn show(source: &Path) -> Result {
    println!("tour: every command below uses the store that GDD_STORE names");
    gdd().arg("init").arg(STORE).run()?;
    let name = source.to_string_lossy().trim_matches('/').replace('/', "-");
    let first = put(&format!("{name}-1"), source)?;
    let second = put(&format!("{name}-2"), source)?;
    let restored = root().join(RESTORED);
    fs::create_dir_all(&restored)
        .map_err(|error| format!("cannot create {}: {error}", restored.display()))?;
    let untar = Run::new("tar").words("--extract --preserve-permissions --directory").arg(RESTORED);
    gdd().arg("get").arg(&second.name).pipe(untar)?;
    let compared = tree::compare(source, &restored_root(&restored)?)?;
    gdd().arg("fsck").run()?;
    gdd().arg("ls").run()?;
    gdd().words("bench recall").run()?;
    print!("\n{}\n", table(&[&first, &second]));
    verdict(source, &second, &compared)
}

fn verdict(source: &Path, second: &Put, compared: &tree::Compared) -> Result {
    let source = source.display();
    for line in compared.differences.iter().take(20) {
        println!("differs: {line}");
    }
    if !compared.differences.is_empty() {
        return Err(format!("{} of the restored entries of {source} differ", compared.differences.len()));
    }
    println!(
        "restored {source}: {} files with {} bytes and {} links and directories, all equal, byte for byte",
        compared.files,
        grouped(compared.bytes),
        compared.others,
    );
    if second.new_share() > NEW_SHARE_MAX {
        let share = second.new_share() * 100.0;
        return Err(format!(
            "stored again unchanged, {source} added {share:.3} % of its bytes; at most 0.1 % is right"
        ));
    }
    println!("stored again: {} of {} bytes were new", grouped(second.new_bytes), grouped(second.bytes));
    Ok(())
}

fn gdd() -> Run {
    Run::new(GDD).env("GDD_STORE", STORE)
}

/// `gdd put NAME DIR` stores a tar stream; its names may start below `DIR` or above it, so a lone directory is entered.
fn restored_root(folder: &Path) -> Result<PathBuf> {
    let mut folder = folder.to_owned();
    loop {
        let problem = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
        let entries: Vec<_> = fs::read_dir(&folder).map_err(problem)?.flatten().collect();
        match entries.as_slice() {
            [only] if only.file_type().is_ok_and(|kind| kind.is_dir()) => folder = only.path(),
            _ => return Ok(folder),
        }
    }
}

fn remove(folder: &Path) -> Result {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// What one `gdd put --json` said.
struct Put {
    name: String,
    bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
    dedup_ratio: f64,
    seconds: f64,
    throughput: f64,
}

impl Put {
    fn new_share(&self) -> f64 {
        if self.bytes == 0 { 0.0 } else { self.new_bytes as f64 / self.bytes as f64 }
    }
}

fn put(name: &str, source: &Path) -> Result<Put> {
    let json = gdd().words("put --json").arg(name).arg(source).read()?;
    parse_put(name, &json)
}

fn parse_put(name: &str, json: &str) -> Result<Put> {
    let number =
        |key| number_in(json, key).ok_or_else(|| format!("`gdd put --json` printed no {key:?}: {json}"));
    let whole = |key| number(key).map(|value| format!("{value:.0}").parse().unwrap_or(u64::MAX));
    Ok(Put {
        name: name.to_owned(),
        bytes: whole("bytes")?,
        new_bytes: whole("new_bytes")?,
        stored_bytes: whole("stored_bytes")?,
        dedup_ratio: number_in(json, "dedup_ratio").unwrap_or(f64::INFINITY), // `null` when nothing was new.
        seconds: number("seconds")?,
        throughput: number("throughput_bytes_per_second")?,
    })
}

/// The last number under `key` in a JSON text: `put --json` ends with the object that we ask for.
fn number_in(json: &str, key: &str) -> Option<f64> {
    let after = json.rsplit_once(&format!("\"{key}\""))?.1.trim_start().strip_prefix(':')?.trim_start();
    let end = after.find([',', '}', '\n', ' ']).unwrap_or(after.len());
    after[..end].parse().ok()
}

fn table(puts: &[&Put]) -> String {
    let heads = ["stream", "bytes", "new bytes", "stored", "ratio", "seconds", "MB/s"];
    let mut text = row(&heads.map(str::to_owned));
    for put in puts {
        text.push_str(&row(&[
            put.name.clone(),
            grouped(put.bytes),
            grouped(put.new_bytes),
            grouped(put.stored_bytes),
            format!("{:.2}", put.dedup_ratio),
            format!("{:.2}", put.seconds),
            format!("{:.0}", put.throughput / 1e6),
        ]));
    }
    text
}

fn row(cells: &[String; 7]) -> String {
    let [name, rest @ ..] = cells;
    rest.iter().fold(format!("{name:<16}"), |line, cell| format!("{line} {cell:>15}")) + "\n"
}

/// 1234567 as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"name":"progress","bytes":1}
        {"name":"a","bytes":4096,"new_bytes": 4,"stored_bytes":5,"chunks":1,"dedup_ratio":1024.5,
         "seconds":0.25,"throughput_bytes_per_second":16384.0}"#;

    #[test]
    fn the_last_object_of_put_is_read() {
        let put = parse_put("a", JSON).unwrap();
        assert_eq!((put.bytes, put.new_bytes, put.stored_bytes), (4096, 4, 5));
        assert!(put.new_share() < NEW_SHARE_MAX);
        assert!(table(&[&put]).contains("1024.50"));
        assert!(parse_put("a", "{}").is_err());
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn arguments_are_checked() {
        assert!(parse(&["--keep".into()]).unwrap().keep);
        assert!(parse(&["--source".into()]).is_err());
        assert!(parse(&["--wat".into()]).is_err());
    }
}
