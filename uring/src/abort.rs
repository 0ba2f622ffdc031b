//! What ends the process when a thread panics that others wait for: an answer that never comes is worse than a crash,
//! after which whoever waits is told, and recovery runs.

/// Aborts if it is dropped by a panic. Held by a thread for as long as others rely on it.
#[derive(Debug)]
pub struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let thread = std::thread::current();
            tracing::error!(
                "thread {} panicked while others wait for it",
                thread.name().unwrap_or("without a name")
            );
            std::process::abort();
        }
    }
}
