//! What was typed after `cargo xtask rivals`.

use std::path::PathBuf;

use super::corpus::CORPORA;
use super::field::FIELD;
use crate::Result;
use crate::shell::root;

/// Shown for `--help` and after a mistake.
pub const HELP: &str = "\
usage: cargo xtask rivals [OPTION]..

Installs the rivals (Debian packages by apt-get, crates into target/tools; one that cannot be had is named and left
out), makes the corpora, and lets gdd and each rival store and restore them in turns. Every restore is compared byte for
byte. What was measured is kept: run it again to go on. Close other programs first.

  --size SIZE      bytes of each corpus, such as 512m or 2g [default: 1g]; it takes about eight times as much on disk
  --runs N         measure everything N times, and show medians [default: 3]
  --only NAME      only this rival (gdd is one); may be given again
  --corpus NAME    only real, random or image; may be given again
  --minutes N      begin nothing more after N minutes; 0 only shows what is there
  --folder DIR     where corpora, repositories and results lie [default: target/rivals]
  --seed N         of the corpora [default: 0]
  --no-install     leave out what is not there already
  --json           end with one JSON object on standard output";

/// See [`HELP`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub size: u64,
    pub runs: u64,
    pub only: Vec<String>,
    pub corpora: Vec<String>,
    pub minutes: Option<u64>,
    pub folder: PathBuf,
    pub seed: u64,
    pub install: bool,
    pub json: bool,
}

impl Options {
    /// Read the command line.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            size: 1 << 30,
            runs: 3,
            only: Vec::new(),
            corpora: Vec::new(),
            minutes: None,
            folder: root().join("target/rivals"),
            seed: 0,
            install: true,
            json: false,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{HELP}"));
            match word.as_str() {
                "--size" => options.size = size(value()?)?,
                "--runs" => options.runs = number(word, value()?)?.max(1),
                "--only" => options.only.push(known(value()?, &FIELD.each_ref().map(|rival| rival.name))?),
                "--corpus" => {
                    options.corpora.push(known(value()?, &CORPORA.each_ref().map(|corpus| corpus.name))?);
                }
                "--minutes" => options.minutes = Some(number(word, value()?)?),
                "--folder" => options.folder = root().join(value()?),
                "--seed" => options.seed = number(word, value()?)?,
                "--no-install" => options.install = false,
                "--json" => options.json = true,
                _ => return Err(format!("unknown argument {word:?}\n{HELP}")),
            }
        }
        Ok(options)
    }

    /// Whether `rival` takes part.
    pub fn wants(&self, rival: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == rival)
    }

    /// Whether `corpus` does.
    pub fn wants_corpus(&self, corpus: &str) -> bool {
        self.corpora.is_empty() || self.corpora.iter().any(|name| name == corpus)
    }

    /// The command that repeats the whole comparison, whatever part of it this one was.
    pub fn command(&self) -> String {
        let seed = if self.seed == 0 { String::new() } else { format!(" --seed {}", self.seed) };
        format!("cargo xtask rivals --size {}m --runs {}{seed}", self.size >> 20, self.runs)
    }
}

fn known(name: &str, names: &[&str]) -> Result<String> {
    if names.contains(&name) {
        return Ok(name.to_owned());
    }
    Err(format!("{name:?} is not one of {}", names.join(", ")))
}

fn number(word: &str, text: &str) -> Result<u64> {
    text.parse().map_err(|_| format!("{word} takes a number, not {text:?}"))
}

/// `512m`, `2g` or bytes; a MiB at least.
fn size(text: &str) -> Result<u64> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        _ => (text, 0),
    };
    let size = digits.parse().ok().and_then(|number: u64| number.checked_mul(1 << shift));
    size.filter(|size| *size >= 1 << 20)
        .ok_or_else(|| format!("--size takes a size such as 512m or 2g, a MiB at least, and not {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_typed_is_taken() {
        let options = parse("--size 512m --runs 5 --only borg --only gdd --minutes 0 --json").unwrap();
        assert_eq!(
            (options.size, options.runs, options.minutes, options.json),
            (512 << 20, 5, Some(0), true)
        );
        assert!(options.wants("borg") && options.wants("gdd") && !options.wants("restic"));
        assert!(options.wants_corpus("image"));
        assert_eq!(options.command(), "cargo xtask rivals --size 512m --runs 5");
        assert!(!parse("--corpus real").unwrap().wants_corpus("image"));
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            "--size",
            "--size much",
            "--size 12",
            "--size 99999999999g",
            "--only tar",
            "--corpus x",
            "--runs many",
            "--what",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("--only tar").is_err_and(|error| error.contains("borg")));
        assert!(parse("--what").is_err_and(|error| error.contains("usage")));
    }
}
