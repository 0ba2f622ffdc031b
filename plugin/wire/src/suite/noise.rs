//! The suite's algorithms in the shape that the Noise library asks for.

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::digest;
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::Zeroizing;

/// Bytes of a tag of Poly1305.
const TAG_SIZE: usize = 16;
/// Bytes of a block and of a digest of SHA-256.
const BLOCK_SIZE: usize = 64;
const DIGEST_SIZE: usize = 32;

pub(super) struct Resolver;

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(System))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::new(X25519::default()) as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        matches!(choice, HashChoice::SHA256).then(|| Box::new(Sha256::default()) as Box<dyn Hash>)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        matches!(choice, CipherChoice::ChaChaPoly).then(|| Box::new(ChaChaPoly::default()) as Box<dyn Cipher>)
    }
}

/// The operating system's random numbers.
struct System;

impl Random for System {
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        getrandom::fill(bytes).map_err(|_| Error::Rng)
    }
}

/// X25519 (RFC 7748). It refuses a shared secret of zeros (section 6.1 there): the peer sent a point of low order, and
/// nothing of our own key would be in the result.
#[derive(Default)]
struct X25519 {
    private: Zeroizing<[u8; 32]>,
    key: Option<PrivateKey>,
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
        let key = PrivateKey::from_private_key(&agreement::X25519, &*self.private);
        let key = key.expect("any 32 bytes are a private key");
        let public = key.compute_public_key().expect("a private key has its public key");
        self.public.copy_from_slice(public.as_ref());
        self.key = Some(key);
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), Error> {
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

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        // Noise hands over its whole buffer, of which the point is the start.
        let point: &[u8; 32] = public.first_chunk().ok_or(Error::Dh)?;
        let key = self.key.as_ref().ok_or(Error::Dh)?;
        let point = UnparsedPublicKey::new(&agreement::X25519, point);
        agreement::agree(key, point, Error::Dh, |shared| {
            if shared.iter().fold(0, |any, byte| any | byte) == 0 {
                return Err(Error::Dh);
            }
            out[..32].copy_from_slice(shared);
            Ok(())
        })
    }
}

/// SHA-256 (FIPS 180-4).
struct Sha256(digest::Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Hash for Sha256 {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        BLOCK_SIZE
    }

    fn hash_len(&self) -> usize {
        DIGEST_SIZE
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let done = std::mem::take(self).0.finish();
        out[..DIGEST_SIZE].copy_from_slice(done.as_ref());
    }
}

/// ChaCha20-Poly1305 (RFC 8439) with the nonce of Noise: four zeros and a little-endian counter.
#[derive(Default)]
struct ChaChaPoly(Option<LessSafeKey>);

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

impl ChaChaPoly {
    fn key(&self) -> &LessSafeKey {
        self.0.as_ref().expect("Noise sets a key before it uses one")
    }
}

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = Some(super::aead_key(key));
    }

    fn encrypt(&self, counter: u64, extra: &[u8], plain: &[u8], out: &mut [u8]) -> usize {
        let (body, rest) = out.split_at_mut(plain.len());
        body.copy_from_slice(plain);
        let tag = self.key().seal_in_place_separate_tag(nonce(counter), Aad::from(extra), body);
        rest[..TAG_SIZE].copy_from_slice(tag.expect("a message of Noise has 64 KiB at most").as_ref());
        plain.len() + TAG_SIZE
    }

    fn decrypt(&self, counter: u64, extra: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let body = sealed.len().checked_sub(TAG_SIZE).ok_or(Error::Decrypt)?;
        let (cipher, tag) = sealed.split_at(body);
        let out = out.get_mut(..body).ok_or(Error::Decrypt)?;
        let opened = self.key().open_separate_gather(nonce(counter), Aad::from(extra), cipher, tag, out);
        opened.map(|()| body).map_err(|_| Error::Decrypt)
    }
}
