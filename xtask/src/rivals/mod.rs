//! gdd beside other programs that keep what repeats once: `cargo xtask rivals`.
//!
//! Whoever chooses a store compares; so do we, with the rows that we lose. Everybody gets the same files from memory
//! and the same disk, in turns, and gives them back to be compared byte for byte. Nobody compresses who can help it,
//! and known data are read again by all, because a look at times and sizes says nothing about a store.
//!
//! A piece is one rival at one corpus, from an empty repository to the restore. Its figures are kept when it is whole,
//! so that a long comparison can be made in short parts: the next call goes on where the last one stopped.

mod corpus;
mod field;
mod install;
mod options;
mod piece;
mod record;
mod summary;
mod table;
mod usage;

use std::fs;
use std::time::{Duration, Instant};

use crate::Result;
use crate::shell::Run;
use corpus::{CORPORA, Corpus};
use field::Rival;
use options::{HELP, Options};
use piece::Place;
use record::Record;
use table::Setting;

/// The chore `rivals`.
pub fn run(arguments: &[String]) -> Result {
    if arguments.iter().any(|word| word == "--help" || word == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    let options = Options::parse(arguments)?;
    fs::create_dir_all(&options.folder).map_err(|error| format!("{}: {error}", options.folder.display()))?;
    let field = install::field(&options)?;
    let name = format!("corpora-{}m-{}", options.size >> 20, options.seed);
    let place = Place {
        corpora: options.folder.join(name),
        scratch: options.folder.join("scratch"),
        logs: options.folder.join("logs"),
        size: options.size,
        seed: options.seed,
    };
    let results = options.folder.join("results.tsv");
    let mut records = record::load(&results)?;
    let plan = plan(&options, &field, &records);
    let mut failures = Vec::new();
    if options.minutes != Some(0) && !plan.is_empty() {
        corpus::make(&place.corpora, options.size, options.seed)?;
        let deadline = options.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
        for (index, piece) in plan.iter().enumerate() {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                eprintln!(
                    "rivals: time is up with {} pieces to do; run it again to go on",
                    plan.len() - index
                );
                break;
            }
            let (run, corpus, (rival, version)) = (piece.run, piece.corpus, piece.rival);
            eprint!("rivals: {}/{}: run {run}, {}, {}: ", index + 1, plan.len(), corpus.name, rival.name);
            match piece::measure(&place, corpus, rival, version, run) {
                Ok(new) => {
                    eprintln!("{}", told(&new));
                    record::append(&results, &new)?;
                    records.extend(new);
                }
                Err(error) => {
                    eprintln!("failed");
                    failures.push(format!("{}, {}: {error}", corpus.name, rival.name));
                }
            }
        }
    }
    show(&options, &records)?;
    for failure in &failures {
        eprintln!("rivals: left out: {failure}");
    }
    Ok(())
}

/// One rival at one corpus.
struct Piece<'a> {
    run: u64,
    corpus: &'static Corpus,
    rival: &'a (&'static Rival, String),
}

/// What is still to be measured: run after run, and in each the rivals in turn, the next run beginning with the next.
fn plan<'a>(options: &Options, field: &'a [(&'static Rival, String)], records: &[Record]) -> Vec<Piece<'a>> {
    let mut plan = Vec::new();
    for run in 1..=options.runs {
        for corpus in CORPORA.iter().filter(|corpus| options.wants_corpus(corpus.name)) {
            let first = usize::try_from(run - 1).unwrap_or(0) % field.len().max(1);
            for rival in field.iter().cycle().skip(first).take(field.len()) {
                let (size, seed, name) = (options.size, options.seed, rival.0.name);
                let done = |record: &Record| record.is(size, seed, run, corpus.name, name, &rival.1);
                if !records.iter().any(done) {
                    plan.push(Piece { run, corpus, rival });
                }
            }
        }
    }
    plan
}

/// A piece on one line.
fn told(records: &[Record]) -> String {
    let step = |record: &Record| {
        let rate = record.bytes as f64 / 1e6 / record.usage.seconds;
        format!("{} {:.1} s ({rate:.0} MB/s)", record.step.name(), record.usage.seconds)
    };
    records.iter().map(step).collect::<Vec<_>>().join(", ")
}

fn show(options: &Options, records: &[Record]) -> Result {
    let of_size = |record: &&Record| {
        (record.size, record.seed) == (options.size, options.seed) && record.run <= options.runs
    };
    let compared: Vec<Record> = records.iter().filter(of_size).cloned().collect();
    let rows = summary::rows(&compared);
    let setting = setting(options);
    let markdown = table::markdown(&rows, &setting);
    let path = options.folder.join("rivals.md");
    fs::write(&path, &markdown).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    if options.json {
        println!("{}", table::json(&rows, &setting));
    } else {
        println!("{markdown}\nrivals: the same is in {}", path.display());
    }
    Ok(())
}

fn setting(options: &Options) -> Setting {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).map(str::to_owned);
        line.and_then(|line| line.split_once(':').map(|(_, value)| value.trim().to_owned()))
            .unwrap_or_default()
    };
    let memory = after(&file("/proc/meminfo"), "MemTotal");
    let kib: u64 = memory.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let place = Run::new("findmnt").words("-n -o FSTYPE,SOURCE -T").arg(&options.folder).answer();
    Setting {
        hardware: format!(
            "{cores} x {}, {} GB, Linux {}, {}",
            after(&file("/proc/cpuinfo"), "model name"),
            kib * 1024 / 1_000_000_000,
            file("/proc/sys/kernel/osrelease").split('-').next().unwrap_or_default().trim(),
            place.split_whitespace().collect::<Vec<_>>().join(" on ")
        ),
        command: options.command(),
        size: options.size,
        seed: options.seed,
        cold: piece::restores_cold(),
    }
}

#[cfg(test)]
mod tests {
    use super::field::FIELD;
    use super::record::Step;
    use super::record::tests::record;
    use super::*;

    #[test]
    fn what_is_measured_is_not_measured_again_and_turns_alternate() {
        let options = Options::parse(&["--runs".to_owned(), "2".to_owned()]).unwrap();
        let field: Vec<_> = FIELD.iter().take(2).map(|rival| (rival, format!("{} 1", rival.name))).collect();
        let all = plan(&options, &field, &[]);
        assert_eq!(all.len(), 2 * CORPORA.len() * 2);
        let names = |plan: &[Piece]| plan.iter().map(|piece| piece.rival.0.name).collect::<Vec<_>>();
        assert_eq!(names(&all[..2]), ["gdd", "borg"]);
        assert_eq!(names(&all[2 * CORPORA.len()..][..2]), ["borg", "gdd"]);
        let rest = plan(&options, &field, &[record("gdd", "real", Step::New, 1.0, 0)]);
        assert_eq!(rest.len(), all.len() - 1);
        assert_eq!(rest[0].rival.0.name, "borg");
    }
}
