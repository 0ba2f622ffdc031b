//! Vacuum, scrub or a rebuild of the index as the moment at which something else is killed.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::gdd::Gdd;
use crate::random::Random;

/// Pieces of a stream of which half is removed.
const PIECES: usize = 32;
/// Bytes of each.
const PIECE: usize = 256 << 10;
/// How long the work may take to begin.
const BEGIN_MAX: Duration = Duration::from_secs(20);
/// A rebuild is killed within so many milliseconds.
const KILL_WITHIN: u64 = 40;

/// Work that keeps a store whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// `gdd vacuum`.
    Vacuum,
    /// `gdd scrub`.
    Scrub,
}

impl Upkeep {
    /// Slow enough to be met in the middle.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Vacuum => &["vacuum", "--dead-percent", "0", "--rate", "512k"],
            Self::Scrub => &["scrub", "--rate", "2m"],
        }
    }

    fn name(self) -> &'static str {
        self.words()[0]
    }

    /// Have the daemon begin it, and wait until it is at work, for some seconds at least after a [`litter`]. A vacuum
    /// begins to move only when no stream is open that was before it.
    ///
    /// # Panics
    /// When it does not begin.
    pub fn begin(self, gdd: &Gdd) -> Companion {
        let mut command = gdd.command();
        let child = command.args(self.words()).stdout(Stdio::null()).stderr(Stdio::piped());
        let companion = Companion { child: child.spawn().expect("gdd starts"), words: self.words() };
        let until = Instant::now() + BEGIN_MAX;
        loop {
            let status = gdd.json(&["status"]);
            if status["services"][self.name()]["running"]["done"].as_u64().is_some_and(|done| done > 0) {
                return companion;
            }
            assert!(Instant::now() < until, "{self:?} does not begin: {status}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Work that goes on in the daemon.
#[derive(Debug)]
pub struct Companion {
    child: Child,
    words: &'static [&'static str],
}

impl Companion {
    /// The daemon was killed: the command says so. And no other daemon has the work stopped in its middle.
    ///
    /// # Panics
    /// When it takes it for done, or it cannot be done again.
    pub fn was_killed(self, gdd: &Gdd) {
        let output = self.child.wait_with_output().expect("it ends");
        assert!(!output.status.success(), "{:?} of a daemon that was killed ended well", self.words);
        gdd.expect(0, &[self.words[0], "--rate", "0"]);
    }

    /// It ends well, whatever was killed beside it.
    ///
    /// # Panics
    /// When it does not.
    pub fn ends_well(self) {
        let output = self.child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{:?}: {}", self.words, String::from_utf8_lossy(&output.stderr));
    }
}

/// Kill a rebuild of the index, and let the next one end. No daemon may run.
///
/// # Panics
/// When the second one does not end well.
pub fn rebuild_twice(gdd: &Gdd, random: &mut Random) {
    let mut command = gdd.command();
    let mut child =
        command.arg("rebuild-index").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("gdd starts");
    std::thread::sleep(Duration::from_millis(random.below(KILL_WITHIN)));
    let _ = child.kill(); // It may have ended.
    let _ = child.wait();
    gdd.expect(0, &["rebuild-index"]);
}

/// Leave containers that are half dead: every other piece of a stream is another's too, and the first one goes. Make
/// the store with containers of 1 MiB: only sealed ones count.
pub fn litter(gdd: &Gdd, random: &mut Random) {
    let (mut all, mut kept) = (Vec::new(), Vec::new());
    for number in 0..PIECES {
        let mut piece = vec![0; PIECE];
        random.fill(&mut piece);
        if number % 2 == 0 {
            kept.extend_from_slice(&piece);
        }
        all.extend_from_slice(&piece);
    }
    let number = random.word();
    gdd.put(&format!("gone-{number}"), &all[..]);
    gdd.put(&format!("kept-{number}"), &kept[..]);
    gdd.expect(0, &["rm", &format!("gone-{number}")]);
}
