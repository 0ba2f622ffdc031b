//! How much a test does: a few minutes for all of them by default, the sizes that were promised with `GDD_TEST_FULL=1`.

/// Whether `GDD_TEST_FULL=1` is set.
#[must_use]
pub fn is_full() -> bool {
    std::env::var("GDD_TEST_FULL").is_ok_and(|value| value == "1")
}

/// `quick`, or `full` when [`is_full`].
#[must_use]
pub fn sized<T>(quick: T, full: T) -> T {
    if is_full() { full } else { quick }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_follows_the_variable() {
        assert_eq!(sized("quick", "full"), if is_full() { "full" } else { "quick" });
    }
}
