//! See `reader_hears_good_records` in the bodies.

#![no_main]
#![allow(dead_code)] // Each target uses one of the bodies.

mod bodies {
    include!("../../tests/arbitrary/bodies.rs");
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::reader_hears_good_records(bytes));
