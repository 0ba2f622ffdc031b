//! Bytes of one file as sparse, shared pages: a snapshot costs a reference, a write costs one copy of its buffer.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::buffer::ALIGN;

/// Bytes in a page: the unit of every write, since [`crate::io::Op`] offsets and lengths are multiples of it.
pub(super) const PAGE: usize = ALIGN;
/// Bytes that a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;
/// Sectors in a page.
pub(super) const SECTORS: usize = PAGE / SECTOR;
const _: () = assert!(SECTORS == u8::BITS as usize); // One bit of a mask for each.

/// A page that is never changed: part of the buffer it was written from.
#[derive(Clone, Debug)]
pub(super) struct Page {
    data: Arc<[u8]>,
    start: usize,
}

impl Page {
    /// The page at `start` of `data`.
    pub(super) fn part(data: &Arc<[u8]>, start: usize) -> Self {
        assert!(start + PAGE <= data.len(), "a page lies inside its buffer");
        Self { data: Arc::clone(data), start }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.start + PAGE]
    }

    fn owned(bytes: &[u8; PAGE]) -> Self {
        Self { data: Arc::from(&bytes[..]), start: 0 }
    }
}

/// The page number that holds `offset`, and the place in it.
pub(super) fn locate(offset: u64) -> (u64, usize) {
    let place = usize::try_from(offset % PAGE as u64).expect("a remainder below PAGE");
    (offset / PAGE as u64, place)
}

/// A sparse file. What was never written reads as zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    /// May hold pages beyond `len` only inside the crash builder, which cuts them off at its end.
    pages: BTreeMap<u64, Page>,
    len: u64,
}

impl Image {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn page(&self, number: u64) -> Option<&Page> {
        self.pages.get(&number)
    }

    /// Pages that hold data, from `first` on.
    pub(super) fn pages_from(&self, first: u64) -> impl Iterator<Item = (u64, &Page)> {
        self.pages.range(first..).map(|(number, page)| (*number, page))
    }

    /// Put whole pages; the file grows to hold them.
    pub(super) fn write(&mut self, first: u64, data: &Arc<[u8]>) {
        for (number, start) in (first..).zip((0..data.len()).step_by(PAGE)) {
            self.pages.insert(number, Page::part(data, start));
        }
        self.grow(first * PAGE as u64 + data.len() as u64);
    }

    /// Put the sectors of `page` that `mask` names. The length stays.
    pub(super) fn mix(&mut self, number: u64, page: Page, mask: u8) {
        if mask == u8::MAX {
            self.pages.insert(number, page);
        } else if mask != 0 {
            let mut mixed = [0; PAGE];
            if let Some(old) = self.pages.get(&number) {
                mixed.copy_from_slice(old.bytes());
            }
            for sector in (0..SECTORS).filter(|sector| mask & (1 << sector) != 0) {
                let range = sector * SECTOR..(sector + 1) * SECTOR;
                mixed[range.clone()].copy_from_slice(&page.bytes()[range]);
            }
            self.pages.insert(number, Page::owned(&mixed));
        }
    }

    /// The sectors in which `page` differs from what is here.
    pub(super) fn differing(&self, number: u64, page: &Page) -> u8 {
        let old = self.pages.get(&number).map_or(&[0; PAGE][..], Page::bytes);
        let pairs = old.chunks(SECTOR).zip(page.bytes().chunks(SECTOR)).enumerate();
        pairs.filter(|(_, (old, new))| old != new).fold(0, |mask, (sector, _)| mask | 1 << sector)
    }

    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Set the length; what lies beyond is gone, and reads as zeros should the file grow again.
    pub(super) fn set_len(&mut self, len: u64) {
        self.len = len;
        let (last, place) = locate(len);
        drop(self.pages.split_off(&len.div_ceil(PAGE as u64)));
        if place > 0
            && let Some(page) = self.pages.get(&last)
        {
            let mut cut = [0; PAGE];
            cut[..place].copy_from_slice(&page.bytes()[..place]);
            self.pages.insert(last, Page::owned(&cut));
        }
    }

    /// All bytes, from `offset` to the end of the file or of `target`. Returns how many.
    pub(super) fn read(&self, offset: u64, target: &mut [u8]) -> usize {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = left.min(target.len());
        let mut filled = 0;
        while filled < count {
            let (number, place) = locate(offset + filled as u64);
            let step = (PAGE - place).min(count - filled);
            let into = &mut target[filled..filled + step];
            match self.pages.get(&number) {
                Some(page) => into.copy_from_slice(&page.bytes()[place..place + step]),
                None => into.fill(0),
            }
            filled += step;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(byte: u8, pages: usize) -> Arc<[u8]> {
        vec![byte; pages * PAGE].into()
    }

    fn all(image: &Image) -> Vec<u8> {
        let mut bytes = vec![9; usize::try_from(image.len()).unwrap()];
        assert_eq!(image.read(0, &mut bytes), bytes.len());
        bytes
    }

    #[test]
    fn a_cut_forgets_what_was_beyond() {
        let mut image = Image::default();
        image.write(0, &data(1, 3));
        image.set_len(PAGE as u64 + 100);
        image.grow(3 * PAGE as u64);
        let bytes = all(&image);
        assert!(bytes[..PAGE + 100].iter().all(|&byte| byte == 1));
        assert!(bytes[PAGE + 100..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn sectors_mix() {
        let mut image = Image::default();
        image.write(0, &data(1, 1));
        let new = Page::part(&data(2, 1), 0);
        assert_eq!(image.differing(0, &new), u8::MAX);
        image.mix(0, new.clone(), 0b1000_0001);
        assert_eq!(image.differing(0, &new), 0b0111_1110);
        let bytes = all(&image);
        assert_eq!((bytes[0], bytes[SECTOR], bytes[PAGE - 1]), (2, 1, 2));
    }

    #[test]
    fn clones_are_independent() {
        let mut image = Image::default();
        image.write(1, &data(1, 1));
        let before = image.clone();
        image.write(1, &data(2, 1));
        assert_eq!((all(&before)[PAGE], all(&image)[PAGE], all(&before)[0]), (1, 2, 0));
    }
}
