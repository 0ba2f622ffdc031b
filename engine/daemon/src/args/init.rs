//! What was typed after `gdd init`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gdd_engine::format::codec::Compression;
use gdd_engine::format::superblock::Settings;

use crate::size;

/// `gdd init`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  gdd init /srv/store
  gdd init /srv/store --chunk-size 16k/64k/256k --compression zstd:3
  gdd init /mnt/second/store --replica-of /srv/store

The chunk sizes are part of what the store is and cannot be changed later. The default finds most of what disk
images and databases have in common; larger chunks need less index and find less.

With --slices on, what has changed in place is stored by blocks of 4 KiB: where new chunks lie between known ones of
the same lineage (see gdd put), the old data is read, and the stream refers to slices of the old chunks around what is
new. Disk images and databases need several times less space so; streams that are never changed in place gain nothing.
A gdd from before slices refuses such a store.

With --tuner on, a lineage (see gdd put) whose versions never have anything in common, such as encrypted dumps, gets
larger chunks step by step, and so less index. Should it begin to repeat later, less is found than without; batch
buffers take up to 64 MiB for each engine thread.

A replica has the settings and the identity of the store that it may have to replace, so that clients of bothsides mode
take it for that one. gdd copy fills it and keeps it up to date. Never let both be written to by Bacula.")]
pub struct Init {
    /// An empty or absent directory; its file system should be ext4 or xfs
    pub directory: PathBuf,
    /// Smallest/average/largest chunk; the average is a power of two
    #[arg(long, value_name = "MIN/AVG/MAX", value_parser = chunk_sizes, default_value = "4k/16k/64k")]
    chunk_size: ChunkSizes,
    /// Size of a container file [default: 128m]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    container_size: Option<u64>,
    /// How new chunks are compressed: none, lz4, zstd, zstd:LEVEL, or auto (probe each chunk)
    #[arg(long, value_parser = compression, default_value = "none")]
    compression: Compression,
    /// Let the tuner choose other chunk sizes for what is backed up again and again
    #[arg(long, value_enum, value_name = "on|off", default_value_t = Switch::Off)]
    tuner: Switch,
    /// Store what has changed in place by blocks, and refer to slices of old chunks for the rest
    #[arg(long, value_enum, value_name = "on|off", default_value_t = Switch::Off, conflicts_with = "tuner")]
    slices: Switch,
    /// Make a replica of this store: with its settings and its identity
    #[arg(long, value_name = "STORE", conflicts_with_all = SETTINGS)]
    pub replica_of: Option<PathBuf>,
}

/// What a replica takes from its original.
const SETTINGS: [&str; 5] = ["chunk_size", "container_size", "compression", "tuner", "slices"];

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Init {
    /// What the store is created with.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let default = Settings::default();
        let ChunkSizes(min, avg, max) = self.chunk_size;
        Settings {
            chunk_size_min: min,
            chunk_size_avg: avg,
            chunk_size_max: max,
            container_size: self.container_size.unwrap_or(default.container_size),
            compression: self.compression,
            tuner: self.tuner == Switch::On,
            slices: self.slices == Switch::On,
            ..default
        }
    }
}

/// Smallest, average and largest chunk in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ChunkSizes(u32, u32, u32);

fn chunk_sizes(text: &str) -> Result<ChunkSizes, String> {
    let wrong = || "expected three sizes as in 4k/16k/64k".to_owned();
    let sizes: Result<Vec<u64>, String> = text.split('/').map(size::parse).collect();
    let [min, avg, max] = sizes?.try_into().map_err(|_| wrong())?;
    let narrow = |size| u32::try_from(size).map_err(|_| wrong());
    Ok(ChunkSizes(narrow(min)?, narrow(avg)?, narrow(max)?))
}

fn compression(text: &str) -> Result<Compression, String> {
    match text.split_once(':').unwrap_or((text, "")) {
        ("none", "") => Ok(Compression::None),
        ("lz4", "") => Ok(Compression::Lz4),
        ("auto", "") => Ok(Compression::Auto),
        ("zstd", "") => Ok(Compression::Zstd { level: 3 }),
        ("zstd", level) => match level.parse() {
            Ok(level) if (1..=22).contains(&level) => Ok(Compression::Zstd { level }),
            _ => Err("zstd's level is 1 to 22".to_owned()),
        },
        _ => Err("expected none, lz4, zstd, zstd:LEVEL or auto".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn the_default_of_init_is_the_engines() {
        let cli = Cli::try_parse_from(["gdd", "init", "x"]).unwrap();
        let Command::Init(init) = cli.command else { unreachable!("init was typed") };
        assert_eq!(init.settings(), Settings::default());
    }

    #[test]
    fn every_part_of_init_arrives() {
        let words = "gdd init x --chunk-size 8k/32k/1m --container-size 64m --compression zstd:7 --tuner on";
        let cli = Cli::try_parse_from(words.split(' ')).unwrap();
        let Command::Init(init) = cli.command else { unreachable!("init was typed") };
        let settings = init.settings();
        let sizes = (settings.chunk_size_min, settings.chunk_size_avg, settings.chunk_size_max);
        assert_eq!(sizes, (8 << 10, 32 << 10, 1 << 20));
        assert_eq!(settings.container_size, 64 << 20);
        assert_eq!(settings.compression, Compression::Zstd { level: 7 });
        assert!(settings.tuner && !settings.slices);
        let cli = Cli::try_parse_from(["gdd", "init", "x", "--slices", "on"]).unwrap();
        let Command::Init(init) = cli.command else { unreachable!("init was typed") };
        assert!(init.settings().slices && init.settings().problem().is_none());
        assert!(Cli::try_parse_from(["gdd", "init", "x", "--slices", "on", "--tuner", "on"]).is_err());
    }
}
