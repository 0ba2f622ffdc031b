//! A volume's file that somebody has made up, with good checksums: it is refused, and nothing panics or runs away.

mod common;

use common::blocks::{Job, label};
use common::{Rig, append, read_all};
use gdd_sd::block::Kind;
use gdd_sd::skeleton::entry::{GROUP_MAGIC, kind};
use gdd_sd::skeleton::frame;
use gdd_sd::store::VolumeId;
use proptest::prelude::*;

fn entry() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let anything = (0_u8..10, prop::collection::vec(any::<u8>(), 0..60));
    let group = prop::collection::vec(any::<u8>(), 0..12)
        .prop_map(|rest| (kind::GROUP, [GROUP_MAGIC.as_slice(), &rest].concat()));
    let block = prop::collection::vec(any::<u8>(), 0..40).prop_map(|rest| {
        // Kind 2, with stream number 0, a block length, and records that may continue anything.
        (kind::BLOCK, [&[0b1010, 64], rest.as_slice()].concat())
    });
    let stream = prop::collection::vec(any::<u8>(), 17..26).prop_map(|rest| (kind::STREAM, rest));
    prop_oneof![anything, group, block, stream]
}

proptest! {
    #[test]
    fn any_entries_are_read_or_refused(entries in prop::collection::vec(entry(), 0..40), good_start: bool) {
        let rig = Rig::new();
        let mut bytes = frame::header(VolumeId([7; 16]), None).to_vec();
        let volume = VolumeId([7; 16]);
        let group = [GROUP_MAGIC.as_slice(), &[0, 0]].concat();
        if good_start {
            let at = bytes.len() as u64;
            frame::put(&mut bytes, volume, at, kind::GROUP, &group);
        }
        for (kind, body) in entries {
            let at = bytes.len() as u64;
            frame::put(&mut bytes, volume, at, kind, &body);
        }
        rig.put(&bytes);
        let mut device = rig.bare();
        if device.open(rig.file(true), true).is_ok() {
            let _ = read_all(&mut device, 100_000);
            let _ = append(&mut device, &Job::new(Kind::Bb02, 1, 4_096, 1).run(1, 100).blocks);
            let _ = device.close();
        }
    }

    #[test]
    fn any_bytes_behind_a_good_volume_are_a_torn_end(tail in prop::collection::vec(any::<u8>(), 1..300)) {
        let rig = Rig::new();
        let mut device = rig.device(true);
        let job = Job::new(Kind::Bb02, 1, 4_096, 1).run(2, 5_000);
        append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
        append(&mut device, &job.blocks).expect("written");
        device.close().expect("closed");
        rig.put(&[rig.bytes(), tail].concat());
        let mut device = rig.device(true);
        prop_assert!(device.take_notes().iter().any(|(_, note)| note.contains("GDD-SD-0201")));
        let expected = [label(Kind::Bb02, true), job.blocks.concat()].concat();
        prop_assert!(read_all(&mut device, 1 << 20).expect("readable") == expected);
        let next = Job::new(Kind::Bb02, 2, 4_096, 1).run(2, 5_000);
        append(&mut device, &next.blocks).expect("written");
        device.close().expect("closed");
        let expected = [expected, next.blocks.concat()].concat();
        prop_assert!(read_all(&mut rig.device(false), 1 << 20).expect("readable") == expected);
    }
}
