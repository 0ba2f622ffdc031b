//! What a plugin or a daemon is handed and must not accept.

mod common;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use common::{CAPACITY, TOKEN, me, offer};
use gdd_ring::limits::{PACKET_FDS_MAX, PACKET_SIZE_MAX};
use gdd_ring::{Endpoint, Gone, Listener, Offer, Peer, Refused, WaitError};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType};

const ALL_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// A memfd of `size` bytes with `seals`.
fn memfd(size: u64, seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("not ours", flags).expect("a memfd");
    rustix::fs::ftruncate(&file, size).expect("sized");
    rustix::fs::fcntl_add_seals(&file, seals).expect("sealed");
    file
}

fn bell() -> OwnedFd {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .expect("a pair")
        .0
}

fn refusal(fds: Vec<OwnedFd>) -> Refused {
    Endpoint::accept(&offer().to_bytes(), fds).expect_err("it must not be accepted")
}

const SIZE: u64 = 65536 + 2 * CAPACITY;

#[test]
fn memory_that_could_change_its_length_is_refused() {
    let file: OwnedFd = tempfile::tempfile().expect("a file").into();
    rustix::fs::ftruncate(&file, SIZE).expect("sized");
    assert!(matches!(refusal(vec![file, bell()]), Refused::Seals { .. }), "a file on disk");
    let null = File::options().read(true).write(true).open("/dev/zero").expect("/dev/zero");
    assert!(matches!(refusal(vec![null.into(), bell()]), Refused::Seals { .. }), "a device");
    let (pipe, _end) = rustix::pipe::pipe().expect("a pipe");
    assert!(matches!(refusal(vec![pipe, bell()]), Refused::Seals { .. }), "a pipe");
    for missing in [SealFlags::SHRINK, SealFlags::GROW, SealFlags::SEAL, ALL_SEALS] {
        let memory = memfd(SIZE, ALL_SEALS.difference(missing));
        assert!(matches!(refusal(vec![memory, bell()]), Refused::Seals { .. }), "without {missing:?}");
    }
}

#[test]
fn memory_of_another_size_is_refused() {
    for size in [0, 1, SIZE - 1, SIZE + 1, SIZE * 2] {
        let refused = refusal(vec![memfd(size, ALL_SEALS), bell()]);
        assert!(
            matches!(refused, Refused::Size { found, expected: SIZE } if found == size),
            "{size}: {refused}"
        );
    }
}

#[test]
fn memory_that_nobody_formatted_or_another_format_is_refused() {
    let refused = refusal(vec![memfd(SIZE, ALL_SEALS), bell()]);
    assert!(matches!(refused, Refused::Header { what: "magic of a ring", found: 0, .. }), "{refused}");
    for (word, offset) in [0, 8, 16, 24, 4096, 4104, 4112, 4120].into_iter().enumerate() {
        let (_daemon, handover) = Endpoint::create(offer()).expect("a channel");
        let fds: Vec<OwnedFd> =
            handover.fds().iter().map(|fd| fd.try_clone_to_owned().expect("a descriptor")).collect();
        let memory = File::from(fds[0].try_clone().expect("a descriptor"));
        memory.write_all_at(&[0xee], offset).expect("anyone with the memory may write");
        let refused = Endpoint::accept(&handover.bytes(), fds).expect_err("a header that lies");
        assert!(matches!(refused, Refused::Header { .. }), "word {word}: {refused}");
    }
}

#[test]
fn memory_that_was_sealed_against_writing_is_refused() {
    let memory = memfd(SIZE, ALL_SEALS | SealFlags::WRITE);
    assert!(matches!(refusal(vec![memory, bell()]), Refused::Io { call: "map shared memory", .. }));
}

#[test]
fn an_offer_with_too_few_or_too_many_descriptors_is_refused() {
    for count in [0, 1, 3] {
        let refused = refusal((0..count).map(|_| bell()).collect());
        assert!(matches!(refused, Refused::Descriptor { what: "count", .. }), "{count}: {refused}");
    }
}

#[test]
fn an_offer_of_another_size_than_its_memory_is_refused() {
    let (_daemon, handover) = Endpoint::create(offer()).expect("a channel");
    let fds = handover.fds().iter().map(|fd| fd.try_clone_to_owned().expect("a descriptor")).collect();
    let larger = Offer { capacity_up: CAPACITY * 2, ..offer() };
    let refused = Endpoint::accept(&larger.to_bytes(), fds).expect_err("an offer that lies");
    assert!(matches!(refused, Refused::Size { .. }), "{refused}");
}

#[test]
fn a_daemon_with_a_wrong_option_makes_no_channel() {
    let odd = Offer { capacity_down: CAPACITY + 8, ..Offer::new(1, TOKEN) };
    assert!(matches!(Endpoint::create(odd), Err(Refused::Capacity { .. })));
}

/// A connected pair of control sockets; the second is bare, to misbehave with.
fn sockets() -> (Peer, OwnedFd) {
    let (one, other) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .expect("a pair");
    (Peer::new(one, &me()).expect("ourselves"), other)
}

#[test]
fn a_peer_of_another_user_is_refused_at_both_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listener = Listener::bind(&path).expect("a socket");
    let stranger = [me()[0] ^ 1];
    let refused = Peer::connect(&path, &stranger).expect_err("the daemon runs as us");
    assert!(matches!(refused, Refused::User { found, .. } if found == me()[0]), "{refused}");
    let refused = listener.accept(&stranger).expect_err("we connected");
    assert!(matches!(refused, Refused::User { .. }), "{refused}");
    let _client = Peer::connect(&path, &me()).expect("us");
    listener.accept(&me()).expect("the next one is served");
    let _client = Peer::connect(&path, &me()).expect("us");
    let anyone = listener.accept_anyone().expect("whoever it is");
    assert_eq!(anyone.uid(), me()[0], "and the kernel says who");
}

#[test]
fn packets_that_are_empty_too_large_or_carry_too_many_descriptors_are_refused() {
    let (peer, other) = sockets();
    let send = |bytes: &[u8]| rustix::net::send(&other, bytes, SendFlags::DONTWAIT).expect("room");
    send(&[1; PACKET_SIZE_MAX]);
    let packet = peer.receive(common::PATIENCE).expect("legal").expect("sent");
    assert_eq!(packet.bytes, [1; PACKET_SIZE_MAX]);
    send(&[1; PACKET_SIZE_MAX + 1]);
    assert!(matches!(peer.receive(common::PATIENCE), Err(WaitError::Refused(Refused::Header { .. }))));

    for count in 1..=PACKET_FDS_MAX * 3 {
        let fds = vec![other.as_fd(); count];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_FDS_MAX * 3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(rustix::net::SendAncillaryMessage::ScmRights(&fds)));
        let bytes = [std::io::IoSlice::new(b"with descriptors")];
        rustix::net::sendmsg(&other, &bytes, &mut ancillary, SendFlags::DONTWAIT).expect("room");
        match peer.receive(common::PATIENCE) {
            Ok(packet) => assert_eq!(packet.map(|packet| packet.fds.len()), Some(count)),
            Err(WaitError::Refused(Refused::Descriptor { what: "count", .. })) => {
                assert!(count > PACKET_FDS_MAX, "{count} are few enough");
                continue;
            }
            Err(error) => unreachable!("{count}: {error}"),
        }
        assert!(count <= PACKET_FDS_MAX, "{count} are too many");
    }
    let many = [other.as_fd(); PACKET_FDS_MAX + 1];

    assert!(peer.send(&[], &[]).is_err(), "our own empty packet");
    assert!(peer.send(&[1; PACKET_SIZE_MAX + 1], &[]).is_err(), "our own large packet");
    assert!(peer.send(&[1], &many).is_err(), "our own many descriptors");
    send(&[]);
    let gone = peer.receive(common::PATIENCE).expect_err("as good as gone");
    assert!(matches!(gone, WaitError::Gone(Gone::HungUp { .. })), "{gone}");
}

#[test]
fn a_peer_that_does_not_read_its_packets_is_refused_and_does_not_hold_us() {
    let (peer, _other) = sockets();
    let full = (0..100_000).find_map(|_| peer.send(&[1; 1000], &[]).err()).expect("no queue is endless");
    assert!(matches!(full, WaitError::Refused(Refused::Io { .. })), "{full}");
}
