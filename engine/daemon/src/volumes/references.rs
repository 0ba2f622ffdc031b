//! Which streams a volume needs: those that its blocks were written for, and what the receipts say of them.

use std::collections::BTreeMap;
use std::io;

use super::Volume;
use super::entries::{END, Entries, STREAM, varint};

/// A stream that a volume names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Bacula's `VolSessionId` and `VolSessionTime` of the job.
    pub session: (u32, u32),
    /// Its length as the receipt has it. A stream without one is of a job that runs, or was never acknowledged: the
    /// driver cuts its blocks off if the store does not have it.
    pub receipt: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct References {
    /// By number.
    pub streams: BTreeMap<u64, Named>,
    /// Where the volume is damaged: what it needs between there and the next good entries is not known.
    pub damaged: Option<u64>,
}

/// Those of `volume`.
///
/// # Errors
/// Its file cannot be read.
pub fn of(volume: &Volume) -> io::Result<References> {
    let mut entries = Entries::open(volume)?;
    let mut streams = BTreeMap::<u64, Named>::new();
    while let Some((kind, body)) = entries.next()? {
        match kind {
            STREAM => {
                let Some((stream, session)) = stream(body) else { continue };
                streams.entry(stream).or_default().session = session;
            }
            END => {
                let Some((stream, bytes)) = end(body) else { continue };
                streams.entry(stream).or_default().receipt = Some(bytes);
            }
            _ => {}
        }
    }
    Ok(References { streams, damaged: entries.damaged })
}

/// Number and session in the body of a stream's entry.
#[must_use]
pub fn stream(body: &[u8]) -> Option<(u64, (u32, u32))> {
    let (stream, rest) = body.split_first_chunk()?;
    let (session, rest) = rest.split_first_chunk()?;
    let time = rest.first_chunk()?;
    Some((u64::from_le_bytes(*stream), (u32::from_le_bytes(*session), u32::from_le_bytes(*time))))
}

/// Number and length in the body of a receipt.
fn end(body: &[u8]) -> Option<(u64, u64)> {
    let (stream, rest) = body.split_first_chunk()?;
    Some((u64::from_le_bytes(*stream), varint(rest.get(16..)?)?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A volume that the driver's own writer made: two streams, one with a receipt; and where its groups stand.
    fn volume(folder: &std::path::Path) -> (Volume, Vec<usize>) {
        use gdd_sd::skeleton::entry::{End, Group, Named, Out};
        use gdd_sd::store::{StreamId, VolumeId};
        let id = [7; 16];
        let mut bytes = gdd_sd::skeleton::frame::header(VolumeId(id), None).to_vec();
        let mut out = Out::new(VolumeId(id), bytes.len() as u64);
        let mut groups = Vec::new();
        for (number, receipt) in [(5_u32, true), (9, false)] {
            groups.push(usize::try_from(out.end()).unwrap());
            out.group(Group { logical: 0, synced: 0 });
            let session = gdd_sd::block::SessionId { id: 1, time: number };
            out.stream(Named { stream: StreamId(number.into()), session, offset: 0 });
            if receipt {
                out.end_of(End { stream: StreamId(number.into()), bytes: 70_000, digest: 3 });
            }
        }
        bytes.extend(&out.bytes);
        let path = folder.join("V-1");
        std::fs::write(&path, bytes).unwrap();
        (Volume { path, id }, groups)
    }

    #[test]
    fn what_the_driver_writes_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (volume, _) = volume(folder.path());
        assert_eq!(super::super::in_folder(folder.path()).unwrap(), std::slice::from_ref(&volume));
        let found = of(&volume).unwrap();
        let expected = [
            (5, Named { session: (1, 5), receipt: Some(70_000) }),
            (9, Named { session: (1, 9), receipt: None }),
        ];
        assert_eq!((found.streams, found.damaged), (expected.into(), None));
    }

    #[test]
    fn damage_is_told_and_what_is_behind_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (volume, groups) = volume(folder.path());
        let good = std::fs::read(&volume.path).unwrap();
        for at in groups[0]..groups[1] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(&volume.path, &bytes).unwrap();
            let found = of(&volume).unwrap();
            assert!(found.damaged.is_some() && found.streams.contains_key(&9), "byte {at}: {found:?}");
        }
        std::fs::write(&volume.path, &good[..good.len() - 3]).unwrap();
        let found = of(&volume).unwrap();
        assert!(found.damaged.is_none() && found.streams.contains_key(&5), "a torn end: {found:?}");
    }
}
