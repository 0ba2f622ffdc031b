//! Container files that a reader has open: a bounded number, the one unused longest closed first.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use gdd_uring::io::{FileId, Io, Open};

use crate::ids::ContainerId;
use crate::paths::Paths;

#[derive(Debug)]
struct OpenFile {
    id: FileId,
    /// Reads under way.
    reads: u32,
    /// When it was opened or taken last, in turns.
    turn: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Files {
    paths: Paths,
    open: HashMap<ContainerId, OpenFile>,
    count_max: usize,
    turn: u64,
}

impl Files {
    /// At most `count_max` files of the store at `paths`, besides those that are being read.
    #[must_use]
    pub fn new(paths: Paths, count_max: usize) -> Self {
        Self { paths, open: HashMap::new(), count_max, turn: 0 }
    }

    /// Where a container lies.
    #[must_use]
    pub fn path(&self, container: ContainerId) -> PathBuf {
        self.paths.container(container)
    }

    /// Begin a read of `container`.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn take(&mut self, io: &mut dyn Io, container: ContainerId) -> io::Result<FileId> {
        self.turn += 1;
        if let Some(file) = self.open.get_mut(&container) {
            (file.turn, file.reads) = (self.turn, file.reads + 1);
            return Ok(file.id);
        }
        if self.open.len() >= self.count_max {
            self.close_oldest(io);
        }
        let id = io.open(&self.paths.container(container), Open::Read)?;
        self.open.insert(container, OpenFile { id, reads: 1, turn: self.turn });
        Ok(id)
    }

    /// End a read of `container`.
    pub fn give_back(&mut self, container: ContainerId) {
        let file = self.open.get_mut(&container).expect("a file that is read is open");
        file.reads -= 1;
    }

    /// Close a file that proved wrong, so that the next read opens what now has its name.
    pub fn forget(&mut self, io: &mut dyn Io, container: ContainerId) {
        if self.open.get(&container).is_some_and(|file| file.reads == 0)
            && let Some(file) = self.open.remove(&container)
        {
            io.close(file.id);
        }
    }

    fn close_oldest(&mut self, io: &mut dyn Io) {
        let idle = self.open.iter().filter(|(_, file)| file.reads == 0);
        if let Some(oldest) = idle.min_by_key(|(_, file)| file.turn).map(|(container, _)| *container) {
            self.forget(io, oldest);
        }
    }
}
