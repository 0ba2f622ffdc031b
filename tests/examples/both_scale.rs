//! Bothsides mode at some size, with stock Bacula: an image of which a hundredth changes, many small files, and a
//! daemon that is 50 ms away.
//!
//! `cargo run --release -p gdd-tests --example both_scale -- [only=image|files|far] [image=MIB] [folder=DIR] [files=N]
//! [runs=N] [delay=MS]`. The image has 4096 MiB unless told, half text, a quarter random bytes and a quarter zeros; or
//! DIR/image-a and DIR/image-b are taken, which `cargo xtask corpora DIR` makes of real files. `delay` is one way.
#![allow(clippy::expect_used, clippy::print_stdout, clippy::cast_precision_loss)]

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use gdd_rig::{FileSet, Job, JobResult, Level, Release, Rig};
use gdd_tests::bacula::assert_restored;
use gdd_tests::bothsides::{BothSides, Report, free_port};
use gdd_tests::far::Way;
use gdd_tests::meter::Meter;
use gdd_tests::network::Host;
use gdd_tests::serving::Serving;
use gdd_tests::stream::{Content, Stream};
use gdd_tests::tree::{self, Shape};

/// What a warm job may take of its own time when the daemon is far away.
const RATIO_WANTED: f64 = 1.3;

/// What was asked for.
struct Wanted {
    only: Option<String>,
    image_mib: u64,
    folder: Option<PathBuf>,
    files: u64,
    runs: usize,
    delay: Duration,
}

impl Wanted {
    fn of(words: impl Iterator<Item = String>) -> Self {
        let delay = Duration::from_millis(25);
        let mut wanted = Self { only: None, image_mib: 4096, folder: None, files: 25_000, runs: 3, delay };
        for word in words {
            let (name, value) = word.split_once('=').expect("words are name=value; see the head of the file");
            let number = || value.parse::<u64>().expect("a number");
            match name {
                "only" => wanted.only = Some(value.to_owned()),
                "image" => wanted.image_mib = number(),
                "folder" => wanted.folder = Some(value.into()),
                "files" => wanted.files = number(),
                "runs" => wanted.runs = usize::try_from(number()).expect("a count"),
                "delay" => wanted.delay = Duration::from_millis(number()),
                other => unreachable!("{other}: see the head of the file"),
            }
        }
        wanted
    }

    fn has(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }
}

fn main() {
    let wanted = Wanted::of(std::env::args().skip(1));
    if wanted.has("image") {
        image(&wanted);
    }
    if wanted.has("files") {
        small_files(&wanted);
    }
    if wanted.has("far") {
        far_away(&wanted);
    }
}

fn site() -> BothSides {
    BothSides::new(Release::V9).expect("GDD_RIG is not off")
}

/// The first image, or the one of which 1 % of the blocks of 4 KiB are others.
fn make_image(wanted: &Wanted, name: &str, to: &Path) {
    if let Some(folder) = &wanted.folder {
        let copied = Command::new("cp").arg(folder.join(name)).arg(to).status().expect("cp runs");
        assert!(copied.success(), "{name} is there");
        return;
    }
    let content = Content::Image { text: wanted.image_mib / 2, random: wanted.image_mib / 4 };
    let stream = Stream::new(content, 4, wanted.image_mib << 20);
    let mut stream = if name == "image-b" { stream.changed(5, 100) } else { stream };
    std::io::copy(&mut stream, &mut File::create(to).expect("a file is made")).expect("the disk has room");
}

fn image(wanted: &Wanted) {
    let mut site = site();
    let name = site.client.tree().join("image");
    let meter = Meter::before(site.port());
    let rig = site.client.start(&site.string_at(meter.port(), ""), &[]);
    let stats = site.gdd.json(&["stats"]);
    let sizes = ["min", "avg", "max"].map(|size| stats[format!("chunk_size_{size}")].to_string());
    println!("image: chunks of {} bytes (least, average, most)", sizes.join("/"));
    for image in ["image-a", "image-b"] {
        let _ = fs::remove_file(&name);
        make_image(wanted, image, &name);
        let before = meter.bytes();
        let (job, report) = site.full(&rig);
        let counted = meter.bytes() - before;
        let percent = |bytes: u64| bytes as f64 * 100.0 / report.logical as f64;
        println!(
            "{image}: {} bytes, {counted} on the wire ({:.3} %), {} new ({:.3} %), {} stored, {:.0} MB/s",
            report.logical,
            percent(counted),
            report.new,
            percent(report.new),
            report.stored,
            report.logical as f64 / 1e6 / job.running.as_secs_f64()
        );
        let back = rig.restore(&[job.id]).expect("a restore runs");
        let restored = back.result.clone().demand_ok().expect("it ends well");
        let same = Command::new("cmp").arg(&name).arg(back.path(&name)).status().expect("cmp runs");
        assert!(same.success(), "{image} came back otherwise");
        let seconds = restored.running.as_secs_f64();
        println!("{image}: restored and compared, {:.0} MB/s", report.logical as f64 / 1e6 / seconds);
        fs::remove_file(back.path(&name)).expect("it was there");
    }
    site.stop_and_check();
}

fn small_files(wanted: &Wanted) {
    let mut site = site();
    let tree = site.client.tree();
    let shape = Shape { files: wanted.files, file_size_max: 4000, ..Shape::SMALL };
    tree::build(&tree.join("built"), 8, shape).expect("the tree is built");
    let rig = site.client.bacula(&site.string(""), &[]).job(Job::backup("gdd", "files"));
    let rig = rig.file_set(FileSet::new("plain").include(&tree)).job(Job::backup("plain", "plain"));
    let rig = rig.start().expect("Bacula starts");
    for run in 0..wanted.runs {
        for job in ["gdd", "plain"] {
            let done = run_one(&rig, job);
            let back = rig.restore(&[done.id]).expect("a restore runs");
            let restored = back.result.clone().demand_ok().expect("it ends well");
            drop(fs::remove_dir_all(back.path(&tree)));
            let [backup, restore] = [done.running, restored.running].map(|time| time.as_secs_f64());
            let files = done.files as f64;
            println!(
                "small files, run {run}, {job}: {files} files, backup {backup:.1} s ({:.0} files/s), \
                 restore {restore:.1} s ({:.0} files/s)",
                files / backup,
                files / restore
            );
        }
    }
    site.stop_and_check();
}

/// A daemon on a host of its own, with a short way to it and a long one.
struct Distant {
    daemon: Serving,
    near: String,
    far: String,
    _way: Way,
    _host: Host,
}

impl Distant {
    fn new(site: &mut BothSides, delay: Duration) -> Option<Self> {
        site.daemon().stop();
        let host = Host::new(1)?;
        let way = Way::new(&host, delay)?;
        let (port, key) = (free_port(), site.key_file());
        let server = |address: Ipv4Addr| format!("{address}:{port}");
        let [near, far] = [host.address(), way.address()].map(server);
        let lines = format!(
            "[net]\nlisten = [\"{near}\", \"{far}\"]\n[net.domains.site]\nkey = \"{}\"\n",
            key.display()
        );
        let daemon = Serving::configured(&site.gdd.on(&host), site.client.folder(), &lines);
        for (name, server) in [("near", &near), ("far", &far)] {
            let start = Instant::now();
            drop(TcpStream::connect(server).expect("the daemon listens"));
            println!("{name}: a TCP connection takes {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
        }
        let string = |server: String| format!("gdd:server={server}:key_file={}", key.display());
        Some(Self { daemon, near: string(near), far: string(far), _way: way, _host: host })
    }
}

/// The same known data, near and far, in turn.
fn far_away(wanted: &Wanted) {
    let mut site = site();
    let tree = site.client.tree();
    for folder in ["/usr/bin", "/usr/sbin", "/usr/lib/x86_64-linux-gnu"] {
        let copied =
            Command::new("cp").args(["-a", "--parents", folder]).arg(&tree).current_dir("/").status();
        println!("{folder}: copied, {}", copied.expect("cp runs"));
    }
    let Some(distant) = Distant::new(&mut site, wanted.delay) else { return };
    let rig = site.client.bacula(&distant.near, &[]).job(Job::backup("near", "files"));
    let far = FileSet::new("far").include(&tree).option(&format!("Plugin = \"{}\"", distant.far));
    let rig = rig.file_set(far).job(Job::backup("far", "far")).start().expect("Bacula starts");
    let mut times: [[Vec<f64>; 2]; 2] = Default::default();
    for run in 0..=wanted.runs {
        for (row, job) in ["near", "far"].into_iter().enumerate() {
            let done = run_one(&rig, job);
            if run == 0 {
                assert_restored(&rig, &[&done], &tree);
                continue;
            }
            let back = rig.restore(&[done.id]).expect("a restore runs");
            let restored = back.result.clone().demand_ok().expect("it ends well");
            drop(fs::remove_dir_all(back.path(&tree)));
            let [backup, restore] = [done.running, restored.running].map(|time| time.as_secs_f64());
            println!("{job}, run {run}: backup {backup:.2} s, restore {restore:.2} s");
            times[row][0].push(backup);
            times[row][1].push(restore);
        }
    }
    let [near, far] = times.map(|row| row.map(median));
    println!(
        "{} ms there and back: known data {:.2} s near, {:.2} far, ratio {:.2} (wanted {RATIO_WANTED} at most); \
         restore {:.2} and {:.2}, ratio {:.2}",
        2 * wanted.delay.as_millis(),
        near[0],
        far[0],
        far[0] / near[0],
        near[1],
        far[1],
        far[1] / near[1]
    );
    distant.daemon.stop();
    site.gdd.expect(0, &["fsck"]);
}

fn run_one(rig: &Rig, job: &str) -> JobResult {
    rustix::fs::sync();
    let done = rig.run(job, Level::Full).and_then(JobResult::demand_ok).expect("the job ends well");
    if done.log.contains(" savings ") {
        let _ = Report::of(&done); // Prints it.
    }
    done
}

fn median(mut row: Vec<f64>) -> f64 {
    row.sort_by(f64::total_cmp);
    row[row.len() / 2]
}
