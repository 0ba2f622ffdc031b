//! Clients of bothsides mode against the daemon's service, over TCP on the loopback.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use gdd_client::{Backup, ClientError, Outcome, Place, Restore, dial};
use gdd_daemon::net::{Limits, NetService};
use gdd_engine::format::superblock::Settings;
use gdd_engine::fsck;
use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;
use gdd_engine::vacuum::VacuumOptions;
use gdd_wire::{Domain, Introduction, Key, KeyRing, StoreId, WireError};

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn options() -> Options {
    Options { workers: Some(2), pin: false, ..Options::default() }
}

fn key(number: u8) -> Key {
    Key::from_secret(&[number; 32]).unwrap()
}

struct Rig {
    root: tempfile::TempDir,
    store: Arc<Store>,
    service: Option<NetService>,
}

impl Rig {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self::of(limits, &Settings::default())
    }

    fn of(limits: Limits, settings: &Settings) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        Store::init(&dir, settings, &options()).unwrap();
        let store = Arc::new(Store::open(&dir, Access::ReadWrite, &options()).unwrap());
        let mut rig = Self { root, store, service: None };
        rig.serve(limits);
        rig
    }

    fn serve(&mut self, limits: Limits) {
        let domain = Domain { name: "site".to_owned(), current: key(1), previous: Some(key(2)) };
        let ring = KeyRing::new(vec![domain]).unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        self.service = Some(NetService::start(Arc::clone(&self.store), &[address], ring, limits).unwrap());
    }

    fn service(&self) -> &NetService {
        self.service.as_ref().unwrap()
    }

    fn client(&self) -> Client {
        let name = || "zoe".to_owned();
        let introduction = Introduction { client: name(), job: name(), program: name() };
        let mut settings = gdd_client::Settings::new(key(1), introduction);
        settings.store = Some(StoreId(self.store.core().store.0));
        let server = self.service().addresses()[0].to_string();
        Client { server, job: "nightly".to_owned(), settings }
    }

    fn streams(&self) -> usize {
        self.store.list().unwrap().len()
    }

    fn stop(mut self) {
        assert!(self.service.take().unwrap().stop(Duration::from_secs(20)));
        Arc::into_inner(self.store).unwrap().close().unwrap();
        let report = fsck::check(&self.root.path().join("store"), 3, &options(), &mut |_| {}).unwrap();
        assert!(report.clean, "{report:?}");
    }
}

/// Who asks, and where.
#[derive(Clone)]
struct Client {
    server: String,
    job: String,
    settings: gdd_client::Settings,
}

impl Client {
    fn dial(&self) -> Result<TcpStream, ClientError> {
        let limits = &self.settings.limits;
        dial(&self.server, limits.connect, limits.silence)
    }

    fn backup(&self) -> Result<Backup<TcpStream>, ClientError> {
        Backup::begin(self.dial()?, &self.settings, &self.job, "all")
    }

    fn restore(&self) -> Result<Restore<TcpStream>, ClientError> {
        Restore::begin(self.dial()?, &self.settings)
    }

    fn with_key(&self, number: u8) -> Self {
        let settings = gdd_client::Settings { key: key(number), ..self.settings.clone() };
        Self { settings, ..self.clone() }
    }

    fn job(&self, job: &str) -> Self {
        Self { job: job.to_owned(), ..self.clone() }
    }

    fn at(&self, server: String) -> Self {
        Self { server, ..self.clone() }
    }
}

/// A backed up file, and where it is.
type Saved = (Place, Vec<u8>);

fn save(client: &Client, files: &[Vec<u8>]) -> Result<(Vec<Saved>, Outcome), ClientError> {
    let mut backup = client.backup()?;
    let mut saved = Vec::new();
    for file in files {
        backup.file_start()?;
        for part in file.chunks(70_001) {
            backup.write(part)?;
        }
        saved.push((backup.file_end()?, file.clone()));
    }
    let count = files.len() as u64;
    Ok((saved, backup.commit(count, [9; 32])?))
}

fn load(restore: &mut Restore<TcpStream>, place: &Place) -> Result<Vec<u8>, ClientError> {
    let Place { stream, offset, length } = *place;
    let mut part = restore.fetch(stream, offset, length)?;
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 50_000]);
    loop {
        match part.read(&mut buffer)? {
            0 => return Ok(bytes),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn assert_comes_back(client: &Client, saved: &[Saved]) {
    let mut restore = client.restore().unwrap();
    for (number, (place, file)) in saved.iter().enumerate() {
        assert!(load(&mut restore, place).unwrap() == *file, "file {number}");
    }
    restore.finish();
}

/// Files of all sizes: many of less than a chunk, some of many chunks.
fn files(seed: u64) -> Vec<Vec<u8>> {
    let small = (0..700_u32).map(|number| noise(seed + u64::from(number), 1 + number as usize * 37 % 9000));
    small
        .chain([noise(seed + 1000, 30_000_000), vec![0; 5_000_000], noise(seed + 1001, 12_345_678)])
        .collect()
}

#[test]
fn only_what_is_new_travels_and_all_of_it_comes_back() {
    let rig = Rig::new();
    let client = rig.client();
    let mut tree = files(1);
    let bytes: usize = tree.iter().map(Vec::len).sum();
    let (first, costs) = save(&client, &tree).unwrap();
    println!("first: {bytes} bytes, {costs:?}");
    assert!(costs.new_bytes > 40_000_000 && costs.wire_bytes > costs.new_bytes, "{costs:?}");
    assert_comes_back(&client, &first);

    let (again, costs) = save(&client, &tree).unwrap();
    println!("again: {bytes} bytes, {costs:?}");
    assert_eq!((costs.new_bytes, costs.stored_bytes), (0, 0));
    assert!(costs.wire_bytes < 5_000, "segments alone: {costs:?}");
    assert_comes_back(&client, &again);

    // A change in the middle, files that go and come: the rest still travels as segments.
    tree[700][15_000_000] ^= 1;
    tree.insert(300, noise(77, 40_000));
    tree.remove(100);
    let (changed, costs) = save(&client, &tree).unwrap();
    println!("changed: {costs:?}");
    assert!(costs.new_bytes < 200_000 && costs.wire_bytes < 400_000, "{costs:?}");
    assert_comes_back(&client, &changed);
    assert_comes_back(&client, &first);

    // Another job has no past, and the same chunks.
    let other = client.job("other").with_key(2);
    let (saved, costs) = save(&other, &tree).unwrap();
    println!("another job: {costs:?}");
    assert_eq!(costs.new_bytes, 0);
    assert!(costs.wire_bytes < bytes as u64 / 100, "{costs:?}");
    assert_comes_back(&client, &saved);
    assert_eq!(rig.streams(), 4);
    assert_eq!(rig.service().counts().receipts, 4);
    rig.stop();
}

/// A job that is many times as long as what a session holds of the one before.
#[test]
fn the_window_slides_over_a_stream_that_is_longer() {
    let rig = Rig::with(Limits { window_chunks: 800, ..Limits::default() });
    let client = rig.client();
    let mut tree = vec![noise(1, 60_000_000), noise(2, 140_000_000)];
    let (_, costs) = save(&client, &tree).unwrap();
    assert!(costs.totals.chunks > 10 * 800, "{costs:?}");
    let (saved, costs) = save(&client, &tree).unwrap();
    println!("the same: {costs:?}");
    assert!(costs.new_bytes == 0 && costs.wire_bytes < 12_000, "segments alone: {costs:?}");
    assert_comes_back(&client, &saved);
    // Behind what is new the old segments are found again: names of all chunks there would be 300 kB.
    tree.insert(1, noise(3, 3_000_000));
    let (saved, costs) = save(&client, &tree).unwrap();
    println!("3 MB in the middle: {costs:?}");
    assert!((3_000_000..3_100_000).contains(&costs.wire_bytes), "{costs:?}");
    assert_comes_back(&client, &saved);
    rig.stop();
}

#[test]
fn an_empty_job_gets_its_receipt() {
    let rig = Rig::new();
    let (saved, costs) = save(&rig.client(), &[]).unwrap();
    assert_eq!((saved.len(), costs.new_bytes), (0, 0));
    rig.stop();
}

#[test]
fn jobs_at_once_do_not_mix() {
    let rig = Rig::new();
    let saved: Vec<Saved> = thread::scope(|scope| {
        let jobs: Vec<_> = (0..4_u64)
            .map(|job| {
                let client = rig.client().job(&format!("job-{job}"));
                // Half of it is the same in all, and new to all at the same moment.
                let tree = [files(1), files(5000 * (job + 1))].concat();
                scope.spawn(move || save(&client, &tree).unwrap().0)
            })
            .collect();
        jobs.into_iter().flat_map(|job| job.join().unwrap()).collect()
    });
    assert_comes_back(&rig.client(), &saved);
    rig.stop();
}

/// An error that is about the way, and not about data.
fn is_of_the_way(error: &ClientError) -> bool {
    matches!(error, ClientError::Wire(_) | ClientError::Unreachable { .. } | ClientError::Ended)
}

fn told<T>(result: Result<T, ClientError>) -> String {
    let Err(ClientError::Trouble { id, .. }) = result else { panic!("no trouble") };
    id
}

#[test]
fn strangers_and_other_stores_are_refused() {
    let rig = Rig::new();
    let client = rig.client();
    let denied = client.with_key(3).backup().map(|_| ());
    assert!(matches!(denied, Err(ClientError::Wire(WireError::Refused))), "{denied:?}");
    let mut other = client.clone();
    other.settings.store = Some(StoreId([3; 16]));
    let denied = other.restore().map(|_| ());
    assert!(matches!(denied, Err(ClientError::Wire(WireError::Store { .. }))), "{denied:?}");
    let (saved, _) = save(&client, &[noise(1, 100_000)]).unwrap();
    // What is not there is an error of this file, and the next one comes.
    let mut restore = client.restore().unwrap();
    let place = saved[0].0;
    assert_eq!(told(load(&mut restore, &Place { stream: [5; 16], ..place })), "GDD-NET-0008");
    assert_eq!(told(load(&mut restore, &Place { length: 100_001, ..place })), "GDD-NET-0009");
    assert!(load(&mut restore, &place).unwrap() == saved[0].1);
    drop(restore);
    rig.stop();
}

#[test]
fn without_a_commit_nothing_is_named() {
    let rig = Rig::new();
    let client = rig.client();
    for length in [0, 100, 3_000_000, 100_000_000] {
        let mut backup = client.backup().unwrap();
        backup.write(&noise(4, length)).unwrap();
        drop(backup);
    }
    while !rig.service().sessions().is_empty() {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(rig.streams(), 0);
    // Chunks of them may be there already, which is no harm.
    let (saved, _) = save(&client, &[noise(4, 5_000_000)]).unwrap();
    assert_comes_back(&client, &saved);
    rig.stop();
}

/// Passes on what comes, up to `limit` bytes of either direction together, then cuts the connection.
fn cutter(to: String, limit: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let Ok((near, _)) = listener.accept() else { return };
        let Ok(far) = TcpStream::connect(to) else { return };
        let passed = AtomicU64::new(0);
        thread::scope(|scope| {
            for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                let passed = &passed;
                scope.spawn(move || {
                    use std::io::{Read, Write};
                    let mut buffer = vec![0; 4096];
                    while let Ok(count @ 1..) = from.read(&mut buffer) {
                        let before = passed.fetch_add(count as u64, Ordering::SeqCst);
                        let left = usize::try_from(limit.saturating_sub(before)).unwrap().min(count);
                        if to.write_all(&buffer[..left]).is_err() || left < count {
                            break;
                        }
                    }
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                });
            }
        });
    });
    address
}

#[test]
fn a_connection_that_is_cut_anywhere_is_no_success() {
    let rig = Rig::new();
    let client = rig.client();
    let tree: Vec<_> = (0..20).map(|number| noise(number, 40_000)).collect();
    let (saved, costs) = save(&client, &tree).unwrap();
    let whole = costs.wire_bytes;
    let mut cut = 0;
    for step in 0..60 {
        let limit = whole * step / 60;
        let server = cutter(client.server.clone(), limit);
        let result = save(&client.at(server).job(&format!("cut-{step}")), &tree);
        // The data are known, so that less travels than the first time: some limits are never reached.
        match result {
            Ok(_) => {}
            Err(error) => {
                cut += 1;
                assert!(is_of_the_way(&error), "{error}");
            }
        }
        let server = cutter(client.server.clone(), limit);
        let bytes = client.at(server).restore().and_then(|mut restore| {
            saved.iter().map(|(place, _)| load(&mut restore, place)).collect::<Result<Vec<_>, _>>()
        });
        match bytes {
            Ok(bytes) => assert!(bytes == tree),
            Err(error) => {
                cut += 1;
                assert!(is_of_the_way(&error), "{error}");
            }
        }
    }
    assert!(cut > 50, "{cut}");
    assert_comes_back(&client, &saved);
    rig.stop();
}

#[test]
fn a_daemon_that_stops_is_told_to_the_job() {
    let mut rig = Rig::new();
    let client = rig.client();
    let mut backup = client.backup().unwrap();
    backup.write(&noise(6, 1_000_000)).unwrap();
    let service = rig.service.take().unwrap();
    assert!(service.stop(Duration::from_secs(20)));
    assert_eq!(told(backup.commit(1, [0; 32])), "GDD-NET-0012");
    assert!(matches!(client.backup().map(|_| ()), Err(ClientError::Unreachable { .. })));
    assert_eq!(rig.streams(), 0);
    rig.serve(Limits::default());
    let (saved, _) = save(&rig.client(), &files(3)).unwrap();
    assert_comes_back(&rig.client(), &saved);
    rig.stop();
}

#[test]
fn a_daemon_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let rig = Rig::new();
    let mut silent = rig.client().at(listener.local_addr().unwrap().to_string());
    silent.settings.limits.connect = Duration::from_millis(300);
    let error = silent.backup().map(|_| ()).unwrap_err();
    assert!(matches!(error, ClientError::Wire(WireError::Timeout { .. })), "{error}");
    rig.stop();
}

#[test]
fn a_cancelled_job_waits_for_nothing() {
    let rig = Rig::new();
    let client = rig.client();
    let mut backup = client.backup().unwrap();
    backup.write(&noise(6, 1_000_000)).unwrap();
    client.settings.cancelled.store(true, Ordering::SeqCst);
    // Whether the answer or the cancellation is seen first, a cancelled job has no way to hang.
    let _ = backup.commit(1, [0; 32]);
    rig.stop();
}

#[test]
fn too_many_clients_are_turned_away_and_told() {
    let rig = Rig::with(Limits { sessions_max: 2, ..Limits::default() });
    let client = rig.client();
    let (_one, _two) = (client.backup().unwrap(), client.restore().unwrap());
    while rig.service().sessions().len() < 2 {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(told(client.backup()), "GDD-NET-0013");
}

/// Bacula waits for a tape in the middle of a restore, for hours perhaps; the client's pings go on.
#[test]
fn a_restore_that_waits_for_a_tape_holds_up_no_vacuum() {
    let rig = Rig::of(Limits::default(), &Settings { container_size: 1 << 20, ..Settings::default() });
    let client = rig.client();
    let (kept, _) = save(&client, &[noise(1, 8_000_000)]).unwrap();
    save(&client.job("other"), &[noise(2, 8_000_000)]).unwrap();
    let mut restore = client.restore().unwrap();
    let (place, bytes) = &kept[0];
    assert!(load(&mut restore, &Place { length: 100_000, ..*place }).unwrap() == bytes[..100_000]);
    let own = |name: &String| !name.contains(&place.stream.map(|byte| format!("{byte:02x}")).concat());
    let other: Vec<String> = rig.store.list().unwrap().into_iter().map(|row| row.name).filter(own).collect();
    assert_eq!(other.len(), 1);
    rig.store.remove(&other[0]).unwrap();
    thread::sleep(Duration::from_secs(6));
    let vacuum = || rig.store.vacuum(&VacuumOptions::default(), &mut |_| (), &mut |_| true).unwrap();
    let report = vacuum();
    assert!(report.freed_containers > 5 && report.waiting_for_readers == 0, "{report:?}");
    assert!(load(&mut restore, place).unwrap() == *bytes, "it goes on all the same");
    restore.finish();
    rig.stop();
}
