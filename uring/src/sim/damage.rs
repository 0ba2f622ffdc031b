//! At-rest damage of one file, laid over its true bytes when they are read.
//!
//! The truth underneath stays, so that a test can switch the damage off and check that nothing else went wrong.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::faults::errno;
use super::image::{Image, PAGE, Page, SECTOR, locate};

/// What is wrong with a page.
#[derive(Clone, Debug, Default)]
struct Wrong {
    /// Read this instead: `Some(None)` is a page of zeros.
    instead: Option<Option<Page>>,
    /// Byte in the page, and the bits of it that are turned over.
    flips: Vec<(usize, u8)>,
    /// Sectors that read as zeros.
    zeroed: u8,
    /// Sectors that cannot be read.
    dead: u8,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Damage(BTreeMap<u64, Wrong>);

impl Damage {
    /// Writing repairs: the device maps a bad sector elsewhere.
    pub(super) fn overwritten(&mut self, pages: Range<u64>) {
        if !self.0.is_empty() {
            self.0.retain(|number, _| !pages.contains(number));
        }
    }

    /// Reads of page `number` give `page`, or zeros, instead.
    pub(super) fn replace(&mut self, number: u64, page: Option<Page>) {
        *self.0.entry(number).or_default() = Wrong { instead: Some(page), ..Wrong::default() };
    }

    /// What reads of page `number` give now, flips and dead sectors aside; `None` is a page of zeros.
    pub(super) fn seen(&self, number: u64, image: &Image) -> Option<Page> {
        match self.0.get(&number) {
            Some(Wrong { instead: Some(instead), .. }) => instead.clone(),
            _ => image.page(number).cloned(),
        }
    }

    pub(super) fn flip(&mut self, offset: u64, mask: u8) {
        let (number, place) = locate(offset);
        self.0.entry(number).or_default().flips.push((place, mask));
    }

    pub(super) fn zero(&mut self, offset: u64) {
        let (number, place) = locate(offset);
        self.0.entry(number).or_default().zeroed |= 1 << (place / SECTOR);
    }

    pub(super) fn kill(&mut self, offset: u64) {
        let (number, place) = locate(offset);
        self.0.entry(number).or_default().dead |= 1 << (place / SECTOR);
    }

    /// Byte ranges whose reads go wrong, page by page.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.keys().map(|number| number * PAGE as u64..(number + 1) * PAGE as u64)
    }

    /// Do to `bytes`, just read from `offset` on (the start of a page), what the medium does to them. Returns whether
    /// it did anything.
    ///
    /// # Errors
    /// `EIO` when a sector of the range is dead.
    pub(super) fn apply(&self, offset: u64, bytes: &mut [u8]) -> io::Result<bool> {
        if self.0.is_empty() {
            return Ok(false);
        }
        let (first, place) = locate(offset);
        assert_eq!(place, 0, "the simulator reads from the start of a page");
        let mut wronged = false;
        for (number, page) in (first..).zip(bytes.chunks_mut(PAGE)) {
            let Some(wrong) = self.0.get(&number) else { continue };
            wronged = true;
            match &wrong.instead {
                Some(Some(instead)) => page.copy_from_slice(&instead.bytes()[..page.len()]),
                Some(None) => page.fill(0),
                None => {}
            }
            for (sector, bytes) in page.chunks_mut(SECTOR).enumerate() {
                if wrong.dead & (1 << sector) != 0 {
                    return Err(errno(libc::EIO));
                }
                if wrong.zeroed & (1 << sector) != 0 {
                    bytes.fill(0);
                }
            }
            for (place, mask) in &wrong.flips {
                if let Some(byte) = page.get_mut(*place) {
                    *byte ^= mask;
                }
            }
        }
        Ok(wronged)
    }
}
