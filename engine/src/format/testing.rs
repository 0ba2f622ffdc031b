//! What every codec must refuse, stated once.

use std::path::Path;

use super::Place;
use crate::error::{Error, Result};

/// A place for decoders under test.
pub fn place() -> Place<'static> {
    Place::new(Path::new("test"), 0)
}

/// `decode` accepts `good` and refuses it with any byte changed, and with any other length tried.
pub fn refuses_damage<T>(good: &[u8], decode: impl Fn(&[u8]) -> Result<T>) {
    decode(good).map(drop).expect("the undamaged bytes decode");
    refuses_changed_bytes(good, &decode);
    for len in [0, 1, good.len() / 2, good.len() - 1] {
        is_refusal(decode(&good[..len]), &format!("cut to {len}"));
    }
    let mut longer = good.to_vec();
    longer.push(0);
    is_refusal(decode(&longer), "one byte longer");
}

/// `decode` refuses `good` with any byte changed.
pub fn refuses_changed_bytes<T>(good: &[u8], decode: impl Fn(&[u8]) -> Result<T>) {
    let mut bytes = good.to_vec();
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xff] {
            bytes[at] ^= mask;
            is_refusal(decode(&bytes), &format!("byte {at} xor {mask:02x}"));
            bytes[at] ^= mask;
        }
    }
}

fn is_refusal<T>(result: Result<T>, how: &str) {
    match result {
        Err(Error::Corrupt { .. }) => {}
        Err(other) => panic!("{how}: refused as {other}"),
        Ok(_) => panic!("{how}: accepted"),
    }
}
