//! The keys that a daemon accepts, by domain.
//!
//! A domain is what may share data: clients whose keys are of one domain find each other's chunks known, clients of
//! another learn nothing of them. Each has two keys at most, so that a key can be exchanged without a moment at which
//! some client is locked out: the daemon takes both, clients move over, the old one goes.

use zeroize::Zeroizing;

use super::{Key, KeyError, KeyId};

/// Bytes of a domain's name at most.
const DOMAIN_NAME_SIZE_MAX: usize = 64;

/// Clients that share data, and the keys that they may come with.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Lower-case letters, digits, `-`, `_` and `.`; 1 to 64 of them.
    pub name: String,
    /// The key that clients should have.
    pub current: Key,
    /// The one before, while some still have it.
    pub previous: Option<Key>,
}

/// Why there is no ring.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// A domain's name is no name.
    #[error("domain {0:?}: expected 1 to 64 lower-case letters, digits, '-', '_' or '.'")]
    Name(String),
    /// Two domains have one name.
    #[error("domain {0:?}: expected once, found twice")]
    NameTwice(String),
    /// One key stands in two places, so a client would be in two domains.
    #[error("key {id}: expected in one place, found in domain {first:?} and in domain {second:?}")]
    KeyTwice {
        /// The key.
        id: KeyId,
        /// Where it is.
        first: String,
        /// Where it is too.
        second: String,
    },
    /// There are no random numbers for the decoy.
    #[error(transparent)]
    Decoy(#[from] KeyError),
}

/// All domains of a daemon.
#[derive(Debug)]
pub struct KeyRing {
    domains: Vec<Domain>,
    /// What a client with an unknown id is checked against, so that it is refused by the same work as one with a wrong
    /// key. Nobody has it.
    decoy: Key,
}

impl KeyRing {
    /// A ring of these.
    ///
    /// # Errors
    /// A name is malformed or stands twice, or a key does.
    pub fn new(domains: Vec<Domain>) -> Result<Self, RingError> {
        let mut seen: Vec<(KeyId, &str)> = Vec::new();
        for (index, domain) in domains.iter().enumerate() {
            let name = domain.name.as_str();
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || name.len() > DOMAIN_NAME_SIZE_MAX || !name.chars().all(good) {
                return Err(RingError::Name(name.to_owned()));
            }
            if domains[..index].iter().any(|other| other.name == name) {
                return Err(RingError::NameTwice(name.to_owned()));
            }
            for id in domain.keys().map(Key::id) {
                if let Some((_, first)) = seen.iter().find(|(other, _)| *other == id) {
                    let (first, second) = ((*first).to_owned(), name.to_owned());
                    return Err(RingError::KeyTwice { id, first, second });
                }
                seen.push((id, name));
            }
        }
        Ok(Self { domains, decoy: Key::generate()? })
    }

    /// The domain and the key of an id.
    #[must_use]
    pub fn find(&self, id: KeyId) -> Option<(&Domain, &Key)> {
        let mut all = self.domains.iter().flat_map(|domain| domain.keys().map(move |key| (domain, key)));
        all.find(|(_, key)| key.id() == id)
    }

    /// The domains, as they were given.
    #[must_use]
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// The domain of an id, where there is one, and what to check its client against in any case.
    pub(crate) fn select(&self, id: KeyId) -> (Option<&Domain>, Zeroizing<[u8; 32]>) {
        match self.find(id) {
            Some((domain, key)) => (Some(domain), Zeroizing::new(*key.psk())),
            None => (None, Zeroizing::new(*self.decoy.psk())),
        }
    }
}

impl Domain {
    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::from_secret(&[byte; 32]).unwrap()
    }

    fn domain(name: &str, current: u8, previous: Option<u8>) -> Domain {
        Domain { name: name.to_owned(), current: key(current), previous: previous.map(key) }
    }

    #[test]
    fn both_keys_of_a_domain_lead_to_it() {
        let ring = KeyRing::new(vec![domain("a", 1, Some(2)), domain("b", 3, None)]).unwrap();
        for (byte, name) in [(1, "a"), (2, "a"), (3, "b")] {
            let (domain, found) = ring.find(key(byte).id()).unwrap();
            assert_eq!((domain.name.as_str(), found.id()), (name, key(byte).id()));
            assert_eq!(&*ring.select(found.id()).1, found.psk());
        }
        assert!(ring.find(key(4).id()).is_none());
        let (none, decoy) = ring.select(key(4).id());
        assert!(none.is_none());
        assert_ne!(&*decoy, key(4).psk());
    }

    #[test]
    fn a_key_has_one_place() {
        let error = KeyRing::new(vec![domain("a", 1, Some(2)), domain("b", 2, None)]).unwrap_err();
        assert!(matches!(error, RingError::KeyTwice { .. }), "{error}");
        let error = KeyRing::new(vec![domain("a", 1, Some(1))]).unwrap_err();
        assert!(matches!(error, RingError::KeyTwice { .. }), "{error}");
    }

    #[test]
    fn a_name_is_a_name_and_stands_once() {
        for name in ["", "A", "a b", "a/b", &"a".repeat(65)] {
            let error = KeyRing::new(vec![domain(name, 1, None)]).unwrap_err();
            assert!(matches!(error, RingError::Name(_)), "{error}");
        }
        let error = KeyRing::new(vec![domain("a", 1, None), domain("a", 2, None)]).unwrap_err();
        assert!(matches!(error, RingError::NameTwice(_)), "{error}");
    }
}
