//! See `decoders_hear` in the bodies.

#![no_main]
#![allow(dead_code)] // Each target uses one of the bodies.

mod bodies {
    include!("../../tests/arbitrary/bodies.rs");
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::decoders_hear(bytes));
