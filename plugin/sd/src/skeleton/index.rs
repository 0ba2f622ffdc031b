//! What must be known of a volume before any block of it is read: where groups start, which streams there are, what is
//! damaged, and where it ends. Found by walking over all entries once; their checksums are verified on the way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;

use crate::block::SessionId;
use crate::store::{StoreId, StreamId, VolumeId};

use super::entry::{self, End, GROUP_MAGIC, kind};
use super::frame::{self, Framed, Window};
use super::walk::{Item, Skip, Walk};

/// Where a group starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupAt {
    /// Logical position of its first block.
    pub logical: u64,
    /// Offset of its frame in the file.
    pub offset: u64,
}

/// A stream that blocks refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamAt {
    /// Whose payload it is.
    pub session: SessionId,
    /// How many bytes of it blocks refer to.
    pub needed: u64,
    /// Its receipt.
    pub end: Option<End>,
}

/// Part of a stream that is kept in the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchAt {
    /// Bytes of it.
    pub len: u64,
    /// Offset in the file of the first one.
    pub offset: u64,
}

/// Damage in the middle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// The logical positions whose blocks are gone.
    pub logical: Range<u64>,
    /// Where in the file the damage starts.
    pub offset: u64,
}

/// Bytes at the end that are no entries, or entries whose payload never reached the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torn {
    /// Where they start in the file.
    pub offset: u64,
    /// Length of the file when they were found.
    pub file_len: u64,
}

/// The volume, without its blocks.
#[derive(Debug, Clone)]
pub struct Index {
    /// The end: where the next entry goes, and how many logical bytes lie before it.
    pub walk: Walk,
    /// In order of position and of offset.
    pub groups: Vec<GroupAt>,
    /// All streams.
    pub streams: BTreeMap<StreamId, StreamAt>,
    /// By stream and offset in it.
    pub patches: BTreeMap<(StreamId, u64), PatchAt>,
    /// In order.
    pub holes: Vec<Hole>,
    /// A torn end, if there is one.
    pub torn: Option<Torn>,
    /// End of the last receipt in the file: everything before was durable when it was written.
    pub barrier: u64,
    /// Blocks; a volume that has one, which is a label, may get another label.
    pub block_count: u64,
    /// Blocks of the group that the walk is in.
    pub group_block_count: u32,
    /// The only block is a label.
    pub only_label: bool,
    /// The store that has its streams, where the header says so.
    pub store: Option<StoreId>,
}

impl Index {
    /// Of a volume with nothing but its header.
    pub fn empty(volume: VolumeId, store: Option<StoreId>) -> Self {
        Self {
            walk: Walk::first(volume),
            groups: Vec::new(),
            streams: BTreeMap::new(),
            patches: BTreeMap::new(),
            holes: Vec::new(),
            torn: None,
            barrier: 0,
            block_count: 0,
            group_block_count: 0,
            only_label: false,
            store,
        }
    }

    /// Logical size of the volume.
    pub fn logical(&self) -> u64 {
        self.walk.logical
    }

    /// Walks on to the end of the file.
    ///
    /// # Errors
    /// When the file cannot be read. Damage is no error here, see [`Index::holes`] and [`Index::torn`].
    pub fn scan(&mut self, file: &File, window: &mut Window) -> io::Result<()> {
        self.torn = None;
        loop {
            let volume = self.walk.volume;
            if let Framed::Entry { kind, body, size } = window.frame(file, volume, self.walk.offset)?
                && self.step(kind, body, size).is_some()
            {
                continue;
            }
            let file_len = file.metadata()?.len();
            if file_len <= self.walk.offset {
                return Ok(());
            }
            let offset = self.walk.offset;
            match group_behind(file, volume, offset)? {
                Some(group) if group.logical >= self.walk.logical => self.leap(group),
                Some(_) => {
                    // Damage, and nothing to go on with: what is left is not readable and not to be overwritten.
                    self.holes.push(Hole { logical: self.walk.logical..u64::MAX, offset });
                    self.torn = Some(Torn { offset, file_len });
                    return Ok(());
                }
                None => {
                    self.torn = Some(Torn { offset, file_len });
                    return Ok(());
                }
            }
        }
    }

    /// Takes up entries that were just written at the end.
    pub fn absorb(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let framed = frame::take(bytes, self.walk.volume, self.walk.offset);
            let Framed::Entry { kind, body, size } = framed else { unreachable!("what we wrote is a frame") };
            assert!(self.step(kind, body, size).is_some(), "what we wrote makes sense where it stands");
            bytes = &bytes[usize::try_from(size).expect("a frame in memory has a size in memory")..];
        }
    }

    /// The first block behind the last receipt that needs what `has(stream, from, to)` denies.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn first_unreadable(
        &self,
        file: &File,
        window: &mut Window,
        has: impl Fn(StreamId, u64, u64) -> bool,
    ) -> io::Result<Option<GroupAt>> {
        let known = self.groups.partition_point(|group| group.offset <= self.barrier);
        let Some(start) = self.groups.get(known.saturating_sub(1)) else { return Ok(None) };
        let mut walk = Walk::at(self.walk.volume, start.offset, start.logical);
        while walk.offset < self.walk.offset {
            let place = GroupAt { logical: walk.logical, offset: walk.offset };
            let Framed::Entry { kind, body, size } = window.frame(file, walk.volume, walk.offset)? else {
                break;
            };
            match walk.apply(kind, body, size, &mut Skip) {
                Some(Item::Block(_, block))
                    if place.offset >= self.barrier
                        && block.payload_len > 0
                        && !has(block.stream, block.offset, block.offset + block.payload_len) =>
                {
                    return Ok(Some(place));
                }
                Some(_) => {}
                None => break,
            }
        }
        Ok(None)
    }

    /// Forgets what stands at and behind `place`.
    pub fn cut(&mut self, place: GroupAt, file_len: u64) {
        self.groups.retain(|group| group.offset < place.offset);
        self.patches.retain(|_, patch| patch.offset < place.offset);
        self.walk = Walk::at(self.walk.volume, place.offset, place.logical);
        self.torn = Some(Torn { offset: place.offset, file_len });
    }

    fn step(&mut self, kind: u8, body: &[u8], size: u64) -> Option<Item> {
        let offset = self.walk.offset;
        if kind == kind::GROUP && entry::group(body)?.logical == 0 {
            // Only a label may be voided; anything else in its place is damage.
            if self.block_count > 0 && !self.only_label {
                return None;
            }
            (self.block_count, self.only_label) = (0, false);
            self.groups.clear();
        }
        let item = self.walk.apply(kind, body, size, &mut Skip)?;
        match item {
            Item::Group(group) => {
                self.groups.push(GroupAt { logical: group.logical, offset });
                self.group_block_count = 0;
            }
            Item::Named(named) => {
                let fresh = StreamAt { session: named.session, needed: 0, end: None };
                self.streams.entry(named.stream).or_insert(fresh);
            }
            Item::Block(_, block) => {
                if let Some(stream) = self.streams.get_mut(&block.stream) {
                    stream.needed = stream.needed.max(block.offset + block.payload_len);
                }
                self.count_block(false);
            }
            Item::Verbatim { label, .. } => self.count_block(label),
            Item::End(end) => {
                if let Some(stream) = self.streams.get_mut(&end.stream) {
                    stream.end = Some(end);
                }
                self.barrier = self.walk.offset;
            }
            Item::Patch(stream, from, len, offset) => {
                self.patches.insert((stream, from), PatchAt { len, offset });
            }
        }
        Some(item)
    }

    fn count_block(&mut self, label: bool) {
        self.block_count += 1;
        self.group_block_count += 1;
        self.only_label = label && self.block_count == 1;
    }

    /// Goes on behind damage.
    fn leap(&mut self, group: GroupAt) {
        self.holes.push(Hole { logical: self.walk.logical..group.logical, offset: self.walk.offset });
        self.walk = Walk::at(self.walk.volume, group.offset, group.logical);
    }
}

/// The first group behind `offset`, if any group behind it says that the file was synced beyond `offset`.
fn group_behind(file: &File, volume: VolumeId, offset: u64) -> io::Result<Option<GroupAt>> {
    let mut window = Window::default();
    let (mut first, mut at) = (None, offset + 1);
    /// Kind and length, each one byte in a group's frame, stand before its magic.
    const LEAD: u64 = 2;
    while window.fill(file, at, GROUP_MAGIC.len())? {
        let bytes = window.from(at);
        let hit = bytes.windows(GROUP_MAGIC.len()).position(|run| run == GROUP_MAGIC);
        let Some(hit) = hit else {
            at += (bytes.len() - (GROUP_MAGIC.len() - 1)) as u64;
            continue;
        };
        let magic_at = at + hit as u64;
        at = magic_at + 1;
        let start = magic_at.saturating_sub(LEAD);
        if start <= offset {
            continue;
        }
        let framed = window.frame(file, volume, start)?;
        let Framed::Entry { kind: kind::GROUP, body, .. } = framed else { continue };
        let Some(group) = entry::group(body) else { continue };
        let first = *first.get_or_insert(GroupAt { logical: group.logical, offset: start });
        if group.synced > offset {
            return Ok(Some(first));
        }
    }
    Ok(None)
}
