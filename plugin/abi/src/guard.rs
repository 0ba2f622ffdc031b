//! Nothing unwinds into C++: a panic in an entry point becomes an error of the call.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`. A panic is caught and turned into `on_panic` of its message.
///
/// State that was being changed may be half changed afterwards; callers keep it behind a `Mutex`, whose poison says so.
pub fn guarded<T>(body: impl FnOnce() -> T, on_panic: impl FnOnce(&str) -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) => {
            let message = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("a panic without a message");
            // The second guard: what reports a panic may itself panic, and must not unwind either.
            match catch_unwind(AssertUnwindSafe(|| on_panic(message))) {
                Ok(value) => value,
                Err(_) => std::process::abort(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn a_value_passes_and_a_panic_becomes_one() {
        assert_eq!(guarded(|| 7, |_| -1), 7);
        assert_eq!(guarded(|| panic!("boom"), |message| message.to_owned()), "boom");
        assert_eq!(guarded(|| panic!("boom {}", 2), |message| message.to_owned()), "boom 2");
    }
}
