//! The examples of the documents that define the algorithms.

use gdd_wire::suite::{hkdf_sha256, resolver};
use snow::params::{CipherChoice, HashChoice};

use super::{array, curve, hex, open, seal, x25519};

/// RFC 8439, appendix A.5: the encrypted bytes, without the tag.
const A5_SEALED: &str = "
    64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0bd
    b7b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c85597
    97a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e990
    40c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a0b
    b2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d361094fa68f0ff7798713030
    5beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b";
const A5_KEY: &str = "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0";
const A5_AAD: &str = "f33388860000000000004e91";
const A5_TAG: &str = "eead9d67890cbb22392336fea1851f38";
const A5_TEXT: &str = "Internet-Drafts are draft documents valid for a maximum of six months and may be \
    updated, replaced, or obsoleted by other documents at any time. It is inappropriate to use \
    Internet-Drafts as reference material or to cite them other than as /\u{201c}work in progress./\u{201d}";

#[test]
fn hkdf_of_rfc_5869() {
    let range = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
    let cases = [
        (
            vec![0x0b; 22],
            range(0, 0x0c),
            range(0xf0, 0xf9),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            range(0, 0x4f),
            range(0x60, 0xaf),
            range(0xb0, 0xff),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09
             da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            vec![0x0b; 22],
            vec![],
            vec![],
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];
    for (number, (secret, salt, info, expected)) in cases.iter().enumerate() {
        let expected = hex(expected);
        let mut out = vec![0; expected.len()];
        hkdf_sha256(salt, secret, info, &mut out);
        assert_eq!(out, expected, "A.{}", number + 1);
    }
}

#[test]
fn cipher_of_rfc_8439() {
    let text =
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                 sunscreen would be it.";
    let key: Vec<u8> = (0x80..=0x9f).collect();
    let (nonce, aad) = (hex("070000004041424344454647"), hex("50515253c0c1c2c3c4c5c6c7"));
    let sealed = hex("
        d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b
        1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
        3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691");
    assert_eq!(seal(&key, &nonce, &aad, text), Some(sealed.clone()), "2.8.2");
    assert_eq!(open(&key, &nonce, &aad, &sealed), Some(text.to_vec()), "2.8.2");

    let (key, nonce, aad) = (hex(A5_KEY), hex("000000000102030405060708"), hex(A5_AAD));
    let sealed = [hex(A5_SEALED), hex(A5_TAG)].concat();
    assert_eq!(open(&key, &nonce, &aad, &sealed), Some(A5_TEXT.as_bytes().to_vec()), "A.5");
    assert_eq!(seal(&key, &nonce, &aad, A5_TEXT.as_bytes()), Some(sealed), "A.5");
}

/// A.5 has a nonce as Noise makes them, so that it can be tried on the handshake's cipher, too.
#[test]
fn the_handshakes_cipher_of_rfc_8439() {
    let mut cipher = resolver().resolve_cipher(&CipherChoice::ChaChaPoly).expect("the suite has it");
    cipher.set(&array(&hex(A5_KEY)));
    let (nonce, aad, sealed) = (0x0807_0605_0403_0201, hex(A5_AAD), [hex(A5_SEALED), hex(A5_TAG)].concat());
    let mut out = vec![0; sealed.len()];
    assert_eq!(cipher.encrypt(nonce, &aad, A5_TEXT.as_bytes(), &mut out), sealed.len());
    assert_eq!(out, sealed);
    let mut out = vec![0; sealed.len()];
    let len = cipher.decrypt(nonce, &aad, &sealed, &mut out).unwrap();
    assert_eq!(&out[..len], A5_TEXT.as_bytes());
    assert!(cipher.decrypt(nonce + 1, &aad, &sealed, &mut out).is_err());
}

/// FIPS 180-4, by way of the examples that NIST publishes: one block, and two.
#[test]
fn the_handshakes_hash_of_fips_180() {
    let mut hash = resolver().resolve_hash(&HashChoice::SHA256).expect("the suite has it");
    let cases: [(&[u8], &str); 3] = [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ];
    for (text, expected) in cases {
        let mut out = [0; 32];
        hash.reset();
        hash.input(text);
        hash.result(&mut out);
        assert_eq!(out.as_slice(), hex(expected));
    }
}

#[test]
fn curve_of_rfc_7748() {
    let cases = [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ];
    for (private, public, shared) in cases {
        assert_eq!(x25519(&hex(private), &hex(public)).map(|shared| shared.to_vec()), Some(hex(shared)));
    }
}

/// Section 5.2: each result is the next scalar, each scalar the next point.
#[test]
fn curve_of_rfc_7748_iterated() {
    let (mut scalar, mut point) = ([0; 32], [0; 32]);
    (scalar[0], point[0]) = (9, 9);
    for round in 1..=1000 {
        (scalar, point) = (x25519(&scalar, &point).expect("no point of low order"), scalar);
        if round == 1 {
            let expected = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079";
            assert_eq!(scalar.as_slice(), hex(expected), "once");
        }
    }
    let expected = "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51";
    assert_eq!(scalar.as_slice(), hex(expected), "1000 times");
}

#[test]
fn exchange_of_rfc_7748() {
    let alice = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let alice_public = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    let bob = hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let bob_public = hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    for (private, public, other) in [(&alice, &alice_public, &bob_public), (&bob, &bob_public, &alice_public)]
    {
        let mut dh = curve();
        dh.set(private);
        assert_eq!(dh.pubkey(), public.as_slice());
        assert_eq!(x25519(private, other).map(|shared| shared.to_vec()).as_ref(), Some(&shared));
    }
}
