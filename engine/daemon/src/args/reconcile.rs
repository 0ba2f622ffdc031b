//! What was typed after `gdd reconcile`.

use std::path::PathBuf;

use clap::Args;

use crate::span;

/// `gdd reconcile`.
#[derive(Args, Debug)]
#[command(after_help = "\
Storage mode: a volume that is truncated or recycled gives its streams up. One that was deleted, or whose file was
removed, does not: its streams stay for ever. --volumes names the Archive Devices, all of them; streams whose volume
is in none are orphans. A file that cannot be read, or a volume whose header is damaged, ends it.

Bothsides mode: the client's jobs own their streams, and a job that the catalog has pruned cannot be restored any more.
--jobs-older-than takes a span that is longer than every job and volume retention: streams stored before are orphans.

Young streams are never orphans: their job may be running. Nothing is removed without --apply, and nothing when it is
more than half of all streams of the kind, unless --force says that this is right.

Examples:
  gdd reconcile --volumes /srv/bacula                      what would go
  gdd reconcile --volumes /srv/bacula --apply              and let it go; gdd vacuum frees the space
  gdd reconcile --jobs-older-than 400d --apply             bothsides mode, retention of a year")]
pub struct Reconcile {
    /// An Archive Device with volumes of storage mode; may be given several times
    #[arg(long, value_name = "DIR", required_unless_present = "jobs_older_than")]
    pub volumes: Vec<PathBuf>,
    /// Streams of bothsides mode that were stored before this are orphans, e.g. 400d
    #[arg(long, value_name = "SPAN", value_parser = age)]
    pub jobs_older_than: Option<u64>,
    /// A stream that is younger is kept in any case
    #[arg(long, value_name = "SPAN", value_parser = age, default_value = "1d")]
    pub keep_newer: u64,
    /// Remove the orphans
    #[arg(long)]
    pub apply: bool,
    /// Also when they are more than half
    #[arg(long, requires = "apply")]
    pub force: bool,
}

fn age(text: &str) -> Result<u64, String> {
    span::parse(text)?.ok_or_else(|| "a span is needed, such as 400d".to_owned())
}
