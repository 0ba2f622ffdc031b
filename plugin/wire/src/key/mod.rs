//! The secret that a client and its daemon share, 32 random bytes, and the ring of those that a daemon accepts.
//!
//! A key is never used as it is. Its [`KeyId`], which travels in clear, and the pre-shared key of the handshake are
//! derived from it with HKDF-SHA256 under different labels, so that neither says anything about the other (RFC 9258 has
//! the idea).

mod file;
mod ring;

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

pub use file::KeyError;
pub use ring::{Domain, KeyRing, RingError};

use crate::suite::hkdf_sha256;

/// Bytes of a key.
pub const KEY_SIZE: usize = 32;

/// Which key: public, 8 bytes, derived from the secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A shared secret. Its memory is overwritten when it goes.
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    secret: Zeroizing<[u8; KEY_SIZE]>,
    psk: Zeroizing<[u8; 32]>,
}

impl Key {
    /// A fresh one, from the kernel's random numbers.
    ///
    /// # Errors
    /// The kernel has none.
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = Zeroizing::new([0; KEY_SIZE]);
        getrandom::fill(&mut *secret).map_err(|error| KeyError::Random(error.to_string()))?;
        Self::from_secret(&secret)
    }

    /// From the secret itself.
    ///
    /// # Errors
    /// All bytes are zero: a file that was never written, not a key.
    pub fn from_secret(secret: &[u8; KEY_SIZE]) -> Result<Self, KeyError> {
        if secret.iter().fold(0, |any, byte| any | byte) == 0 {
            return Err(KeyError::Zero);
        }
        let mut id = [0; 8];
        hkdf_sha256(b"gdd wire 1 key", secret, b"id", &mut id);
        let mut psk = Zeroizing::new([0; 32]);
        hkdf_sha256(b"gdd wire 1 key", secret, b"handshake", &mut *psk);
        Ok(Self { id: KeyId(id), secret: Zeroizing::new(*secret), psk })
    }

    /// From its file, which must be a plain file of 92 bytes, the caller's own, and closed to everybody else.
    ///
    /// # Errors
    /// The file cannot be read, is not such a file, or does not hold what it says.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        file::load(path)
    }

    /// A fresh one in a new file, durable when this returns.
    ///
    /// # Errors
    /// There is such a file already, or it cannot be written.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let key = Self::generate()?;
        file::create(path, &key)?;
        Ok(key)
    }

    /// Which key this is.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn psk(&self) -> &[u8; 32] {
        &self.psk
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_not_the_secret() {
        let key = Key::from_secret(&[0xab; 32]).unwrap();
        assert_eq!(format!("{key:?}"), format!("Key({})", key.id()));
        assert!(!format!("{key:?}").contains("abab"));
    }

    #[test]
    fn derived_values_differ_from_each_other_and_from_the_secret() {
        let key = Key::from_secret(&[7; 32]).unwrap();
        assert_ne!(key.psk(), &[7; 32]);
        assert_ne!(key.psk()[..8], key.id().0);
        assert_ne!(key.id(), Key::from_secret(&[8; 32]).unwrap().id());
        assert_ne!(Key::generate().unwrap().id(), Key::generate().unwrap().id());
    }

    #[test]
    fn zeros_are_no_key() {
        assert!(matches!(Key::from_secret(&[0; 32]), Err(KeyError::Zero)));
    }
}
