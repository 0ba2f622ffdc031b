//! The algorithms, by name, in one place: X25519, SHA-256, HKDF, ChaCha20-Poly1305. There is one suite and no choice.
//!
//! All of them are AWS-LC's. The known-answer tests (`tests/known_answers`: the RFCs, Wycheproof, a Noise vector) run
//! through what stands here, so they test what the channel uses.

mod noise;

use aws_lc_rs::aead::{CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf;
use snow::resolvers::BoxedCryptoResolver;

pub use aws_lc_rs::aead::{Aad, Nonce};

/// The handshake, as the Noise specification (revision 34) names it.
pub const NOISE: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";

/// The algorithms of [`NOISE`].
#[must_use]
pub fn resolver() -> BoxedCryptoResolver {
    Box::new(noise::Resolver)
}

/// HKDF-SHA256 (RFC 5869), both steps.
///
/// # Panics
/// `out` is longer than 255 hashes, 8160 bytes.
pub fn hkdf_sha256(salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let info = [info];
    let expanded = extracted.expand(&info, Size(out.len())).expect("at most 255 hashes are asked for");
    expanded.fill(out).expect("exactly as many bytes as were announced");
}

/// A key of ChaCha20-Poly1305 (RFC 8439).
#[must_use]
pub fn aead_key(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("the cipher's keys have 32 bytes"))
}

struct Size(usize);

impl hkdf::KeyType for Size {
    fn len(&self) -> usize {
        self.0
    }
}
