//! One rival at one corpus, from an empty repository to a restore that is compared byte for byte.
//!
//! Before each step everything is synced; sources are in memory; before a restore the page cache is dropped, where that
//! is allowed, so that whoever wrote past it has no worse start than whoever left the repository in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::corpus::{self, Corpus};
use super::field::{ENVIRONMENT, Rival};
use super::record::{Record, Step};
use super::usage;
use crate::shell::{Run, search_path};
use crate::{Result, tree};

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// Where things lie, and what holds for all measurements of a run.
#[derive(Clone, Debug)]
pub struct Place {
    /// The corpora.
    pub corpora: PathBuf,
    /// What is made for one piece and removed after it.
    pub scratch: PathBuf,
    /// What each step printed.
    pub logs: PathBuf,
    /// See [`Record`].
    pub size: u64,
    /// See [`Record`].
    pub seed: u64,
}

/// Measure `rival` at `corpus`, the `run`th time.
pub fn measure(
    place: &Place,
    corpus: &Corpus,
    rival: &Rival,
    version: &str,
    run: u64,
) -> Result<Vec<Record>> {
    let piece = Piece { place, corpus, rival, repo: place.scratch.join("repo") };
    let outcome = piece.clear().and_then(|()| piece.steps(version, run));
    let cleared = piece.clear();
    outcome.and_then(|records| cleared.map(|()| records))
}

struct Piece<'a> {
    place: &'a Place,
    corpus: &'a Corpus,
    rival: &'a Rival,
    repo: PathBuf,
}

impl Piece<'_> {
    fn clear(&self) -> Result {
        let scratch = &self.place.scratch;
        match fs::remove_dir_all(scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("cannot remove {}: {error}", scratch.display()))
            }
            _ => Ok(()),
        }
    }

    fn steps(&self, version: &str, run: u64) -> Result<Vec<Record>> {
        for folder in [self.place.scratch.join("home"), self.target(), self.place.logs.clone()] {
            fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let mut name = "none".to_owned();
        self.line("init", self.rival.init, &name, Path::new(""))?;
        let mut records = Vec::new();
        for (step, folder) in self.corpus.steps {
            let source = self.place.corpora.join(folder);
            let restores = *step == Step::Restore;
            if !restores {
                step.name().clone_into(&mut name);
            }
            let before = self.stored()?;
            let [put, get] = self.rival.lines(self.corpus.name == "image");
            self.make_ready(&source, restores)?;
            let usage = self.line(step.name(), if restores { get } else { put }, &name, &source)?;
            let sync_seconds = sync(&self.place.scratch)?;
            if restores {
                self.compare(&source)?;
            }
            let bytes = corpus::warm(&source).map_err(|error| format!("{}: {error}", source.display()))?;
            records.push(Record {
                size: self.place.size,
                seed: self.place.seed,
                run,
                corpus: self.corpus.name.to_owned(),
                rival: self.rival.name.to_owned(),
                version: version.to_owned(),
                step: *step,
                bytes,
                usage,
                sync_seconds,
                added: self.stored()?.saturating_sub(before),
            });
        }
        Ok(records)
    }

    fn make_ready(&self, source: &Path, restores: bool) -> Result {
        sync(&self.place.scratch)?;
        if restores && fs::write(DROP_CACHES, "3").is_ok() {
            // The program itself comes back, as it would be after any use of it.
            Run::new("sh").arg("-c").arg(self.rival.version).env("PATH", search_path()).answer();
        }
        if !restores {
            corpus::warm(source).map_err(|error| format!("{}: {error}", source.display()))?;
        }
        Ok(())
    }

    fn line(&self, step: &str, line: &str, name: &str, source: &Path) -> Result<usage::Usage> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let (repo, target) = (text(&self.repo), text(&self.target()));
        let (home, source) = (text(&self.place.scratch.join("home")), text(source));
        let path = search_path();
        let mut environment = vec![
            ("REPO", repo.as_str()),
            ("SOURCE", &source),
            ("TARGET", &target),
            ("NAME", name),
            ("HOME", &home),
            ("PATH", &path),
        ];
        environment.extend(ENVIRONMENT);
        let log = self.place.logs.join(format!("{}-{}-{step}.log", self.corpus.name, self.rival.name));
        usage::run(line, &environment, &log)
    }

    fn compare(&self, source: &Path) -> Result {
        let compared = tree::compare(source, &self.target())?;
        match compared.differences.first() {
            Some(first) => {
                Err(format!("the restore differs in {} places; {first}", compared.differences.len()))
            }
            None => Ok(()),
        }
    }

    /// Bytes that the repository takes, without what is only reserved.
    fn stored(&self) -> Result<u64> {
        let problem = |error| format!("{}: {error}", self.repo.display());
        let taken = corpus::allocated(&self.repo).map_err(problem)?;
        let Some(line) = self.rival.reserved else { return Ok(taken) };
        let run = Run::new("sh").arg("-c").arg(line).env("REPO", &self.repo).env("PATH", search_path());
        Ok(taken.saturating_sub(sum(&run.quiet()?).ok_or_else(|| format!("`{line}` gave no numbers"))?))
    }

    fn target(&self) -> PathBuf {
        self.place.scratch.join("target")
    }
}

/// Whether restores begin with an empty page cache.
pub fn restores_cold() -> bool {
    fs::OpenOptions::new().write(true).open(DROP_CACHES).is_ok()
}

/// The numbers in `text` together; nothing when there is none, or something else.
fn sum(text: &str) -> Option<u64> {
    let numbers: Option<Vec<u64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
    numbers.filter(|numbers| !numbers.is_empty()).map(|numbers| numbers.iter().sum())
}

/// Wait until the file system of `folder` has written everything; returns the seconds that it took.
fn sync(folder: &Path) -> Result<f64> {
    let started = Instant::now();
    let folder = folder.parent().filter(|_| !folder.exists()).unwrap_or(folder);
    Run::new("sync").arg("--file-system").arg(folder).quiet()?;
    Ok(started.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_added_up_and_nothing_else_is_taken() {
        assert_eq!(sum("247332864\n4096\n"), Some(247_336_960));
        assert_eq!(sum(""), None);
        assert_eq!(sum("12 bytes"), None);
    }
}
