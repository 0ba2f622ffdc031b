//! The algorithms, by name, in one place: X25519, SHA-256, HKDF, ChaCha20-Poly1305. There is one suite and no choice.
//!
//! The cipher and the hash are ring's, whose assembly seals twice as fast as the portable crates; X25519 is
//! curve25519-dalek's: ring has none that a known answer could be tried on. The known-answer tests
//! (`tests/known_answers`: the RFCs, Wycheproof, a Noise vector) run through what stands here, so they test what the
//! channel uses.

use curve25519_dalek::MontgomeryPoint;
use ring::aead::{CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use ring::hkdf;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{BoxedCryptoResolver, CryptoResolver, RingResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::Zeroizing;

/// The handshake, as the Noise specification (revision 34) names it.
pub const NOISE: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";

/// The algorithms of [`NOISE`].
#[must_use]
pub fn resolver() -> BoxedCryptoResolver {
    Box::new(Resolver)
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

struct Resolver;

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        RingResolver.resolve_rng()
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(X25519::default())),
            DHChoice::Curve448 => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        RingResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        RingResolver.resolve_cipher(choice)
    }
}

/// X25519 (RFC 7748). It refuses a shared secret of zeros (section 6.1 there): the peer sent a point of low order, and
/// nothing of our own key would be in the result.
#[derive(Default)]
struct X25519 {
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, private: &[u8]) {
        self.private.copy_from_slice(private);
        self.public = MontgomeryPoint::mul_base_clamped(*self.private).to_bytes();
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), snow::Error> {
        let mut private = Zeroizing::new([0; 32]);
        random.try_fill_bytes(&mut *private)?;
        self.set(&*private);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.private
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        // Noise hands over its whole buffer, of which the point is the start.
        let point = public.first_chunk().ok_or(snow::Error::Dh)?;
        let shared = Zeroizing::new(MontgomeryPoint(*point).mul_clamped(*self.private).to_bytes());
        if shared.iter().fold(0, |any, byte| any | byte) == 0 {
            return Err(snow::Error::Dh);
        }
        out[..32].copy_from_slice(&*shared);
        Ok(())
    }
}
