//! A reference's file, made beside it and put in its place.
//!
//! # Invariants
//! - The reference's name always leads to the reference or to the whole, verified and durable file.
//! - What fails leaves no temporary file.
//! - References that are hard links of one another become hard links of one file.

use std::collections::BTreeMap;
use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gdd_client::reference::Reference;
use rustix::fs::{Gid, Uid, XattrFlags, fchown, fremovexattr, fsetxattr};
use rustix::io::Errno;
use tempfile::{Builder, NamedTempFile};

use super::Trouble;
use super::find::{self, Found};
use super::source::Source;
use crate::failure::Result;
use crate::tree::Attributes;

/// Bytes that are written at once.
const PART_SIZE: usize = 1 << 20;
/// The shortest run of zeros that becomes a hole: a block of the file system.
const HOLE_SIZE: usize = 4096;
/// What a new file inherits from its folder, and must have only where the reference has it.
const INHERITED: &str = "system.posix_acl_access";

/// See the module.
#[derive(Debug, Default)]
pub struct Replacer {
    attributes: Attributes,
    /// Device and inode of references with several names, and where their file is now.
    linked: BTreeMap<(u64, u64), PathBuf>,
}

impl Replacer {
    /// Put the file in the place of `found`; `progress` hears of the bytes as they come.
    ///
    /// # Errors
    /// Of this file.
    pub fn replace(
        &mut self,
        found: &Found,
        source: &mut Source,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<(), Trouble> {
        let old = find::open(&found.path).map_err(local("open"))?;
        let meta = old.metadata().map_err(local("look at"))?;
        let bytes = find::read(&old).map_err(local("read"))?;
        if bytes != Some(found.reference.encode()) {
            return Err(Trouble::Local("it changed while gdd was at work; run it again".to_owned()));
        }
        let inode = (meta.dev(), meta.ino());
        let folder = folder_of(&found.path);
        if let Some(first) = self.linked.get(&inode) {
            link(first, &found.path).map_err(local("link"))?;
            return progress(found.reference.length).map_err(Trouble::Stopped);
        }
        let new = beside(&found.path).map_err(local("make a file beside"))?;
        fetch(&found.reference, source, new.as_file(), progress)?;
        self.dress(new.as_file(), &old, &meta)?;
        new.as_file().sync_all().map_err(local("sync"))?;
        let now = std::fs::symlink_metadata(&found.path).map_err(local("look at"))?;
        if (now.dev(), now.ino(), now.len(), now.mtime_nsec())
            != (inode.0, inode.1, meta.len(), meta.mtime_nsec())
        {
            return Err(Trouble::Local("it changed while gdd was at work; run it again".to_owned()));
        }
        new.persist(&found.path).map_err(|error| local("name")(error.error))?;
        if meta.nlink() > 1 {
            self.linked.insert(inode, found.path.clone());
        }
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(local("sync the folder of"))
    }

    /// Owner, mode, attributes and times, in this order: each of the first may change those behind it.
    fn dress(&mut self, new: &File, old: &File, meta: &Metadata) -> Result<(), Trouble> {
        let has = new.metadata().map_err(local("look at"))?;
        if (has.uid(), has.gid()) != (meta.uid(), meta.gid()) {
            let (user, group) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
            fchown(new, Some(user), Some(group)).map_err(errno("give the owner to"))?;
        }
        new.set_permissions(Permissions::from_mode(meta.mode() & 0o7777))
            .map_err(local("set the mode of"))?;
        match fremovexattr(new, INHERITED) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(errno("remove an inherited access list of")(error)),
        }
        let wanted = self.attributes.of_file(old.as_fd()).map_err(errno("read the attributes of"))?;
        let present = self.attributes.of_file(new.as_fd()).map_err(errno("read the attributes of"))?;
        for attribute in wanted.iter().filter(|attribute| !present.contains(attribute)) {
            fsetxattr(new, &attribute.0[..], &attribute.1, XattrFlags::empty())
                .map_err(errno("set the attributes of"))?;
        }
        let times = meta
            .accessed()
            .and_then(|accessed| Ok(FileTimes::new().set_accessed(accessed).set_modified(meta.modified()?)));
        times.and_then(|times| new.set_times(times)).map_err(local("set the times of"))
    }
}

/// The bytes of `reference`, verified, with holes for zeros.
fn fetch(
    reference: &Reference,
    source: &mut Source,
    file: &File,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<(), Trouble> {
    let mut fetching = source.fetch(reference)?;
    let (mut hasher, mut at, mut buffer) = (blake3::Hasher::new(), 0_u64, vec![0; PART_SIZE]);
    loop {
        let mut len = 0;
        while len < buffer.len() {
            match fetching.read(&mut buffer[len..])? {
                0 => break,
                count => len += count,
            }
            progress(at + len as u64).map_err(Trouble::Stopped)?;
        }
        if len == 0 {
            break;
        }
        let part = &buffer[..len];
        hasher.update(part);
        write(file, at, part).map_err(local("write beside"))?;
        at += len as u64;
    }
    if at != reference.length {
        let what = format!("expected {} bytes, found {at}", reference.length);
        return Err(Trouble::Damaged(what));
    }
    let (expected, found) = (blake3::Hash::from_bytes(reference.digest), hasher.finalize());
    if expected != found {
        return Err(Trouble::Damaged(format!("expected BLAKE3 {expected}, found {found}")));
    }
    file.set_len(at).map_err(local("set the length beside"))
}

/// Write `part`, but for its blocks of zeros.
fn write(file: &File, at: u64, part: &[u8]) -> io::Result<()> {
    let is_hole = |block: &[u8]| block.len() == HOLE_SIZE && block.iter().all(|byte| *byte == 0);
    let blocks: Vec<_> = part.chunks(HOLE_SIZE).collect();
    let mut offset = 0;
    for run in blocks.chunk_by(|a, b| is_hole(a) == is_hole(b)) {
        let len: usize = run.iter().map(|block| block.len()).sum();
        if !run.first().is_some_and(|block| is_hole(block)) {
            file.write_all_at(&part[offset..offset + len], at + offset as u64)?;
        }
        offset += len;
    }
    Ok(())
}

fn beside(path: &Path) -> io::Result<NamedTempFile> {
    Builder::new().prefix(".gdd-rehydrate-").tempfile_in(folder_of(path))
}

/// Let `path` be another name of `first`.
fn link(first: &Path, path: &Path) -> io::Result<()> {
    let link = Builder::new()
        .prefix(".gdd-rehydrate-")
        .make_in(folder_of(path), |name| std::fs::hard_link(first, name))?;
    link.into_temp_path().persist(path).map_err(|error| error.error)?;
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn local(action: &'static str) -> impl Fn(io::Error) -> Trouble {
    move |error| Trouble::Local(format!("cannot {action} it: {error}"))
}

fn errno(action: &'static str) -> impl Fn(Errno) -> Trouble {
    move |error| local(action)(error.into())
}
