//! Clients of several domains at one daemon: what is shared, what is told, what each may take.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use gdd_client::{Backup, ClientError, Outcome, Place, Restore, dial};
use gdd_daemon::net::{Limits, NetService, Rules, Sees};
use gdd_engine::format::superblock::Settings;
use gdd_engine::fsck;
use gdd_engine::options::{Access, Options};
use gdd_engine::store::Store;
use gdd_wire::{Domain, Introduction, Key, KeyRing};

fn options() -> Options {
    Options { workers: Some(2), pin: false, ..Options::default() }
}

/// Who connects, with a key of their domain.
const DOMAINS: [&str; 3] = ["site", "guest", "admin"];

fn key(domain: &str) -> Key {
    let number = DOMAINS.iter().position(|name| *name == domain).unwrap();
    Key::from_secret(&[u8::try_from(number).unwrap() + 1; 32]).unwrap()
}

struct Rig {
    root: tempfile::TempDir,
    store: Arc<Store>,
    service: NetService,
}

impl Rig {
    /// A daemon where site and guest see what is their own, and admin all; with `change` to the guest's rules.
    fn new(change: impl FnOnce(&mut Rules)) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        Store::init(&dir, &Settings::default(), &options()).unwrap();
        let store = Arc::new(Store::open(&dir, Access::ReadWrite, &options()).unwrap());
        let domain = |name: &&str| Domain { name: (*name).to_owned(), current: key(name), previous: None };
        let ring = KeyRing::new(DOMAINS.iter().map(domain).collect()).unwrap();
        let mut guest = Rules::new(Sees::Own);
        change(&mut guest);
        let rules = [Rules::new(Sees::Own), guest, Rules::new(Sees::Store)];
        let domains = DOMAINS.iter().map(|name| (*name).to_owned()).zip(rules).collect();
        let limits = Limits { domains, ..Limits::default() };
        let address = "127.0.0.1:0".parse().unwrap();
        let service = NetService::start(Arc::clone(&store), &[address], ring, limits).unwrap();
        Self { root, store, service }
    }

    fn client(&self, domain: &str, host: &str) -> Client {
        let introduction =
            Introduction { client: host.to_owned(), job: "nightly".to_owned(), program: "test".to_owned() };
        let settings = gdd_client::Settings::new(key(domain), introduction);
        Client { server: self.service.addresses()[0].to_string(), settings }
    }

    fn stored_bytes(&self) -> u64 {
        let containers = self.store.core().index.containers().unwrap();
        containers.iter().map(|(_, row)| row.stored_bytes).sum()
    }

    fn stop(self) {
        assert!(self.service.stop(Duration::from_secs(20)));
        Arc::into_inner(self.store).unwrap().close().unwrap();
        let report = fsck::check(&self.root.path().join("store"), 3, &options(), &mut |_| {}).unwrap();
        assert!(report.clean, "{report:?}");
    }
}

struct Client {
    server: String,
    settings: gdd_client::Settings,
}

impl Client {
    fn dial(&self) -> TcpStream {
        let limits = &self.settings.limits;
        dial(&self.server, limits.connect, limits.silence).unwrap()
    }

    fn begin(&self) -> Result<Backup<TcpStream>, ClientError> {
        Backup::begin(self.dial(), &self.settings, "nightly", "all")
    }

    fn save(&self, file: &[u8]) -> Result<(Place, Outcome), ClientError> {
        bring(self.begin()?, file)
    }

    fn load(&self, place: &Place) -> Result<Vec<u8>, ClientError> {
        let mut restore = Restore::begin(self.dial(), &self.settings)?;
        let mut part = restore.fetch(place.stream, place.offset, place.length)?;
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 50_000]);
        loop {
            match part.read(&mut buffer)? {
                0 => return Ok(bytes),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

fn bring(mut backup: Backup<TcpStream>, file: &[u8]) -> Result<(Place, Outcome), ClientError> {
    backup.file_start()?;
    for part in file.chunks(64 << 10) {
        backup.write(part)?;
    }
    let place = backup.file_end()?;
    Ok((place, backup.commit(1, [9; 32])?))
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn told<T>(result: Result<T, ClientError>) -> (String, String) {
    let Err(ClientError::Trouble { id, text, .. }) = result else { panic!("no trouble") };
    (id, text)
}

#[test]
fn two_hosts_store_once_and_a_third_domain_learns_nothing() {
    let data = noise(1, 20_000_000);
    let (rig, alone) = (Rig::new(|_| {}), Rig::new(|_| {}));
    let (first, costs) = rig.client("site", "one").save(&data).unwrap();
    assert_eq!(costs.new_bytes, data.len() as u64);
    let (second, costs) = rig.client("site", "two").save(&data).unwrap();
    assert_eq!(costs.new_bytes, 0);
    assert!(costs.wire_bytes < data.len() as u64 / 100, "{costs:?}");
    let stored = rig.stored_bytes();

    // The guest is told the same here as by a daemon that has nothing.
    let guest = rig.client("guest", "three");
    let (own, here) = guest.save(&data).unwrap();
    let (_, there) = alone.client("guest", "three").save(&data).unwrap();
    println!("here {here:?}, there {there:?}");
    assert_eq!((here.new_bytes, here.stored_bytes), (there.new_bytes, there.stored_bytes));
    assert_eq!(here.new_bytes, data.len() as u64);
    assert!(here.wire_bytes > data.len() as u64, "all of it came: {here:?}");
    assert_eq!(rig.stored_bytes(), stored, "and is stored once");

    // It gets nothing but its own, and of others not even that they are there.
    let missing = told(guest.load(&Place { stream: [5; 16], ..first }));
    let others = told(guest.load(&first));
    assert_eq!((missing.0.as_str(), others.0.as_str()), ("GDD-NET-0008", "GDD-NET-0008"));
    let hex = |place: &Place| place.stream.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(others.1.replace(&hex(&first), "S"), missing.1.replace(&"05".repeat(16), "S"));
    for (client, place) in
        [(&guest, &own), (&rig.client("site", "two"), &first), (&rig.client("site", "one"), &second)]
    {
        assert!(client.load(place).unwrap() == data);
    }
    assert_eq!(told(rig.client("site", "one").load(&own)).0, "GDD-NET-0008", "nor the other way round");
    rig.stop();
    alone.stop();
}

#[test]
fn a_domain_finds_its_own_again_and_who_sees_the_store_finds_all() {
    let rig = Rig::new(|_| {});
    let data = noise(2, 10_000_000);
    rig.client("guest", "one").save(&data).unwrap();
    // Another host, so no segments of an earlier job help: its chunks are looked up.
    let (place, costs) = rig.client("guest", "two").save(&data).unwrap();
    assert_eq!(costs.new_bytes, 0);
    assert!(costs.wire_bytes < data.len() as u64 / 100, "{costs:?}");
    let (_, costs) = rig.client("admin", "root").save(&data).unwrap();
    assert_eq!(costs.new_bytes, 0, "{costs:?}");
    assert!(rig.client("guest", "one").load(&place).unwrap() == data);
    rig.stop();
}

#[test]
fn a_quota_ends_a_backup_and_harms_no_other_domain() {
    let rig = Rig::new(|rules| rules.quota = Some(15_000_000));
    let guest = rig.client("guest", "one");
    let (place, _) = guest.save(&noise(3, 10_000_000)).unwrap();
    let (id, text) = told(guest.save(&noise(3, 10_000_000)));
    assert_eq!(id, "GDD-NET-0015");
    assert!(text.contains("guest") && text.contains("15000000"), "{text}");
    guest.save(&noise(4, 5_000_000)).unwrap();
    assert_eq!(told(guest.begin().map(|_| ())).0, "GDD-NET-0015", "not even a byte more");
    assert!(guest.load(&place).unwrap() == noise(3, 10_000_000), "what there is can be restored");
    rig.client("site", "one").save(&noise(5, 20_000_000)).unwrap();
    let names: Vec<String> = rig.store.list().unwrap().into_iter().map(|stream| stream.name).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("net/guest/")).count(), 2, "{names:?}");
    rig.stop();
}

#[test]
fn backups_at_once_share_one_quota() {
    let rig = Rig::new(|rules| rules.quota = Some(15_000_000));
    let guest = rig.client("guest", "one");
    let mut slow = guest.begin().unwrap();
    let others: Vec<_> = (0..3).map(|_| guest.begin().unwrap()).collect();
    slow.file_start().unwrap();
    noise(7, 12_000_000).chunks(64 << 10).for_each(|part| slow.write(part).unwrap());
    let place = slow.file_end().unwrap();
    let counted = || rig.service.sessions().iter().map(|session| session.logical_bytes).max().unwrap_or(0);
    while counted() < 6_000_000 {
        // The client hears what was answered meanwhile when something begins or ends.
        slow.file_start().unwrap();
        slow.file_end().unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    // Each of the others alone would fit; with the first none does, whether it began before or begins now.
    for (seed, other) in (8..).zip(others) {
        assert_eq!(told(bring(other, &noise(seed, 10_000_000))).0, "GDD-NET-0015");
    }
    assert_eq!(told(guest.save(&noise(11, 10_000_000))).0, "GDD-NET-0015");
    slow.commit(1, [9; 32]).unwrap();
    while !rig.service.sessions().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    // What the refused had taken is free again.
    guest.save(&noise(12, 3_000_000)).unwrap();
    assert!(guest.load(&place).unwrap() == noise(7, 12_000_000));
    let held: u64 = rig.store.list().unwrap().iter().map(|stream| stream.logical_bytes).sum();
    assert_eq!(held, 15_000_000);
    rig.stop();
}

#[test]
fn a_domain_has_no_more_sessions_than_it_may() {
    let rig = Rig::new(|rules| rules.sessions_max = Some(2));
    let guest = rig.client("guest", "one");
    let open: Vec<_> = (0..2).map(|_| guest.begin().unwrap()).collect();
    let (id, text) = told(guest.begin().map(|_| ()));
    assert_eq!(id, "GDD-NET-0013");
    assert!(text.contains("domain"), "{text}");
    rig.client("site", "one").save(b"others are not concerned").unwrap();
    drop(open);
    while !rig.service.sessions().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    guest.save(b"room again").unwrap();
    rig.stop();
}

#[test]
fn a_rate_holds_up_and_breaks_nothing() {
    let rig = Rig::new(|rules| rules.rate = Some(8 << 20));
    let (guest, data) = (rig.client("guest", "one"), noise(6, 12 << 20));
    let held_up = || rig.service.sessions().iter().map(|session| session.held_up_seconds).sum::<f64>();
    let mut backup = guest.begin().unwrap();
    backup.file_start().unwrap();
    data.chunks(64 << 10).for_each(|part| backup.write(part).unwrap());
    let place = backup.file_end().unwrap();
    backup.commit(1, [9; 32]).unwrap();
    let mut restore = Restore::begin(guest.dial(), &guest.settings).unwrap();
    let mut part = restore.fetch(place.stream, place.offset, place.length).unwrap();
    let (mut bytes, mut buffer, mut most) = (Vec::new(), vec![0; 50_000], 0.0_f64);
    loop {
        match part.read(&mut buffer).unwrap() {
            0 => break,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
        most = most.max(held_up());
    }
    assert!(bytes == data);
    assert!(most > 0.0, "the restore alone is more than a burst");
    drop(part);
    restore.finish();
    rig.stop();
}
