//! What a power cut leaves: the durable state, and of the rest whatever the seed, or the enumerator, chooses.
//!
//! Each of these survives or not, independently of the others, and is then applied in the order in which it took
//! effect: every 512-byte sector of every loose write, every loose change of names, and every prefix of the loose
//! changes of a file's length, also with a write's growth cut short at any page. That includes all reorderings:
//! whichever of two writes is the last to survive on a sector wins, as if the other had come first.
//!
//! Sectors that a write leaves as they were are no choice, so that small scripts have few enough images to try all.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::disk::SimDisk;
use super::file::{SimFile, What};
use super::hits::{Hit, Hits};
use super::image::{PAGE, Page, SECTORS};
use super::names::{Ino, Node, Tree};
use super::rng::Rng;
use super::world::World;

/// Something that a power cut decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Atom {
    /// Whether a change of names survives.
    Name,
    /// Which of a file's lengths it has.
    Length,
    /// Whether a sector, or at the coarse grain a whole write, survives; with the write it belongs to.
    Write(Ino, usize),
}

/// How finely writes are torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grain {
    Sector,
    Whole,
}

/// Decides. Which atoms are asked for, in which order and with how many options, never depends on earlier answers.
trait Chooser {
    /// A number below `options`.
    fn pick(&mut self, atom: Atom, options: u64) -> u64;

    fn yes(&mut self, atom: Atom) -> bool {
        self.pick(atom, 2) == 1
    }
}

/// Counts the options of each atom, and chooses that nothing survives.
#[derive(Default)]
struct Census(Vec<u64>);

impl Chooser for Census {
    fn pick(&mut self, _atom: Atom, options: u64) -> u64 {
        self.0.push(options);
        0
    }
}

/// Answers prepared beforehand.
struct Answers<'a>(std::slice::Iter<'a, u64>);

impl Chooser for Answers<'_> {
    fn pick(&mut self, _atom: Atom, options: u64) -> u64 {
        let answer = *self.0.next().expect("each atom was counted");
        assert!(answer < options, "an answer is one of the options");
        answer
    }
}

/// Seeded answers. Odds are drawn once for each crash, and once for each write whether it is whole, lost or torn: a
/// fair coin for each sector would hardly ever leave a long write whole.
struct Lottery {
    rng: Rng,
    name_odds: u32,
    whole_odds: u32,
    torn_odds: u32,
    verdict: (Atom, u32),
}

impl Lottery {
    const ODDS: [u32; 5] = [0, 250_000, 500_000, 750_000, 1_000_000];

    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut odds = || Self::ODDS[rng.index(Self::ODDS.len())];
        let (name_odds, whole_odds, torn_odds) = (odds(), odds(), odds() / 2);
        Self { rng, name_odds, whole_odds, torn_odds, verdict: (Atom::Name, 0) }
    }

    fn sector_odds(&mut self) -> u32 {
        if self.rng.chance(self.torn_odds) {
            [125_000, 500_000, 875_000][self.rng.index(3)]
        } else if self.rng.chance(self.whole_odds) {
            1_000_000
        } else {
            0
        }
    }
}

impl Chooser for Lottery {
    fn pick(&mut self, atom: Atom, options: u64) -> u64 {
        match atom {
            Atom::Name => u64::from(self.rng.chance(self.name_odds)),
            Atom::Length => match self.rng.below(4) {
                0 => 0,
                1 => self.rng.below(options),
                _ => options - 1,
            },
            Atom::Write(..) => {
                if self.verdict.0 != atom {
                    self.verdict = (atom, self.sector_odds());
                }
                u64::from(self.rng.chance(self.verdict.1))
            }
        }
    }
}

/// Replace a tree with what is left of it.
fn leave(tree: &mut Tree, chooser: &mut dyn Chooser, grain: Grain) -> Hits {
    let mut hits = Hits::default();
    let mut named = BTreeSet::new();
    for node in &tree.nodes {
        if let Node::Folder(folder) = node {
            named.extend(folder.kept.values().copied());
        }
    }
    for record in std::mem::take(&mut tree.journal) {
        if record.makes() {
            named.insert(record.ino);
        }
        if chooser.yes(Atom::Name) {
            tree.keep(&record);
        } else {
            hits.add(Hit::NameUnsynced);
        }
    }
    for ino in named {
        if let Node::File(file) = &mut tree.nodes[ino] {
            leave_file(ino, file, chooser, grain, &mut hits);
        }
    }
    tree.restart();
    hits
}

/// The lengths that a file may have: how many changes had reached it, and the length then.
fn lengths(file: &SimFile) -> Vec<(usize, u64)> {
    let mut len = file.kept.len();
    let mut options = vec![(0, len)];
    for (index, change) in file.loose.iter().enumerate() {
        let to = match &change.what {
            What::Write(first, data) => (first * PAGE as u64 + data.len() as u64).max(len),
            What::Grow(to) => (*to).max(len),
            What::SetLen(to) => *to,
        };
        if to > len && matches!(change.what, What::Write(..)) {
            let next_page = (len / PAGE as u64 + 1) * PAGE as u64;
            let start = if let What::Write(first, _) = &change.what { first * PAGE as u64 } else { 0 };
            let steps = (next_page.max(start + PAGE as u64)..to).step_by(PAGE);
            options.extend(steps.map(|between| (index + 1, between)));
        }
        if to != len {
            options.push((index + 1, to));
            len = to;
        }
    }
    options
}

fn leave_file(ino: Ino, file: &mut SimFile, chooser: &mut dyn Chooser, grain: Grain, hits: &mut Hits) {
    if !file.loose.is_empty() {
        let options = lengths(file);
        let chosen = chooser.pick(Atom::Length, options.len() as u64);
        let (changes, len) = options[usize::try_from(chosen).expect("one of the options")];
        let mut image = (*file.kept).clone();
        let mut touched = BTreeSet::new();
        let (mut cut, mut lost) = (false, false);
        for (index, change) in file.loose.iter().enumerate() {
            match &change.what {
                What::Grow(_) => {}
                What::SetLen(to) => {
                    cut = true;
                    if index < changes {
                        image.set_len(*to);
                    }
                }
                What::Write(first, data) => {
                    let pages = (*first..).zip((0..data.len()).step_by(PAGE));
                    let pages: Vec<_> = pages
                        .map(|(number, start)| {
                            let page = Page::part(data, start);
                            let fresh = touched.insert(number) && !cut;
                            // Compared with the durable bytes only, so that no answer decides which atoms there are.
                            let mask = if fresh { file.kept.differing(number, &page) } else { u8::MAX };
                            (number, page, mask)
                        })
                        .collect();
                    let atom = Atom::Write(ino, index);
                    let whole = match grain {
                        Grain::Sector => None,
                        Grain::Whole => {
                            Some(pages.iter().any(|(_, _, mask)| *mask != 0) && chooser.yes(atom))
                        }
                    };
                    let (mut all, mut some) = (true, false);
                    for (number, page, mask) in pages {
                        let bits = (0..SECTORS).map(|sector| 1_u8 << sector).filter(|bit| mask & bit != 0);
                        let survivors: u8 = bits.filter(|_| whole.unwrap_or_else(|| chooser.yes(atom))).sum();
                        image.mix(number, page, survivors);
                        (all, some) = (all && survivors == mask, some || survivors != 0);
                    }
                    match (all, some) {
                        (false, true) => hits.add(Hit::WriteTorn),
                        (false, false) => hits.add(Hit::WriteUnsynced),
                        (true, true) if lost => hits.add(Hit::Reordered),
                        (true, _) => {}
                    }
                    lost |= !all;
                }
            }
        }
        image.set_len(len);
        file.kept = Arc::new(image);
        file.loose.clear();
    }
    file.shown = Arc::clone(&file.kept);
    file.earlier.clear();
    file.reserved = file.reserved.min(file.kept.len().next_multiple_of(PAGE as u64));
    file.damage.overwritten(file.kept.len().div_ceil(PAGE as u64)..u64::MAX);
    file.charged = file.count_pages();
}

/// A disk that holds what is left of `tree`, a frozen one, of `world`.
fn image_of(world: &World, mut tree: Tree, seed: u64, chooser: &mut dyn Chooser, grain: Grain) -> SimDisk {
    let hits = leave(&mut tree, chooser, grain);
    SimDisk::restarted(world, tree, hits, seed)
}

/// The crash image of `seed`.
pub(super) fn by_seed(world: &World, seed: u64) -> SimDisk {
    image_of(world, world.frozen_tree(), seed, &mut Lottery::new(seed), Grain::Sector)
}

/// How the next image is chosen.
enum Next {
    Answers(Grain, Vec<u64>),
    Seed(u64),
}

/// Crash images of one moment; see [`SimDisk::crash_images`].
pub struct CrashImages {
    world: World,
    /// Samples that come before the count is filled with seeds.
    first: VecDeque<Next>,
    /// Options of each atom, and the next combination, counted up like digits.
    exhaustive: Option<(Grain, Vec<u64>, Option<Vec<u64>>)>,
    /// Images still to come from seeds.
    seeds_left: u64,
    is_exhaustive: bool,
}

/// How many combinations there are.
fn product(options: &[u64]) -> u64 {
    options.iter().fold(1, |product: u64, options| product.saturating_mul(*options))
}

impl CrashImages {
    pub(super) fn new(world: World, limit: u64) -> Self {
        let count = |grain| {
            let mut census = Census::default();
            leave(&mut world.tree.clone(), &mut census, grain);
            census.0
        };
        let (fine, coarse) = (count(Grain::Sector), count(Grain::Whole));
        let is_exhaustive = product(&fine) <= limit;
        let mut first = VecDeque::new();
        let (exhaustive, seeds_left) = if is_exhaustive {
            let none = vec![0; fine.len()];
            (Some((Grain::Sector, fine, Some(none))), 0)
        } else if product(&coarse) <= limit {
            let (none, seeds) = (vec![0; coarse.len()], limit - product(&coarse));
            (Some((Grain::Whole, coarse, Some(none))), seeds)
        } else {
            first.push_back(Next::Answers(Grain::Sector, vec![0; fine.len()]));
            first.push_back(Next::Answers(Grain::Sector, fine.iter().map(|options| options - 1).collect()));
            first.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            (None, limit.saturating_sub(2))
        };
        Self { world, first, exhaustive, seeds_left, is_exhaustive }
    }

    /// Whether every possible image comes, sector by sector; otherwise whole writes are enumerated if that fits the
    /// limit, and the rest are samples.
    #[must_use]
    pub fn is_exhaustive(&self) -> bool {
        self.is_exhaustive
    }

    fn next_choice(&mut self) -> Option<Next> {
        if let Some(next) = self.first.pop_front() {
            return Some(next);
        }
        if let Some((grain, options, next)) = &mut self.exhaustive
            && let Some(answers) = next.take()
        {
            *next = successor(&answers, options);
            return Some(Next::Answers(*grain, answers));
        }
        self.seeds_left = self.seeds_left.checked_sub(1)?;
        Some(Next::Seed(self.seeds_left))
    }
}

/// The next combination, the first digit turning fastest.
fn successor(answers: &[u64], options: &[u64]) -> Option<Vec<u64>> {
    let mut next = answers.to_vec();
    for (digit, options) in next.iter_mut().zip(options) {
        *digit += 1;
        if *digit < *options {
            return Some(next);
        }
        *digit = 0;
    }
    None
}

impl Iterator for CrashImages {
    type Item = SimDisk;

    fn next(&mut self) -> Option<SimDisk> {
        let next = self.next_choice()?;
        let (world, tree) = (&self.world, self.world.tree.clone());
        Some(match next {
            Next::Answers(grain, answers) => image_of(world, tree, 0, &mut Answers(answers.iter()), grain),
            Next::Seed(seed) => image_of(world, tree, seed, &mut Lottery::new(seed), Grain::Sector),
        })
    }
}

impl std::fmt::Debug for CrashImages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CrashImages(exhaustive: {}, {} samples)", self.is_exhaustive, self.seeds_left)
    }
}
