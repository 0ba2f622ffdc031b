//! What the driver's tests share: blocks as Bacula makes them, a store in memory that can fail, and a device on a file.
#![allow(dead_code, reason = "each test binary uses another part")]

pub mod blocks;
pub mod memory;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use gdd_sd::device::Device;
use gdd_sd::error::{Error, Result};
use gdd_sd::volume::Whence;

use memory::World;

/// A volume's file in a folder of its own, and the store behind it.
pub struct Rig {
    pub folder: tempfile::TempDir,
    pub world: World,
}

impl Rig {
    pub fn new() -> Self {
        let rig = Self { folder: tempfile::tempdir().expect("a folder"), world: World::default() };
        rig.world.state().store = [5; 16];
        rig
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("Vol-1")
    }

    pub fn file(&self, writable: bool) -> File {
        open(&self.path(), writable)
    }

    /// A device without a volume.
    pub fn bare(&self) -> Device {
        Device::new(Box::new(self.world.connect()))
    }

    /// A device with the volume open.
    pub fn device(&self, writable: bool) -> Device {
        let mut device = self.bare();
        device.open(self.file(writable), writable).expect("the volume opens");
        device
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).expect("the volume's file")
    }

    pub fn put(&self, bytes: &[u8]) {
        std::fs::write(self.path(), bytes).expect("the volume's file");
    }
}

pub fn open(path: &Path, writable: bool) -> File {
    OpenOptions::new().read(true).write(writable).create(writable).open(path).expect("the volume's file")
}

/// Writes at the end, as the daemon does.
pub fn append(device: &mut Device, blocks: &[Vec<u8>]) -> Result<()> {
    device.seek(0, Whence::End).expect("the end");
    for block in blocks {
        assert_eq!(device.write(block)?, block.len());
    }
    Ok(())
}

/// Everything from position 0 on, block by block.
pub fn read_all(device: &mut Device, buffer_size: usize) -> Result<Vec<u8>> {
    device.seek(0, Whence::Start).expect("the start");
    let (mut all, mut buffer) = (Vec::new(), vec![0; buffer_size]);
    loop {
        match device.read(&mut buffer)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

/// What can be read, block by block from the given starts; errors as `None`.
pub fn read_each(device: &mut Device, starts: &[u64]) -> Vec<Option<Vec<u8>>> {
    let mut buffer = vec![0; 5 << 20];
    let mut read = |start: &u64| {
        device.seek(i64::try_from(*start).expect("small"), Whence::Start).expect("a position");
        device.read(&mut buffer).ok().map(|count| buffer[..count].to_vec())
    };
    starts.iter().map(&mut read).collect()
}

/// Where each block starts.
pub fn starts(blocks: &[Vec<u8>]) -> Vec<u64> {
    let mut at = 0;
    blocks
        .iter()
        .map(|block| {
            at += block.len() as u64;
            at - block.len() as u64
        })
        .collect()
}

/// The id in an error's message.
pub fn id_of(error: &Error) -> String {
    let text = error.to_string();
    text.trim_start_matches('[').split(']').next().unwrap_or_default().to_owned()
}
