//! Soak: days of a backup server in minutes. Each cycle changes the clients' data, backs it up, prunes old backups,
//! vacuums, scrubs, restores and compares; at times something is killed in the middle.
//!
//! The clients are streams of a constant size, and one more is a client of bothsides mode: what is live does not grow,
//! so the store must not either.
//!
//! # What must hold
//! - Every backup that was acknowledged and not pruned comes back with its digest.
//! - A killed command or daemon loses nothing acknowledged; what was not is done again.
//! - Memory, disk and savings show no trend; see [`verdict`].

pub mod plot;
pub mod remote;
pub mod trend;
pub mod verdict;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::remote::Remote;
use crate::bothsides::free_port;
use crate::gdd::{Gdd, piped};
use crate::json::number;
use crate::random::Random;
use crate::serving::Serving;

/// The daemon is killed in the first of so many parts of a run; afterwards its memory is watched.
pub const CALM_FROM: u64 = 7;
/// Clients.
const CLIENTS: usize = 4;
/// Bytes of each one's data.
const CLIENT_SIZE: usize = 8 << 20;
/// Backups of each that are kept.
const KEPT: u64 = 5;
/// Bytes that are changed at once.
const BLOCK: usize = 4096;
/// Blocks of a client that change from one backup to the next.
const CHANGED: usize = CLIENT_SIZE / BLOCK / 50;
/// Backups that are restored and compared in each cycle.
const RESTORED: usize = 3;
/// The longest wait before something is killed, in milliseconds.
const KILL_WITHIN: u64 = 120;
/// How long the daemon may be at work for a command that was cut.
const BUSY_MAX: Duration = Duration::from_secs(60);
/// Small chunks: many rows, so that the index's write buffers fill and are emptied many times.
const CHUNKS: &str = "1k/2k/8k";
/// Memory of the daemon's caches: so little that they are full when its memory begins to be watched.
const MEMORY: &str = "64m";
/// The daemon does nothing by itself: each cycle does all of it.
const CONFIGURATION: &str = "[vacuum]\nevery = \"never\"\n[scrub]\nevery = \"never\"\n";

/// What one cycle measured. Bytes and seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// The daemon's memory that is resident.
    pub resident: f64,
    /// Files of containers, the free ones too.
    pub disk: f64,
    /// Bytes of sealed containers that streams need.
    pub needed: f64,
    /// Bytes of the backups.
    pub backed_up: f64,
    /// Of those, new ones.
    pub new: f64,
    /// Bytes of the remote client's backup.
    pub remote: f64,
    /// Bytes that travelled for it, both ways.
    pub wire: f64,
    /// Time of the backups.
    pub put_seconds: f64,
    /// Time of the restores.
    pub get_seconds: f64,
    /// Time of the vacuum.
    pub vacuum_seconds: f64,
    /// Time of the scrub.
    pub scrub_seconds: f64,
    /// Commands and daemons killed so far.
    pub kills: f64,
}

/// See the module.
pub struct Soak {
    folder: PathBuf,
    gdd: Gdd,
    daemon: Option<Serving>,
    random: Random,
    clients: Vec<Vec<u8>>,
    port: u16,
    remote: Remote,
    /// Digests of the backups that must come back, by name.
    backups: BTreeMap<String, blake3::Hash>,
    cycle: u64,
    kills: u64,
    /// Cycles from which on the daemon is killed no more, so that its memory can be watched.
    calm_from: u64,
    compared: u64,
}

impl Soak {
    /// A new store in `folder`, whose daemon is killed at times in the first `wild` cycles.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(folder: &Path, seed: u64, wild: u64) -> Self {
        let socket = folder.join("gdd.sock");
        let gdd = Gdd::at(&folder.join("store")).with_env("GDD_SOCKET", &socket.to_string_lossy());
        gdd.init_with(&["--container-size", "1m", "--chunk-size", CHUNKS]);
        let mut random = Random::new(seed);
        let clients = (0..CLIENTS).map(|_| noise(&mut random, CLIENT_SIZE)).collect();
        let (key, port) = (folder.join("site.key"), free_port());
        gdd.expect(0, &[OsStr::new("key"), OsStr::new("new"), key.as_os_str()]);
        let remote = Remote::new(&key, port, noise(&mut random, CLIENT_SIZE));
        let daemon = Some(start(&gdd, folder, port));
        Self {
            folder: folder.to_owned(),
            gdd,
            daemon,
            random,
            clients,
            port,
            remote,
            backups: BTreeMap::new(),
            cycle: 0,
            kills: 0,
            calm_from: wild,
            compared: 0,
        }
    }

    /// One cycle.
    ///
    /// # Panics
    /// When anything does not hold.
    pub fn cycle(&mut self) -> Sample {
        self.cycle += 1;
        let mut sample = Sample::default();
        let started = Instant::now();
        for client in 0..CLIENTS {
            change(&mut self.random, &mut self.clients[client]);
            let put = self.back_up(client);
            sample.backed_up += put.0;
            sample.new += put.1;
        }
        sample.put_seconds = started.elapsed().as_secs_f64();
        change(&mut self.random, &mut self.remote.data);
        if self.is_unlucky() {
            self.cut_remote();
        }
        sample.wire = self.remote.back_up(self.cycle).wire_bytes as f64;
        sample.remote = self.remote.data.len() as f64;
        self.prune();
        let vacuum = self.upkeep(&["vacuum", "--rate", "0"]);
        sample.vacuum_seconds = vacuum["seconds"].as_f64().unwrap_or(0.0);
        let scrub = self.upkeep(&["scrub", "--rate", "0"]);
        assert_eq!(number(&scrub, "containers_damaged"), 0, "{scrub}");
        sample.scrub_seconds = scrub["seconds"].as_f64().unwrap_or(0.0);
        let started = Instant::now();
        self.restore(RESTORED);
        sample.get_seconds = started.elapsed().as_secs_f64();
        let dry = self.upkeep(&["vacuum", "--dry-run"]);
        sample.needed = number(&dry, "needed_bytes") as f64;
        sample.disk = self.disk_bytes();
        sample.resident = self.resident_bytes();
        sample.kills = self.kills as f64;
        sample
    }

    /// Compare every backup, stop the daemon, and check the store. Returns the number of restores compared in all.
    ///
    /// # Panics
    /// When anything does not hold.
    pub fn finish(mut self) -> u64 {
        self.restore(usize::MAX);
        if let Some(daemon) = self.daemon.take() {
            daemon.stop();
        }
        let report = self.gdd.json(&["fsck"]);
        assert_eq!(report["clean"], true, "{report}");
        self.compared
    }

    /// Back a client up, again if it was killed; returns bytes and new bytes.
    fn back_up(&mut self, client: usize) -> (f64, f64) {
        let (name, bytes) = (format!("client-{client}-{}", self.cycle), self.clients[client].clone());
        let digest = blake3::hash(&bytes);
        if self.is_unlucky() {
            self.cut(&["put", &name], &bytes);
        }
        // The daemon may have had all of it when the command was cut, and may still be at it.
        let until = Instant::now() + BUSY_MAX;
        let put = loop {
            if self.names().contains(&name) {
                assert_eq!(self.gdd.digest(&name).0, digest, "{name} was cut, and is there");
                break None;
            }
            let put = self.gdd.try_put(&name, &bytes[..]);
            if put.code != Some(1) || !put.stderr.contains("exists") || Instant::now() > until {
                put.demand(0);
                break Some(put.json());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        self.backups.insert(name, digest);
        (bytes.len() as f64, put.map_or(0.0, |put| number(&put, "new_bytes") as f64))
    }

    fn prune(&mut self) {
        let Some(old) = self.cycle.checked_sub(KEPT) else { return };
        if let Some(end) = self.remote.name_end(old) {
            let name =
                self.names().into_iter().find(|name| name.ends_with(&end)).expect("a job has a stream");
            self.gdd.expect(0, &["rm", &name]);
            self.remote.jobs.remove(&old);
        }
        for client in 0..CLIENTS {
            let name = format!("client-{client}-{old}");
            if self.backups.remove(&name).is_none() {
                continue;
            }
            if self.is_unlucky() {
                self.cut(&["rm", &name], &[]);
                if !self.names().contains(&name) {
                    continue;
                }
            }
            self.gdd.expect(0, &["rm", &name]);
        }
    }

    /// A command that keeps the store whole, cut at times and run again.
    fn upkeep(&mut self, words: &[&str]) -> Value {
        if self.is_unlucky() {
            self.cut(words, &[]);
        }
        let until = Instant::now() + BUSY_MAX;
        loop {
            // One that was cut may still be ending in the daemon.
            let ran = self.gdd.run(&[words, &["--json"]].concat());
            if ran.code != Some(4) || Instant::now() > until {
                ran.demand(0);
                return ran.json();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn restore(&mut self, most: usize) {
        let mut names: Vec<String> = self.backups.keys().cloned().collect();
        while names.len() > most {
            let at = self.random.place(names.len());
            names.swap_remove(at);
        }
        for name in names {
            assert_eq!(self.gdd.digest(&name).0, self.backups[&name], "cycle {}: {name}", self.cycle);
            self.compared += 1;
        }
        let mut jobs: Vec<u64> = self.remote.jobs.keys().copied().collect();
        while jobs.len() > most.div_ceil(CLIENTS) {
            let at = self.random.place(jobs.len());
            jobs.swap_remove(at);
        }
        for job in jobs {
            self.remote.restore(job);
            self.compared += 1;
        }
    }

    /// The remote client, or the daemon, dies in the middle of a job.
    fn cut_remote(&mut self) {
        self.kills += 1;
        let bytes = self.random.place(CLIENT_SIZE);
        let kills_daemon = self.cycle < self.calm_from && self.random.below(2) == 0;
        let daemon = if kills_daemon { self.daemon.take() } else { None };
        self.remote.cut(bytes, || daemon.map(Serving::kill).is_some());
        if kills_daemon {
            self.daemon = Some(start(&self.gdd, &self.folder, self.port));
        }
    }

    fn names(&self) -> Vec<String> {
        let listed = self.gdd.json(&["ls"]);
        let streams = listed["streams"].as_array().cloned().unwrap_or_default();
        streams.iter().filter_map(|stream| stream["name"].as_str().map(str::to_owned)).collect()
    }

    fn is_unlucky(&mut self) -> bool {
        self.random.below(12) == 0
    }

    /// Start a command and kill it, or the daemon that works for it, soon.
    fn cut(&mut self, words: &[&str], input: &[u8]) {
        self.kills += 1;
        let mut command = self.gdd.command();
        let mut child = piped(command.args(words));
        let pipe = child.stdin.take();
        let pause = Duration::from_millis(self.random.below(KILL_WITHIN));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // It ends when the other side does.
                pipe.map(|mut pipe| std::io::Write::write_all(&mut pipe, input).map_err(|error| error.kind()))
            });
            std::thread::sleep(pause);
            if self.cycle < self.calm_from && self.random.below(2) == 0 {
                if let Some(daemon) = self.daemon.take() {
                    daemon.kill();
                }
                let _ = child.wait();
                self.daemon = Some(start(&self.gdd, &self.folder, self.port));
            } else {
                let _ = child.kill(); // It may have ended.
                let _ = child.wait();
            }
        });
    }

    fn disk_bytes(&self) -> f64 {
        let folder = |name: &str| -> u64 {
            let entries = std::fs::read_dir(self.gdd.store().join(name)).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
        };
        (folder("containers") + folder("pool")) as f64
    }

    fn resident_bytes(&self) -> f64 {
        let Some(daemon) = &self.daemon else { return 0.0 };
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kib.unwrap_or(0.0) * 1024.0
    }
}

fn start(gdd: &Gdd, folder: &Path, port: u16) -> Serving {
    let key = folder.join("site.key");
    let net =
        format!("[net]\nlisten = [\"127.0.0.1:{port}\"]\n[net.domains.site]\nkey = \"{}\"\n", key.display());
    Serving::arranged(gdd, folder, &["--memory", MEMORY], &format!("{CONFIGURATION}{net}"))
}

/// Blocks here and there, and an insertion for which as much goes at the end.
fn change(random: &mut Random, data: &mut Vec<u8>) {
    for _ in 0..CHANGED {
        let at = random.place(CLIENT_SIZE / BLOCK) * BLOCK;
        let block = noise(random, BLOCK);
        data[at..at + BLOCK].copy_from_slice(&block);
    }
    let (at, len) = (random.place(CLIENT_SIZE), 1 + random.place(5000));
    let inserted = noise(random, len);
    data.splice(at..at, inserted);
    data.truncate(CLIENT_SIZE);
}

fn noise(random: &mut Random, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}
