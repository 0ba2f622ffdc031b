//! How much a bench does: next to nothing under `cargo test`, enough to measure under `cargo bench`.

/// How much a bench does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Every line once, in seconds for the whole suite.
    Smoke,
    /// Enough to measure.
    Full,
}

impl Effort {
    /// What the command line asks for.
    #[must_use]
    pub fn chosen() -> Self {
        Self::of(std::env::args())
    }

    /// `cargo bench` says `--bench`, `cargo test` says nothing, and `--test` means a trial run in either.
    fn of(arguments: impl Iterator<Item = String>) -> Self {
        let arguments: Vec<_> = arguments.collect();
        let says = |word: &str| arguments.iter().any(|argument| argument == word);
        if says("--bench") && !says("--test") { Self::Full } else { Self::Smoke }
    }

    /// The one or the other.
    #[must_use]
    pub fn pick<T>(self, smoke: T, full: T) -> T {
        match self {
            Self::Smoke => smoke,
            Self::Full => full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Effort {
        Effort::of(words.iter().map(|&word| word.to_owned()))
    }

    #[test]
    fn only_cargo_bench_measures() {
        assert_eq!(of(&["chunk", "--bench"]), Effort::Full);
        assert_eq!(of(&["chunk", "own", "--bench"]), Effort::Full);
        assert_eq!(of(&["chunk"]), Effort::Smoke);
        assert_eq!(of(&["chunk", "--test", "--bench"]), Effort::Smoke);
    }
}
