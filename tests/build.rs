//! The tests that play a Bacula daemon for the plugin export that daemon's table of messages and the functions that the
//! plugin looks for, as the daemon does.

const EXPORTED: [&str; 4] =
    ["msg_types", "_Z16get_jcr_from_tsdv", "_ZN3JCR12setJobStatusEi", "_Z19is_message_type_setP3JCRi"];

fn main() {
    for symbol in EXPORTED {
        println!("cargo::rustc-link-arg-tests=-Wl,--export-dynamic-symbol={symbol}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
