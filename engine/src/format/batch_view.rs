//! Reading a whole batch: its records in order, each checked, and the chain over them.
//!
//! Used where a container is scanned (recovery, rebuild, fsck). Payloads are checked by whoever needs them.

use super::batch::{BatchHeader, Chain};
use super::record::RecordHeader;
use super::{Bytes, Hex, Place};
use crate::error::Result;
use crate::ids::ContainerId;

/// A batch whose header, record headers, padding and chain hold.
#[derive(Debug)]
pub struct BatchView<'a> {
    /// Its header.
    pub header: BatchHeader,
    bytes: &'a [u8],
    place: Place<'a>,
}

/// One record of a batch.
#[derive(Debug)]
pub struct RecordView<'a> {
    /// Its header, checked.
    pub header: RecordHeader,
    /// Its payload, not yet checked.
    pub payload: &'a [u8],
    /// Where the record lies.
    pub place: Place<'a>,
}

impl RecordView<'_> {
    /// Check the payload's CRC-32.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn check(&self) -> Result<()> {
        self.header.check_payload(self.payload, self.place)
    }
}

impl<'a> BatchView<'a> {
    /// Check the batch of `container` that starts at `place` and at the start of `bytes`; more may follow it.
    ///
    /// The header's own `chain_prev` is taken as given: compare it with the chain so far.
    ///
    /// # Errors
    /// `Corrupt` when the header, a record header, the padding or the chain does not hold; `Version`.
    pub fn open(bytes: &'a [u8], container: ContainerId, place: Place<'a>) -> Result<Self> {
        let header = BatchHeader::decode(bytes, container, place)?;
        let length = header.length as usize;
        place.require(length <= bytes.len(), "batch", Bytes(length), Bytes(bytes.len()))?;
        let view = Self { header, bytes: &bytes[..length], place };
        view.check_records()?;
        Ok(view)
    }

    /// Refuse a batch that does not continue what came before it.
    ///
    /// # Errors
    /// `Corrupt` when `batch_seq` or `chain` are not what precedes this batch.
    pub fn expect_after(&self, batch_seq: u32, chain: &[u8; 32]) -> Result<()> {
        self.place.expect("number of the batch", batch_seq, self.header.batch_seq)?;
        self.place.expect("chain before the batch", Hex(chain), Hex(&self.header.chain_prev))
    }

    /// The records in order.
    pub fn records(&self) -> impl Iterator<Item = RecordView<'a>> {
        let (bytes, place, container) = (self.bytes, self.place, self.header.container);
        let mut at = BatchHeader::SIZE;
        (0..self.header.record_count).map(move |_| {
            let record = record_at(bytes, at, container, place).expect("the records were checked by open");
            at += record.header.record_len();
            record
        })
    }

    fn check_records(&self) -> Result<()> {
        let (header, place) = (&self.header, self.place);
        let mut chain = Chain::start(&header.chain_prev, header.container, header.batch_seq);
        let mut at = BatchHeader::SIZE;
        let mut seq_next = None;
        for _ in 0..header.record_count {
            let record = record_at(&self.bytes[..header.used as usize], at, header.container, place)?;
            let seq = record.header.seq;
            record.place.expect("number of the record", seq_next.unwrap_or(seq), seq)?;
            seq_next = seq.checked_add(1);
            chain.add(self.bytes[at..].first_chunk().expect("the header was decoded from here"));
            at += record.header.record_len();
        }
        place.expect("used part of the batch", Bytes(header.used as usize), Bytes(at))?;
        let padding = &self.bytes[at..];
        place.plus(at).require(
            padding.iter().all(|&byte| byte == 0),
            "padding of the batch",
            "zeros",
            "others",
        )?;
        place.expect("chain of the batch", Hex(&chain.finish()), Hex(&header.chain))
    }
}

fn record_at<'a>(
    bytes: &'a [u8],
    at: usize,
    container: ContainerId,
    batch: Place<'a>,
) -> Result<RecordView<'a>> {
    let place = batch.plus(at);
    let header = RecordHeader::decode(&bytes[at.min(bytes.len())..], container, place)?;
    let (start, end) = (at + RecordHeader::SIZE, at + header.record_len());
    place.require(end <= bytes.len(), "end of the record", format_args!("up to {}", bytes.len()), end)?;
    Ok(RecordView { header, payload: &bytes[start..end], place })
}

#[cfg(test)]
mod tests {
    use super::super::codec::Codec;
    use super::super::testing::{place, refuses_changed_bytes};
    use super::*;
    use crate::ids::ChunkHash;
    use proptest::prelude::*;

    const CONTAINER_ID: ContainerId = ContainerId(5);

    fn encode(payloads: &[Vec<u8>], previous: [u8; 32], seq_first: u64) -> Vec<u8> {
        let mut bytes = vec![0; BatchHeader::SIZE];
        let mut chain = Chain::start(&previous, CONTAINER_ID, 0);
        for (payload, seq) in payloads.iter().zip(seq_first..) {
            let len = u32::try_from(payload.len()).unwrap();
            let header = RecordHeader {
                codec: Codec::None,
                container: CONTAINER_ID,
                offset: bytes.len() as u64,
                seq,
                raw_len: len,
                stored_len: len,
                hash: ChunkHash::of(payload),
                payload_crc: crc32fast::hash(payload),
            }
            .encode();
            chain.add(&header);
            bytes.extend(header);
            bytes.extend(payload);
        }
        let used = bytes.len();
        bytes.resize(used.next_multiple_of(4096), 0);
        let header = BatchHeader {
            container: CONTAINER_ID,
            offset: 0,
            batch_seq: 0,
            record_count: u32::try_from(payloads.len()).unwrap(),
            used: u32::try_from(used).unwrap(),
            length: u32::try_from(bytes.len()).unwrap(),
            chain_prev: previous,
            chain: chain.finish(),
        };
        header.encode_into(&mut bytes);
        bytes
    }

    fn check_all(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let view = BatchView::open(bytes, CONTAINER_ID, place())?;
        view.records().map(|record| record.check().map(|()| record.payload.to_vec())).collect()
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let payloads = vec![vec![1; 700], vec![2; 1], vec![3; 900]];
        refuses_changed_bytes(&encode(&payloads, [9; 32], 4), check_all);
    }

    #[test]
    fn a_batch_after_another_is_refused() {
        let bytes = encode(&[vec![1; 10]], [9; 32], 0);
        let view = BatchView::open(&bytes, CONTAINER_ID, place()).unwrap();
        assert!(view.expect_after(0, &[9; 32]).is_ok());
        assert!(view.expect_after(1, &[9; 32]).is_err());
        assert!(view.expect_after(0, &[8; 32]).is_err());
    }

    #[test]
    fn a_cut_batch_is_refused() {
        let bytes = encode(&[vec![1; 5000]], [9; 32], 0);
        for len in [0, 4096, bytes.len() - 1] {
            assert!(BatchView::open(&bytes[..len], CONTAINER_ID, place()).is_err());
        }
    }

    #[test]
    fn a_record_of_an_older_batch_in_the_middle_is_refused() {
        let new = encode(&[vec![1; 50], vec![2; 50]], [9; 32], 10);
        let old = encode(&[vec![1; 50], vec![3; 50]], [9; 32], 10);
        let second = BatchHeader::SIZE + RecordHeader::SIZE + 50;
        let mut mixed = new;
        mixed[second..].copy_from_slice(&old[second..]);
        assert!(BatchView::open(&mixed, CONTAINER_ID, place()).is_err(), "well-formed, but not in the chain");
    }

    proptest! {
        #[test]
        fn round_trip(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 1..20),
            seq: u32, more in 0usize..5000,
        ) {
            let mut bytes = encode(&payloads, [9; 32], u64::from(seq));
            bytes.resize(bytes.len() + more, 7);
            prop_assert_eq!(check_all(&bytes).unwrap(), payloads);
        }
    }
}
