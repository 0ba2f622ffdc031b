//! Handshakes over loopback: who gets a session, and what everybody else is told.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use gdd_wire::handshake::{Initiator, refusal};
use gdd_wire::{
    Accepted, BootId, Connected, Domain, Identity, Introduction, Key, KeyRing, StoreId, WireError, accept,
    connect,
};

const TIME_MAX: Duration = Duration::from_secs(20);

fn key(byte: u8) -> Key {
    Key::from_secret(&[byte; 32]).expect("it works here")
}

fn ring() -> KeyRing {
    let domain = |name: &str, current, previous: Option<u8>| Domain {
        name: name.to_owned(),
        current: key(current),
        previous: previous.map(key),
    };
    KeyRing::new(vec![domain("site", 1, Some(2)), domain("other", 3, None)]).expect("it works here")
}

fn identity() -> Identity {
    Identity { store: StoreId([5; 16]), boot: BootId([6; 16]), epoch: 77, program: "gdd 0.1.0".to_owned() }
}

fn introduction() -> Introduction {
    Introduction { client: "zoe-fd".to_owned(), job: "zoe.2026-11-23".to_owned(), program: "test".to_owned() }
}

type Both = (Result<Connected<TcpStream>, WireError>, Result<Accepted<TcpStream>, WireError>);

fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("it works here");
    let client = TcpStream::connect(listener.local_addr().expect("it works here")).expect("it works here");
    (client, listener.accept().expect("it works here").0)
}

fn shake(key: &Key, expected: Option<StoreId>) -> Both {
    let (client, daemon) = sockets();
    let daemon = thread::spawn(move || accept(daemon, &ring(), &identity(), TIME_MAX));
    let client = connect(client, key, &introduction(), expected, TIME_MAX);
    // A client that got no channel has closed; one that got one must stay until the daemon has read its confirm.
    let daemon = daemon.join().expect("it works here");
    (client, daemon)
}

#[test]
fn both_ends_agree_and_talk_both_ways() {
    let (client, daemon) = shake(&key(1), Some(StoreId([5; 16])));
    let (mut client, mut daemon) = (client.unwrap(), daemon.unwrap());
    assert_eq!(client.session, daemon.session);
    assert_eq!((client.session.version, &client.session.daemon), (1, &identity()));
    assert_eq!((daemon.introduction, daemon.domain.as_str()), (introduction(), "site"));
    client.channel.writer.send(b"up", b"wards").unwrap();
    client.channel.writer.end().unwrap();
    daemon.channel.writer.send(b"", b"down").unwrap();
    daemon.channel.writer.end().unwrap();
    assert_eq!(daemon.channel.reader.receive().unwrap(), Some(b"upwards".as_slice()));
    assert_eq!(daemon.channel.reader.receive().unwrap(), None);
    assert_eq!(client.channel.reader.receive().unwrap(), Some(b"down".as_slice()));
    assert_eq!(client.channel.reader.receive().unwrap(), None);
    assert!(matches!(client.channel.writer.send(b"more", b""), Err(WireError::Over)));
    // Confirm 21, message 7 and 21, end 21.
    assert_eq!((client.channel.writer.bytes(), daemon.channel.reader.bytes()), (70, 70));
}

#[test]
fn sessions_differ() {
    let (first, second) = (shake(&key(1), None).1.unwrap(), shake(&key(1), None).1.unwrap());
    assert_ne!(first.session.id, second.session.id);
    assert_ne!(first.session.transcript, second.session.transcript);
}

#[test]
fn both_keys_of_a_domain_are_taken_while_one_is_exchanged() {
    for (byte, domain) in [(1, "site"), (2, "site"), (3, "other")] {
        let (client, daemon) = shake(&key(byte), None);
        client.unwrap();
        let daemon = daemon.unwrap();
        assert_eq!((daemon.domain.as_str(), daemon.key), (domain, key(byte).id()));
    }
}

#[test]
fn an_unknown_key_is_refused_without_a_word() {
    let (client, daemon) = shake(&key(9), None);
    assert!(matches!(client.err(), Some(WireError::Refused)));
    assert!(matches!(daemon.err(), Some(WireError::Denied { key: id }) if id == key(9).id()));
}

#[test]
fn a_wrong_key_under_a_known_id_is_refused_in_the_same_way() {
    let (_, mut hello) = Initiator::start(&key(9), &introduction()).unwrap();
    hello[14..22].copy_from_slice(&key(1).id().0);
    let (mut client, daemon) = sockets();
    client.write_all(&hello).unwrap();
    let error = accept(daemon, &ring(), &identity(), TIME_MAX).err();
    assert!(matches!(error, Some(WireError::Denied { key: id }) if id == key(1).id()));
    assert_eq!(client.read(&mut [0; 64]).unwrap(), 0, "closed, and not a byte was said");
}

#[test]
fn a_client_that_pins_a_store_takes_no_other() {
    let (client, daemon) = shake(&key(1), Some(StoreId([4; 16])));
    let expected = (StoreId([4; 16]), StoreId([5; 16]));
    assert!(matches!(client.err(), Some(WireError::Store { expected: e, found }) if (e, found) == expected));
    let error = daemon.err();
    assert!(matches!(error, Some(WireError::Truncated { .. } | WireError::Io { .. })), "{error:?}");
}

#[test]
fn other_versions_are_told_ours() {
    let (_, mut hello) = Initiator::start(&key(1), &introduction()).unwrap();
    hello[8..12].copy_from_slice(&[2, 0, 9, 0]);
    let (mut client, daemon) = sockets();
    client.write_all(&hello).unwrap();
    let error = accept(daemon, &ring(), &identity(), TIME_MAX).err();
    assert!(matches!(error, Some(WireError::Version { ours: (1, 1), theirs: (2, 9) })), "{error:?}");
    let mut told = [0; 16];
    client.read_exact(&mut told).unwrap();
    assert_eq!(told.as_slice(), refusal());
    let (initiator, _) = Initiator::start(&key(1), &introduction()).unwrap();
    let error = initiator.finish(&told, None).unwrap_err();
    assert!(matches!(error, WireError::Version { .. }), "{error}");
}

#[test]
fn a_repeated_hello_gets_an_answer_and_no_session() {
    let (_, hello) = Initiator::start(&key(1), &introduction()).unwrap();
    for _ in 0..2 {
        let (mut client, daemon) = sockets();
        client.write_all(&hello).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let error = accept(daemon, &ring(), &identity(), TIME_MAX).err();
        assert!(matches!(error, Some(WireError::Truncated { found: 0, .. })), "{error:?}");
    }
}

#[test]
fn silence_ends_at_the_deadline_on_either_side() {
    let short = Duration::from_millis(50);
    let (_client, daemon) = sockets();
    let error = accept(daemon, &ring(), &identity(), short).err();
    assert!(matches!(error, Some(WireError::Timeout { limit: Some(_), .. })), "{error:?}");
    let (client, _daemon) = sockets();
    let error = connect(client, &key(1), &introduction(), None, short).err();
    assert!(matches!(error, Some(WireError::Timeout { limit: Some(_), .. })), "{error:?}");
    // The hello came and the confirm does not.
    let (_, hello) = Initiator::start(&key(1), &introduction()).unwrap();
    let (mut client, daemon) = sockets();
    client.write_all(&hello).unwrap();
    let error = accept(daemon, &ring(), &identity(), short).err();
    assert!(matches!(error, Some(WireError::Timeout { .. })), "{error:?}");
}

#[test]
fn a_peer_that_drips_is_cut_off() {
    let (_, hello) = Initiator::start(&key(1), &introduction()).unwrap();
    let (mut client, daemon) = sockets();
    let dripping = thread::spawn(move || {
        for byte in hello {
            if client.write_all(&[byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    let error = accept(daemon, &ring(), &identity(), Duration::from_millis(100)).err();
    assert!(matches!(error, Some(WireError::Timeout { limit: Some(_), .. })), "{error:?}");
    dripping.join().unwrap();
}

#[test]
fn a_name_that_is_too_long_is_not_sent() {
    let long = Introduction { job: "j".repeat(129), ..introduction() };
    assert!(matches!(Initiator::start(&key(1), &long).err(), Some(WireError::Malformed(_))));
    let longest = Introduction { client: "c".repeat(128), job: "j".repeat(128), program: "p".repeat(128) };
    Initiator::start(&key(1), &longest).unwrap();
}
