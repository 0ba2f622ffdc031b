//! What was typed after `gdd fsck`.

use clap::Args;

/// `gdd fsck`.
#[derive(Args, Debug)]
#[command(after_help = "\
Levels, each including those before:
  0  the store's identity and its lists of containers and streams
  1  headers, footers and watermarks, and whether index and containers agree
  2  the checksum of every chunk
  3  the BLAKE3 hash of every chunk, and every stream chunk by chunk

Where a daemon has the store open it does the checking, beside its jobs. Then left out are what was stored since the
check began, streams that are not finished, and files that belong to nothing; `gdd status` shows how it ended. Reading
is not slowed down as for gdd scrub, which in addition marks what is damaged, so that backups store it again.

With --repair it checks everything, and says what a repair would do and what no repair brings back; with --apply it
does so, and checks again. A repair deletes nothing: files that are of no use go to quarantine/ in the store's folder,
an old index stays as index.old-N. Of a stream whose recipe is damaged in both copies, what can still be read stays as
streams salvaged/NAME/1 and so on, until gdd rm gives them up. No daemon may have the store open. It can be stopped and
run again.

Examples:
  gdd fsck                     find damage
  gdd fsck --repair            and what would be done about it
  gdd fsck --repair --apply    and do it

Exit codes: 0 nothing is lost, 3 damage was found; after a repair: something is still lost.")]
pub struct Fsck {
    /// How deep to look
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=3), conflicts_with = "repair")]
    pub level: u8,
    /// Say what a repair would do
    #[arg(long)]
    pub repair: bool,
    /// Do it
    #[arg(long, requires = "repair")]
    pub apply: bool,
}
