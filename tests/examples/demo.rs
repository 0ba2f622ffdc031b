//! The product on real directories: stock Bacula backs them up through gdd, restores them, and every file is compared.
//!
//! `cargo xtask demo` builds what this needs and runs it. It makes a store with a daemon, and a Bacula whose storage
//! daemon loads the driver and whose file daemon loads the plugin, in a folder that is removed afterwards. It ends with
//! an error when a job does not end well, when anything restored differs, or when fsck complains.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gdd_rig::random::Random;
use gdd_rig::snapshot::Snapshot;
use gdd_rig::{
    Builder, Daemon, Device, FileSet, Job, JobResult, Level, Packages, Pool, Progress, Release, Restored, Rig,
};
use gdd_tests::bothsides::{Report, free_port};
use gdd_tests::gdd::Gdd;
use gdd_tests::serving::Serving;
use gdd_tests::{client, workspace};

const DEVICE: &str = "Dedup";
const POOL: &str = "Daily";
const VOLUME: &str = "Dedup-0001";
const JOB: &str = "demo";
/// The plain device of bothsides mode, its pool and its job.
const PLAIN: &str = "Plain";
/// A file that is edited before the incremental, by an insertion in its middle, and its size before that in bytes.
const EDITED: &str = "edited";
const EDITED_SIZE: usize = 8 << 20;
const USAGE: &str = "known here: --source DIR (repeatable), --bacula 9|15, --drivers DIR, --keep";

/// An outcome; the error is one sentence.
type Result<T = ()> = std::result::Result<T, String>;

struct Options {
    sources: Vec<PathBuf>,
    release: Release,
    /// A folder with the driver under the name that this Bacula looks for; the one that was built when absent.
    drivers: Option<PathBuf>,
    keep: bool,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match parse(&words).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: &[String]) -> Result<Options> {
    let mut options = Options { sources: Vec::new(), release: Release::V9, drivers: None, keep: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut folder = || {
            let named = words.next().ok_or(format!("{word} needs a directory"))?;
            fs::canonicalize(named).map_err(|error| format!("{word} {named}: {error}"))
        };
        match word.as_str() {
            "--source" => options.sources.push(folder()?),
            "--drivers" => options.drivers = Some(folder()?),
            "--keep" => options.keep = true,
            "--bacula" => {
                options.release = match words.next().map(String::as_str) {
                    Some("9") => Release::V9,
                    Some("15") => Release::V15,
                    other => {
                        return Err(format!("--bacula takes 9 or 15, not {}", other.unwrap_or("nothing")));
                    }
                }
            }
            _ => return Err(format!("unknown argument {word:?}; {USAGE}")),
        }
    }
    if options.sources.is_empty() {
        // Without links: on most systems the one is another name of the other's neighbour.
        let usual = ["/usr/bin", "/usr/sbin"].map(fs::canonicalize);
        options.sources = usual.into_iter().flatten().collect();
        options.sources.dedup();
    }
    Ok(options)
}

fn run(options: &Options) -> Result {
    let said = Progress::new(say);
    let packages = Packages::of(options.release, &said).map_err(text)?;
    let folder = workspace::scratch("demo");
    let outcome = Stage::set(options, folder.path(), packages, said).and_then(|stage| show(stage, options));
    if options.keep {
        let folder = folder.keep();
        say(&format!("everything is left in {}; look with `{}`", folder.display(), look(&folder)));
    }
    outcome
}

fn look(folder: &Path) -> String {
    format!("target/release/gdd --store {} ls", folder.join("store").display())
}

/// A daemon on a new store, and a Bacula that backs up to it.
struct Stage {
    gdd: Gdd,
    serving: Serving,
    rig: Rig,
    /// A folder of ours that every job takes along: the incremental needs something that changes.
    changing: PathBuf,
    /// What was measured so far.
    rows: Vec<Row>,
}

/// What one backup cost.
struct Row {
    what: &'static str,
    files: u64,
    client: u64,
    volume: u64,
    store: u64,
    seconds: f64,
}

impl Stage {
    fn set(options: &Options, folder: &Path, packages: Packages, said: Progress) -> Result<Self> {
        let socket = folder.join("gdd.sock");
        let gdd = Gdd::at(&folder.join("store")).with_flags(&["--socket", &socket.to_string_lossy()]);
        gdd.init();
        let (key, port) = (folder.join("site.key"), free_port());
        gdd.expect(0, &["key", "new", &key.to_string_lossy()]);
        let net = format!(
            "[net]\nlisten = [\"127.0.0.1:{port}\"]\n[net.domains.site]\nkey = \"{}\"\n",
            key.display()
        );
        let serving = Serving::configured(&gdd, folder, &net);
        say("gdd serves a new store");
        let plugins = folder.join("plugins");
        fs::create_dir(&plugins).map_err(text)?;
        let built = client::product();
        fs::copy(&built, plugins.join("gdd-fd.so")).map_err(|error| {
            format!("{}: {error}; build it with `cargo build --release -p gdd-fd`", built.display())
        })?;
        let drivers = match &options.drivers {
            Some(drivers) => drivers.clone(),
            None => {
                let drivers = folder.join("drivers");
                let driver = drivers.join(packages.driver_file("cloud"));
                fs::create_dir(&drivers).map_err(text)?;
                let built = workspace::driver();
                fs::copy(&built, driver).map_err(|error| {
                    format!("{}: {error}; build it with `cargo build --release -p gdd-sd`", built.display())
                })?;
                drivers
            }
        };
        let changing = folder.join("changing");
        fs::create_dir(&changing).map_err(text)?;
        let mut bytes = vec![0; EDITED_SIZE];
        Random::new(1).fill(&mut bytes);
        fs::write(changing.join(EDITED), &bytes).map_err(text)?;
        let all = |set| options.sources.iter().fold(set, |set: FileSet, source| set.include(source));
        let set = all(FileSet::new(JOB)).include(&changing);
        let plugin = format!("Plugin = \"gdd:server=127.0.0.1:{port}:key_file={}\"", key.display());
        let client_side = all(FileSet::new(PLAIN)).include(&changing).option(&plugin);
        let builder: Builder = Rig::builder()
            .packages(packages)
            .folder(folder)
            .progress(said)
            .storage_plugins(&drivers)
            .env(Daemon::Storage, "GDD_SOCKET", &socket.to_string_lossy())
            .device(Device::new(DEVICE, "Cloud"))
            .pool(Pool::new(POOL, DEVICE))
            .file_set(set)
            .job(Job::backup(JOB, JOB))
            .file_plugins(&plugins)
            .device(Device::file(PLAIN))
            .pool(Pool::new(PLAIN, PLAIN).label_format("Plain-"))
            .file_set(client_side)
            .job(Job::backup(PLAIN, PLAIN).pool(PLAIN));
        let builder = if options.keep { builder.keep() } else { builder };
        let rig = builder.start().map_err(text)?;
        let answer = rig.label(VOLUME, POOL).map_err(text)?;
        let labelled = answer.lines().find(|line| line.contains("successfully created"));
        say(&format!("label: {}", labelled.unwrap_or(&answer).trim()));
        Ok(Self { gdd, serving, rig, changing, rows: Vec::new() })
    }

    /// Back up, and measure.
    fn back_up(&mut self, what: &'static str, level: Level) -> Result<JobResult> {
        say(&format!("{what}: running"));
        let (volume, store) = (self.volume_size()?, self.stored());
        let job = self.rig.run(JOB, level).and_then(JobResult::demand_ok).map_err(text)?;
        let row = Row {
            what,
            files: job.files,
            client: job.bytes,
            volume: self.volume_size()?.saturating_sub(volume),
            store: self.stored().saturating_sub(store),
            seconds: job.wall.as_secs_f64(),
        };
        for at in job.log.match_indices("[GDD-").map(|(at, _)| at) {
            say(job.log[at..].lines().next().unwrap_or_default());
        }
        self.rows.push(row);
        Ok(job)
    }

    fn volume_size(&self) -> Result<u64> {
        let file = self.rig.volume_file(DEVICE, VOLUME).map_err(text)?;
        fs::metadata(&file).map(|file| file.len()).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// Bytes of chunks in the store.
    fn stored(&self) -> u64 {
        self.gdd.json(&["stats"])["stored_bytes"].as_u64().unwrap_or_default()
    }

    /// Restore, and demand that it ended well.
    fn restore(
        &self,
        what: &str,
        restore: impl FnOnce(&Rig) -> gdd_rig::Result<Restored>,
    ) -> Result<Restored> {
        say(&format!("restore of {what}: running"));
        let back = restore(&self.rig).map_err(text)?;
        back.result.clone().demand_ok().map_err(text)?;
        Ok(back)
    }
}

fn show(mut stage: Stage, options: &Options) -> Result {
    stage.back_up("first full", Level::Full)?;
    let second = stage.back_up("second full", Level::Full)?;

    let back = stage.restore("the second full", |rig| rig.restore(&[second.id]))?;
    for source in options.sources.iter().chain([&stage.changing]) {
        compare(source, &back.path(source))?;
    }
    fs::remove_dir_all(&back.folder).map_err(text)?;
    let single = first_file(&options.sources[0]).unwrap_or_else(|| stage.changing.join(EDITED));
    let back =
        stage.restore(&single.display().to_string(), |rig| rig.restore_files(&[second.id], &[&single]))?;
    compare_file(&single, &back.path(&single))?;

    let edited = stage.changing.join(EDITED);
    let mut bytes = fs::read(&edited).map_err(text)?;
    bytes.splice(EDITED_SIZE / 2..EDITED_SIZE / 2, *b"as the incremental sees it\n");
    fs::write(&edited, bytes).map_err(text)?;
    say("27 bytes were inserted in the middle of a file");
    let incremental = stage.back_up("incremental", Level::Incremental)?;
    let jobs = [second.id, incremental.id];
    let back = stage.restore("the edited file", |rig| rig.restore_files(&jobs, &[&edited]))?;
    compare_file(&edited, &back.path(&edited))?;

    let lines = client_side(&stage, options)?;

    println!("\n$ gdd status\n{}", stage.gdd.expect(0, &["status"]).stdout.trim_end());
    let Stage { gdd, serving, rig, rows, .. } = stage;
    drop(rig);
    serving.stop();
    let checked = gdd.expect(0, &["fsck"]).stdout;
    println!("\n$ gdd fsck   # the daemon has stopped\n{}", checked.trim_end());
    print!("\nStorage mode:\n{}", table(&rows));
    println!("\nBothsides mode, the same files to the same store:");
    lines.iter().for_each(|line| println!("{line}"));
    println!("\nEvery restored file is equal: content, mode, owner, time, links, extended attributes.");
    Ok(())
}

/// The same files through the client's plugin, onto a plain device. The store has them already, from storage mode.
fn client_side(stage: &Stage, options: &Options) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut last = None;
    for what in ["first full", "second full"] {
        say(&format!("{what} in bothsides mode: running"));
        let job = stage.rig.run(PLAIN, Level::Full).and_then(JobResult::demand_ok).map_err(text)?;
        let report = Report::of(&job);
        lines.push(format!(
            "{what:<12} {:>7} files, {:>13} client bytes, {:>11} on the wire ({:.4} %), {:>9} in the volume",
            grouped(job.files),
            grouped(report.logical),
            grouped(report.wire),
            share(report.wire, report.logical),
            grouped(job.bytes),
        ));
        last = Some(job.id);
    }
    let jobs: Vec<_> = last.into_iter().collect();
    let back = stage.restore("the second full of bothsides mode", |rig| rig.restore(&jobs))?;
    for source in options.sources.iter().chain([&stage.changing]) {
        compare(source, &back.path(source))?;
    }
    fs::remove_dir_all(&back.folder).map_err(text)?;
    Ok(lines)
}

/// Demand that two trees are equal.
fn compare(original: &Path, restored: &Path) -> Result {
    let differences = gdd_rig::compare(original, restored).map_err(text)?;
    for line in differences.iter().take(20) {
        println!("differs: {line}");
    }
    match differences.len() {
        0 => {
            say(&format!("{} came back equal", original.display()));
            Ok(())
        }
        count => Err(format!("{count} differences between {} and what was restored", original.display())),
    }
}

/// Demand that two files are equal, as files of their folders.
fn compare_file(original: &Path, restored: &Path) -> Result {
    let entry = |file: &Path| {
        let (folder, name) = file.parent().zip(file.file_name()).ok_or("a file lies in a folder")?;
        let snapshot =
            Snapshot::of(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
        let entry = snapshot.get(&name.to_string_lossy()).cloned();
        entry.ok_or(format!("{} is missing", file.display()))
    };
    let (expected, found) = (entry(original)?, entry(restored)?);
    if expected != found {
        return Err(format!("{}: expected {expected:?}, found {found:?}", original.display()));
    }
    say(&format!("{} came back equal", original.display()));
    Ok(())
}

/// A plain file right in `folder`, the first by name, without other names.
fn first_file(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let lone = |entry: &fs::DirEntry| entry.metadata().is_ok_and(|file| file.is_file() && file.nlink() == 1);
    let plain = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().chars().all(char::is_alphanumeric);
    entries.filter(lone).filter(plain).map(|entry| entry.path()).min()
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<12} {:>7} {:>15} {:>13} {:>9} {:>13} {:>9} {:>8}\n",
        "job", "files", "client bytes", "volume bytes", "", "store bytes", "", "seconds"
    );
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
    let all = Row {
        what: "all",
        files: sum(|row| row.files),
        client: sum(|row| row.client),
        volume: sum(|row| row.volume),
        store: sum(|row| row.store),
        seconds: rows.iter().map(|row| row.seconds).sum(),
    };
    for row in rows.iter().chain([&all]) {
        text.push_str(&format!(
            "{:<12} {:>7} {:>15} {:>13} {:>8.3}% {:>13} {:>8.3}% {:>8.1}\n",
            row.what,
            grouped(row.files),
            grouped(row.client),
            grouped(row.volume),
            share(row.volume, row.client),
            grouped(row.store),
            share(row.store, row.client),
            row.seconds,
        ));
    }
    let kept = all.volume + all.store;
    let saved = all.client.saturating_sub(kept);
    text + &format!(
        "saved: {} of {} bytes ({:.1} %); kept: {} in volumes and store\n",
        grouped(saved),
        grouped(all.client),
        share(saved, all.client),
        grouped(kept),
    )
}

/// Of 100.
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64 * 100.0
}

/// 1234567 as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    parts.join(",")
}

fn say(line: &str) {
    println!("demo: {line}");
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
