//! The tests that play a Bacula daemon for the plugin export that daemon's table of messages, as the daemon does.

fn main() {
    println!("cargo::rustc-link-arg-tests=-Wl,--export-dynamic-symbol=msg_types");
    println!("cargo::rerun-if-changed=build.rs");
}
