// What is done with arbitrary bytes, by the tests here and by the fuzz targets in `fuzz/`: nothing may panic, and what
// is taken has one encoding.

use gdd_wire::handshake::{ANSWER_HEADER_SIZE, HELLO_HEADER_SIZE, Initiator, answer_len, hello_len, respond};
use gdd_wire::limits::MESSAGE_SIZE_MAX;
use gdd_wire::message::{FromClient, FromDaemon};
use gdd_wire::record::{Kind, Opener, Reader, Sealer};
use gdd_wire::{BootId, Domain, Identity, Introduction, Key, KeyRing, StoreId, WireError};

fn key() -> Key {
    Key::from_secret(&[1; 32]).expect("not zeros")
}

/// A daemon meets a client that says `bytes`: no session comes of it, since the bytes do not know the key.
pub fn daemon_hears(bytes: &[u8]) {
    let domain = Domain { name: "site".to_owned(), current: key(), previous: None };
    let ring = KeyRing::new(vec![domain]).expect("one good domain");
    let identity =
        Identity { store: StoreId([5; 16]), boot: BootId([6; 16]), epoch: 7, program: "gdd".to_owned() };
    assert!(respond(bytes, &ring, &identity).is_err(), "nobody guesses a tag");
    if let Some(header) = bytes.first_chunk::<HELLO_HEADER_SIZE>() {
        let _refused_or_bounded = hello_len(header).map(|len| assert!((48..=512).contains(&len)));
    }
    // As far as the cipher: the same bytes behind a header that fits them.
    let introduction = Introduction::default();
    let (_, mut hello) = Initiator::start(&key(), &introduction).expect("short names");
    hello.truncate(HELLO_HEADER_SIZE);
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    hello[22..].copy_from_slice(&len.to_le_bytes());
    hello.extend_from_slice(bytes);
    let error = respond(&hello, &ring, &identity).err();
    assert!(matches!(error, Some(WireError::Denied { .. } | WireError::Malformed(_))), "{error:?}");
}

/// A client meets a daemon that says `bytes`.
pub fn client_hears(bytes: &[u8]) {
    let start = || Initiator::start(&key(), &Introduction::default()).expect("short names").0;
    assert!(start().finish(bytes, None).is_err(), "nobody guesses a tag");
    if let Some(header) = bytes.first_chunk::<ANSWER_HEADER_SIZE>() {
        let _refused_or_bounded = answer_len(header).map(|len| assert!((4..=512).contains(&len)));
    }
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let answer = [b"gddWIREd\x01\x00".as_slice(), &len.to_le_bytes(), bytes].concat();
    let error = start().finish(&answer, None).err();
    assert!(matches!(error, Some(WireError::Unverified { .. } | WireError::Malformed(_))), "{error:?}");
}

/// A reader gets `bytes` after one good record: that is delivered, the rest is an error.
pub fn reader_hears(bytes: &[u8]) {
    let mut stream = Vec::new();
    Sealer::new(&[1; 32]).seal(Kind::Message, b"good", b"", &mut stream).expect("few records");
    stream.extend_from_slice(bytes);
    let mut reader = Reader::new(stream.as_slice(), Opener::new(&[1; 32]));
    assert_eq!(reader.receive().expect("our own record"), Some(b"good".as_slice()));
    let error = reader.receive().expect_err("nobody guesses a tag");
    let typed =
        matches!(error, WireError::Truncated { .. } | WireError::Tampered { .. } | WireError::Malformed(_));
    assert!(typed, "{error:?}");
    assert!(matches!(reader.receive(), Err(WireError::Over)), "it stays an error");
}

/// A holder of the key sends good records in an order that `bytes` say: no more is delivered than was sent, and no
/// message is longer than its bound.
pub fn reader_hears_good_records(bytes: &[u8]) {
    let mut sealer = Sealer::new(&[1; 32]);
    let mut stream = Vec::new();
    let part = vec![7; gdd_wire::limits::RECORD_PAYLOAD_MAX];
    for byte in bytes.iter().take(24) {
        let (kind, payload) = match byte % 8 {
            0 => (Kind::Confirm, &part[..0]),
            1 => (Kind::End, &part[..0]),
            2..5 => (Kind::Message, &part[..usize::from(*byte)]),
            _ => (Kind::Part, &part[..]),
        };
        sealer.seal(kind, payload, b"", &mut stream).expect("few records");
    }
    let mut reader = Reader::new(stream.as_slice(), Opener::new(&[1; 32]));
    let mut delivered = 0;
    while let Ok(Some(message)) = reader.receive() {
        assert!((1..=MESSAGE_SIZE_MAX).contains(&message.len()));
        delivered += message.len();
    }
    assert!(delivered <= stream.len());
}

/// What either decoder takes is encoded to the same bytes.
pub fn decoders_hear(bytes: &[u8]) {
    let mut head = Vec::new();
    if let Ok(message) = FromClient::decode(bytes) {
        let tail = message.encode(&mut head).expect("it was taken");
        assert_eq!([&head, tail].concat(), bytes, "one encoding");
    }
    if let Ok(message) = FromDaemon::decode(bytes) {
        let tail = message.encode(&mut head).expect("it was taken");
        assert_eq!([&head, tail].concat(), bytes, "one encoding");
    }
}
