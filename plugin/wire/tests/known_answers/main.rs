//! Known answers: every algorithm of the suite against values that others published, through what the channel itself
//! uses. A wrong primitive would talk to itself without complaint; only a value from outside can tell.

mod noise;
mod rfc;
mod wycheproof;

use gdd_wire::suite::{Aad, Nonce};
use snow::params::DHChoice;
use snow::types::Dh;

use gdd_wire::suite::{aead_key, resolver};

/// Bytes of hexadecimal digits; blanks between them are skipped.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("a hexadecimal digit")).expect("below 16"))
        .collect();
    assert!(digits.len().is_multiple_of(2), "half a byte: {text}");
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("a published value has its length")
}

/// The shared secret, or nothing where the channel's X25519 refuses the point.
fn x25519(private: &[u8], public: &[u8]) -> Option<[u8; 32]> {
    let mut dh = curve();
    dh.set(private);
    let mut shared = [0; 32];
    dh.dh(public, &mut shared).ok().map(|()| shared)
}

fn curve() -> Box<dyn Dh> {
    resolver().resolve_dh(&DHChoice::Curve25519).expect("the suite has X25519")
}

/// Encrypted bytes and tag; nothing where the nonce has no 12 bytes.
fn seal(key: &[u8], nonce: &[u8], aad: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut out = plain.to_vec();
    let tag = aead_key(&array(key)).seal_in_place_separate_tag(nonce, Aad::from(aad), &mut out);
    out.extend_from_slice(tag.expect("short enough").as_ref());
    Some(out)
}

/// The plain bytes; nothing where it does not verify or the nonce has no 12 bytes.
fn open(key: &[u8], nonce: &[u8], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut bytes = sealed.to_vec();
    aead_key(&array(key)).open_in_place(nonce, Aad::from(aad), &mut bytes).ok().map(|plain| plain.to_vec())
}
