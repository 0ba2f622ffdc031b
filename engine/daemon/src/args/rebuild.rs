//! What was typed after `gdd rebuild-index`.

use clap::Args;

/// `gdd rebuild-index`.
#[derive(Args, Debug)]
#[command(after_help = "\
Which chunks are known to be damaged stands in the index only. It is taken over from the old one, if that can be read.
If not, everything is read and checked before the command ends, as by gdd scrub; a large store takes hours for that.
With --scrub-later it ends as soon as there is an index, and streams can be restored; but what the store holds counts as
unknown until the daemon, or gdd scrub, has read it: a backup meanwhile stores it a second time.

Examples:
  gdd rebuild-index                  make it, and check what has to be checked
  gdd rebuild-index --scrub-later    make it; the daemon checks, at once and at its own pace

Exit codes: 0 nothing is lost, 3 damage was found, or a stream that cannot be read.")]
pub struct RebuildIndex {
    /// End before the containers are checked, if they have to be
    #[arg(long)]
    pub scrub_later: bool,
}
