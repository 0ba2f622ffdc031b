//! A whole handshake of the suite, from the vectors of cacophony (a Noise implementation in Haskell; public domain).

use gdd_wire::suite::{NOISE, resolver};
use snow::{Builder, HandshakeState};

use super::hex;

const PROLOGUE: &str = "4a6f686e2047616c74";
const PSK: &str = "54686973206973206d7920417573747269616e20706572737065637469766521";
const CLIENT_EPHEMERAL: &str = "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a";
const DAEMON_EPHEMERAL: &str = "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b";
const TRANSCRIPT: &str = "f4d03dc34495c95729ea6de9e1b59004b59733102488b3e24bc441e0be208eaf";
/// Payload and what it becomes; the sides take turns, and after the first two the handshake is done.
const MESSAGES: [(&str, &str); 6] = [
    (
        "4c756477696720766f6e204d69736573",
        "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944
         79b962b8aff8485742ac32f905ba45369e2465fb59e138a93d67a0d1266b6a54",
    ),
    (
        "4d757272617920526f746862617264",
        "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843
         d6062704d5a9c422a8e834423f8c1feada7e8d0d910a1a2cd030fb584221e3",
    ),
    ("462e20412e20486179656b", "e632c3763d7669067383433197a3baddf146e9e70ad4b4e9e59e0f"),
    ("4361726c204d656e676572", "64c6bee32ea91c8474bb4c21d7a700109ad45af77b29764ba5eb1e"),
    (
        "4a65616e2d426170746973746520536179",
        "e2fa0bed0603b62d3ccac2ecabbf3fe33f3e86514909b323361626266cb2471cc8",
    ),
    (
        "457567656e2042f6686d20766f6e2042617765726b",
        "0c01dc9cec1fe4ddd692e8dd32188aa351088dc91183639a53b57aa4692b5ebdef8b8ca111",
    ),
];

fn state(ephemeral: &str, initiator: bool) -> HandshakeState {
    let (prologue, psk, ephemeral) = (hex(PROLOGUE), hex(PSK), hex(ephemeral));
    let psk: [u8; 32] = psk.try_into().expect("a key has 32 bytes");
    let builder = Builder::with_resolver(NOISE.parse().expect("snow knows the suite"), resolver());
    let builder = builder.psk(0, &psk).expect("the first").prologue(&prologue).expect("the first");
    let builder = builder.fixed_ephemeral_key_for_testing_only(&ephemeral);
    let state = if initiator { builder.build_initiator() } else { builder.build_responder() };
    state.expect("the suite is complete")
}

#[test]
fn a_handshake_and_what_follows() {
    let (mut client, mut daemon) = (state(CLIENT_EPHEMERAL, true), state(DAEMON_EPHEMERAL, false));
    let (mut sealed, mut opened) = ([0; 256], [0; 256]);
    for (number, (payload, expected)) in MESSAGES[..2].iter().enumerate() {
        let (from, to) = if number == 0 { (&mut client, &mut daemon) } else { (&mut daemon, &mut client) };
        let len = from.write_message(&hex(payload), &mut sealed).unwrap();
        assert_eq!(&sealed[..len], hex(expected), "message {number}");
        let len = to.read_message(&sealed[..len], &mut opened).unwrap();
        assert_eq!(&opened[..len], hex(payload), "message {number}");
    }
    assert_eq!(client.get_handshake_hash(), hex(TRANSCRIPT));
    assert_eq!(daemon.get_handshake_hash(), hex(TRANSCRIPT));
    let (mut client, mut daemon) =
        (client.into_transport_mode().unwrap(), daemon.into_transport_mode().unwrap());
    for (number, (payload, expected)) in MESSAGES.iter().enumerate().skip(2) {
        let (from, to) =
            if number % 2 == 0 { (&mut client, &mut daemon) } else { (&mut daemon, &mut client) };
        let len = from.write_message(&hex(payload), &mut sealed).unwrap();
        assert_eq!(&sealed[..len], hex(expected), "message {number}");
        let len = to.read_message(&sealed[..len], &mut opened).unwrap();
        assert_eq!(&opened[..len], hex(payload), "message {number}");
    }
}

/// The keys of the records come from the raw split: record 0 of each direction, sealed with it, is the vector's.
#[test]
fn the_raw_split_seals_what_the_vector_has() {
    let (mut client, mut daemon) = (state(CLIENT_EPHEMERAL, true), state(DAEMON_EPHEMERAL, false));
    let mut payload = [0; 256];
    client.write_message(&hex(MESSAGES[0].0), &mut payload).unwrap();
    daemon.read_message(&hex(MESSAGES[0].1), &mut payload).unwrap();
    daemon.write_message(&hex(MESSAGES[1].0), &mut payload).unwrap();
    client.read_message(&hex(MESSAGES[1].1), &mut payload).unwrap();
    let (up, down) = client.dangerously_get_raw_split();
    assert_eq!(daemon.dangerously_get_raw_split(), (up, down));
    for (key, (payload, expected)) in [(up, MESSAGES[2]), (down, MESSAGES[3])] {
        assert_eq!(super::seal(&key, &[0; 12], &[], &hex(payload)), Some(hex(expected)));
    }
}
