//! Work with several hands on one open store: streams being stored and restored, streams removed, and the vacuum, each
//! taking a step in an order that the seed decides.
//!
//! # What must hold
//! - What was begun is finished as if nobody else were there: a restore that was begun gives every byte, although its
//!   stream is removed and the vacuum runs meanwhile.
//! - On a disk that works, nothing fails.

use gdd_engine::get::Get;
use gdd_engine::ingest::Put;
use gdd_engine::vacuum::VacuumOptions;
use gdd_uring::sim::{Rng, SimDisk};

use super::rig::Open;
use super::{Model, Outcome, Weather};

/// Steps of a shift, at most.
const STEPS_MAX: u64 = 40;
/// Streams open at once, of each kind.
const HANDS: usize = 3;

/// A stream being stored.
struct Storing {
    name: String,
    bytes: Vec<u8>,
    written: usize,
    put: Put,
}

/// A stream being restored.
struct Reading {
    name: String,
    expected: Vec<u8>,
    found: Vec<u8>,
    get: Get,
}

/// See the module.
pub struct Shift<'a> {
    /// The seed's.
    pub random: &'a mut Rng,
    /// The oracle.
    pub model: &'a mut Model,
    /// What is counted.
    pub outcome: &'a mut Outcome,
    /// What may fail.
    pub weather: Weather,
    /// Where.
    pub disk: &'a SimDisk,
    /// The store.
    pub open: &'a Open,
    hands: Hands,
    /// What streams had that are removed.
    removed: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Hands {
    storing: Vec<Storing>,
    reading: Vec<Reading>,
}

impl<'a> Shift<'a> {
    /// Nothing begun yet.
    pub fn new(
        (random, model, outcome): (&'a mut Rng, &'a mut Model, &'a mut Outcome),
        weather: Weather,
        disk: &'a SimDisk,
        open: &'a Open,
    ) -> Self {
        Self { random, model, outcome, weather, disk, open, hands: Hands::default(), removed: Vec::new() }
    }

    /// Work; at the end everything that was begun is finished, or at times given up.
    ///
    /// # Errors
    /// What was violated.
    pub fn run(&mut self) -> Result<(), String> {
        if self.random.coin() {
            // What earlier lives stored lies in sealed containers, which a vacuum chooses.
            self.undermine()?;
        }
        for _ in 0..1 + self.random.below(STEPS_MAX) {
            if self.is_over() {
                return Ok(());
            }
            match self.random.below(18) {
                0..=1 => self.vacuum()?,
                2..=3 => self.undermine()?,
                4..=5 => self.scrub()?,
                6..=9 => self.remove(),
                _ => self.step()?,
            }
        }
        if self.is_over() {
            return Ok(());
        }
        if self.random.below(4) == 0 {
            self.hands.storing.clear(); // Given up: nothing of them remains, or all.
        }
        while !(self.hands.storing.is_empty() && self.hands.reading.is_empty()) {
            if self.is_over() {
                return Ok(());
            }
            self.go_on(usize::MAX)?;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.disk.is_dead() || self.open.core.poison.why().is_some()
    }

    /// A stream repeats a part of another one, which goes before the vacuum comes: only the open stream needs it then.
    fn undermine(&mut self) -> Result<(), String> {
        // The longest of a few: of a short one nothing is looked up before all of it is there.
        let drawn = [0; 3].map(|_| self.model.any(self.random));
        let streams = self
            .model
            .streams()
            .into_iter()
            .filter(|(name, _)| drawn.iter().flatten().any(|one| one == name));
        let longest = streams.max_by_key(|(_, bytes)| bytes.len());
        let Some((name, bytes)) = longest.filter(|_| self.hands.storing.len() < HANDS) else { return Ok(()) };
        let (mut new, _) = self.model.invent(self.random);
        let mut bytes = bytes;
        if let Some(version) = self.model.next_of(&name) {
            new = version;
            if !bytes.is_empty() {
                // Chunks with a changed block each: what is around it is sliced from the old ones.
                for _ in 0..self.random.below(4) {
                    let at = self.random.index(bytes.len());
                    bytes[at] ^= 0x55;
                }
            }
        }
        let part = bytes.len() - bytes.len() / 4;
        self.begin(new, bytes)?;
        if let Some(last) = self.hands.storing.len().checked_sub(1) {
            self.store(last, part)?;
        }
        self.open.turn(200);
        self.remove_one(&name);
        self.vacuum_with(VacuumOptions { dead_share: 0.0, ..VacuumOptions::default() }, u64::MAX)
    }

    /// One of the hands does something.
    fn step(&mut self) -> Result<(), String> {
        match self.random.below(6) {
            0 | 1 if self.hands.storing.len() < HANDS => self.begin_storing(),
            2 if self.hands.reading.len() < HANDS => self.begin_reading(),
            _ => {
                let part = 1 + self.random.index(30_000);
                self.go_on(part)
            }
        }
    }

    fn begin_storing(&mut self) -> Result<(), String> {
        let (name, mut bytes) = self.model.invent(self.random);
        // Often what another stream has or had: what is known then is what the vacuum is after.
        if self.random.coin() {
            let streams = self.model.streams();
            let had = streams.iter().map(|(_, bytes)| bytes).chain(&self.removed).collect::<Vec<_>>();
            if !had.is_empty() {
                bytes.clone_from(had[self.random.index(had.len())]);
            }
        }
        self.begin(name, bytes)
    }

    fn begin(&mut self, name: String, bytes: Vec<u8>) -> Result<(), String> {
        match self.open.begin_put(&name) {
            Ok(put) => {
                self.model.doubt(&name, Some(bytes.clone()));
                self.hands.storing.push(Storing { name, bytes, written: 0, put });
                Ok(())
            }
            Err(error) => self.refused("a put", &error),
        }
    }

    fn begin_reading(&mut self) -> Result<(), String> {
        let Some(name) = self.model.any(self.random) else { return Ok(()) };
        let Some((_, expected)) = self.model.streams().into_iter().find(|(known, _)| *known == name) else {
            return Ok(()); // In doubt.
        };
        match self.open.begin_get(&name) {
            Ok(get) => {
                self.hands.reading.push(Reading { name, expected, found: Vec::new(), get });
                Ok(())
            }
            Err(error) => self.refused("a restore", &error),
        }
    }

    /// One stream that is open goes on by about `part` bytes, or ends.
    fn go_on(&mut self, part: usize) -> Result<(), String> {
        let (storing, reading) = (self.hands.storing.len(), self.hands.reading.len());
        if storing + reading == 0 {
            return Ok(());
        }
        let at = self.random.index(storing + reading);
        if at < storing { self.store(at, part) } else { self.read(at - storing, part) }
    }

    fn store(&mut self, at: usize, part: usize) -> Result<(), String> {
        let Storing { bytes, written, put, .. } = &mut self.hands.storing[at];
        let end = written.saturating_add(part).min(bytes.len());
        let wrote = put.write(&bytes[*written..end]);
        *written = end;
        // What was written is looked up, appended and perhaps committed by now, or not.
        if self.random.coin() {
            self.open.turn(self.random.below(200));
        }
        if wrote.is_ok() && end < bytes.len() {
            return Ok(());
        }
        let Storing { name, bytes, put, .. } = self.hands.storing.swap_remove(at);
        match wrote.and_then(|()| put.finish()) {
            Ok(_) => {
                self.outcome.acknowledged += 1;
                self.model.acknowledge(&name, Some(bytes));
                Ok(())
            }
            Err(error) => self.refused("a put", &error),
        }
    }

    fn read(&mut self, at: usize, part: usize) -> Result<(), String> {
        let Reading { found, get, .. } = &mut self.hands.reading[at];
        let goal = found.len().saturating_add(part);
        let ended = loop {
            match get.next() {
                Ok(Some(bytes)) => found.extend_from_slice(&bytes),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            if found.len() >= goal {
                return Ok(());
            }
        };
        let Reading { name, expected, found, .. } = self.hands.reading.swap_remove(at);
        match ended {
            Ok(()) if found == expected => {
                self.outcome.compared += 1;
                Ok(())
            }
            Ok(()) => Err(format!("{name} gave {} other bytes than {}", found.len(), expected.len())),
            Err(error) => self.refused("a restore", &error),
        }
    }

    fn remove(&mut self) {
        if let Some(name) = self.model.any(self.random) {
            self.remove_one(&name);
        }
    }

    fn remove_one(&mut self, name: &str) {
        let had = self.model.streams().into_iter().find(|(known, _)| *known == name);
        self.removed.extend(had.map(|(_, bytes)| bytes));
        self.model.doubt(name, None);
        match self.open.remove(name) {
            Ok(()) => self.model.acknowledge(name, None),
            Err(_) => self.outcome.refused += 1,
        }
    }

    /// One run, during which others go on.
    fn vacuum(&mut self) -> Result<(), String> {
        let dead_share = [0.0, 0.0, 0.05, 0.3][self.random.index(4)];
        let dry_run = self.random.below(16) == 0;
        let options = VacuumOptions { dead_share, dry_run, ..VacuumOptions::default() };
        let patience = if self.random.below(4) == 0 { self.random.below(60) } else { u64::MAX };
        self.vacuum_with(options, patience)
    }

    /// The same; `patience`: so often it may rest before it is told to stop.
    fn vacuum_with(&mut self, options: VacuumOptions, mut patience: u64) -> Result<(), String> {
        let (mut steps, mut meanwhile) = (self.random.below(6), Ok(()));
        let open = self.open;
        let ran = open.vacuum(
            &options,
            &mut |_| {
                if steps > 0 && meanwhile.is_ok() && !self.is_over() {
                    steps -= 1;
                    meanwhile = self.step();
                }
            },
            &mut |_| {
                patience = patience.saturating_sub(1);
                patience > 0
            },
        );
        meanwhile?;
        match ran {
            Ok(report) => {
                self.outcome.vacuums += 1;
                self.outcome.freed += report.freed_containers;
                Ok(())
            }
            Err(error) => self.refused("a vacuum", &error),
        }
    }

    /// What is removed is freed as soon as it may be, which takes one run to choose containers and one to empty them,
    /// and something new is stored where it was.
    fn overtake(&mut self) -> Result<(), String> {
        for _ in 0..1 + self.random.below(3) {
            self.remove();
        }
        for _ in 0..2 {
            let all = VacuumOptions { dead_share: 0.0, ..VacuumOptions::default() };
            self.vacuum_with(all, u64::MAX)?;
        }
        if self.hands.storing.len() < HANDS {
            self.begin_storing()?;
        }
        match self.hands.storing.len().checked_sub(1) {
            Some(last) => self.store(last, usize::MAX),
            None => Ok(()),
        }
    }

    /// One run, during which others go on; what it finds on a disk that works is a false alarm.
    fn scrub(&mut self) -> Result<(), String> {
        let (mut steps, mut meanwhile) = (self.random.below(6), Ok(()));
        let (open, weather) = (self.open, self.weather);
        let ran = open.scrub(
            &mut |_| {
                if steps > 0 && meanwhile.is_ok() && !self.is_over() {
                    steps -= 1;
                    meanwhile = if self.random.coin() { self.overtake() } else { self.step() };
                }
            },
            &mut |_| true,
        );
        meanwhile?;
        match ran {
            Ok(report) => {
                self.outcome.scrubs += 1;
                let alarm = report.is_damaged() && weather.is_kind() && !self.disk.is_dead();
                if alarm {
                    Err(format!("a scrub finds damage on a disk that works: {report:?}"))
                } else {
                    Ok(())
                }
            }
            Err(error) => self.refused("a scrub", &error),
        }
    }

    /// Something failed: may it?
    fn refused(&mut self, what: &str, error: &gdd_engine::error::Error) -> Result<(), String> {
        self.outcome.refused += 1;
        if self.disk.is_dead() || !self.weather.is_kind() {
            return Ok(());
        }
        Err(format!("{what} fails on a disk that works: {error}"))
    }
}
