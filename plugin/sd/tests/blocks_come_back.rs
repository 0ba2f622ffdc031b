//! Whatever bacula-sd writes is read back bit by bit, from any position, and file content reaches the store as one
//! stream that does not depend on where blocks ended.

mod common;

use common::blocks::{Job, Random, interleave, label};
use common::{Rig, append, read_all, starts};
use gdd_sd::block::Kind;
use gdd_sd::bytes::put_be32;
use gdd_sd::volume::Whence;
use proptest::prelude::*;

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Bb01, Kind::Bb02, Kind::Bb03])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_jobs_come_back(
        kind in kinds(),
        block_size in prop::sample::select(vec![64, 200, 4_096, 64_512, 65_536, 1 << 20, 4 << 20]),
        job_count in 1_u32..6,
        file_count in 0_usize..24,
        size_limit in prop::sample::select(vec![1, 50, 3_000, 200_000]),
        buffer_size in prop::sample::select(vec![100, 64_512, 5 << 20]),
        seed: u64,
    ) {
        // Session labels are longer than the smallest blocks, which Bacula does not have; blocks of 64 bytes cut them.
        let files = if block_size < 4_096 { file_count.min(6) } else { file_count };
        let limit = if block_size < 4_096 { size_limit.min(3_000) } else { size_limit };
        let jobs: Vec<_> = (1..=job_count)
            .map(|id| Job::new(kind, id, block_size, seed.wrapping_add(u64::from(id))).run(files, limit))
            .collect();
        let mut blocks = vec![label(kind, true)];
        blocks.extend(interleave(&jobs.iter().collect::<Vec<_>>(), seed));
        let rig = Rig::new();
        let mut device = rig.device(true);
        append(&mut device, &blocks).expect("all is well");
        let all = blocks.concat();
        prop_assert_eq!(device.volume().map(|volume| volume.size()), Some(all.len() as u64));
        device.close().expect("all is well");

        let mut device = rig.device(false);
        prop_assert!(read_all(&mut device, buffer_size).expect("readable") == all);
        let mut random = Random(seed);
        let mut buffer = vec![0; 5 << 20];
        for _ in 0..24 {
            let position = usize::try_from(random.below(all.len() as u64)).expect("small");
            device.seek(i64::try_from(position).expect("small"), Whence::Start).expect("a position");
            let count = device.read(&mut buffer).expect("readable");
            prop_assert!(count > 0 && buffer[..count] == all[position..position + count]);
            let ends = starts(&blocks).contains(&((position + count) as u64)) || position + count == all.len();
            prop_assert!(ends, "a read ends at a block's end");
        }
        if block_size >= 4_096 {
            let mut expected: Vec<_> = jobs.iter().map(|job| job.payload.clone()).collect();
            let mut found = rig.world.payloads();
            expected.sort_unstable();
            found.sort_unstable();
            prop_assert!(expected == found, "streams are the files' content, without anything else");
        }
    }

    #[test]
    fn garbage_comes_back_too(lens in prop::collection::vec(1_usize..5_000, 1..40), magic: bool, seed: u64) {
        let mut random = Random(seed);
        let mut blocks = vec![label(Kind::Bb02, true)];
        for len in lens {
            let mut block = random.bytes(len);
            if magic && len > 40 {
                block[12..16].copy_from_slice(if seed & 1 == 0 { b"BB02" } else { b"BB03" });
                let mut length = Vec::new();
                put_be32(&mut length, u32::try_from(len).expect("small"));
                block[4..8].copy_from_slice(&length);
            }
            blocks.push(block);
        }
        let rig = Rig::new();
        let mut device = rig.device(true);
        append(&mut device, &blocks).expect("stored verbatim");
        prop_assert!(read_all(&mut device, 1 << 20).expect("readable") == blocks.concat());
        device.close().expect("all is well");
        prop_assert!(device.take_notes().iter().any(|(_, note)| note.contains("GDD-SD-0204")));
        prop_assert!(read_all(&mut rig.device(false), 1 << 20).expect("readable") == blocks.concat());
    }
}

#[test]
fn the_same_files_give_the_same_stream_in_blocks_of_any_kind_and_size() {
    let mut streams = Vec::new();
    for (kind, block_size) in
        [(Kind::Bb02, 64_512), (Kind::Bb03, 64_512), (Kind::Bb02, 1 << 20), (Kind::Bb01, 4_096)]
    {
        let job = Job::new(kind, 1, block_size, 99);
        // The generator also draws checksums, so files are made from a seed of their own.
        let mut files = Random(7);
        let rig = Rig::new();
        let mut job = job;
        job.sos();
        for index in 1..20 {
            let content = files.bytes(50_000);
            job.record(index, 1, b"attributes");
            for part in content.chunks(30_000) {
                let record = [&[0; 8], part].concat();
                job.record(index, 6, &record);
            }
            job.record(index, 3, b"0123456789abcdef");
        }
        job.eos();
        let mut device = rig.device(true);
        append(&mut device, &[label(kind, true)]).expect("labelled");
        append(&mut device, &job.blocks).expect("written");
        device.close().expect("closed");
        let state = rig.world.state();
        let stream = state.streams.values().next().expect("one stream").clone();
        assert_eq!(stream.starts, (0..19).map(|file| file * 50_000).collect::<Vec<_>>());
        assert_eq!(stream.job, "job.1");
        streams.push(stream.bytes);
    }
    assert!(streams.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_volume_is_a_small_part_of_what_it_stands_for() {
    let rig = Rig::new();
    let mut job = Job::new(Kind::Bb02, 1, 64_512, 5);
    job.sos();
    job.record(1, 1, &[b'a'; 120]);
    let content = Random(3).bytes(65_536);
    for _ in 0..400 {
        job.record(1, 2, &content);
    }
    job.eos();
    let mut device = rig.device(true);
    append(&mut device, &[label(Kind::Bb02, true)]).expect("labelled");
    append(&mut device, &job.blocks).expect("written");
    device.close().expect("closed");
    let (small, large) = (rig.bytes().len(), job.blocks.concat().len());
    assert!(small * 1000 < large, "{small} of {large} bytes: more than 0.1 %");
}
