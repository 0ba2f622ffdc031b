//! The session label: what a job says about itself at its beginning.
//!
//! Only for people: it names streams in `gdd status`. A label that is not understood therefore costs nothing but the
//! name.

use crate::bytes::Cursor;

/// What is known of a job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// JobId in the catalog; 0 when unknown.
    pub job_id: u32,
    /// Unique name of this run, `Name.date_time_nn`.
    pub job: String,
    /// Name of the job's resource.
    pub job_name: String,
    /// Name of the client.
    pub client: String,
    /// Name of the file set.
    pub file_set: String,
    /// Backup, copy, ...: the character that Bacula uses, `B` for a backup.
    pub job_type: u32,
    /// Full, incremental, ...: the character that Bacula uses, `F` for a full one.
    pub job_level: u32,
}

/// Longest name that is kept, in bytes; Bacula's are at most 127.
const NAME_SIZE_MAX: usize = 255;

impl About {
    /// Reads the data of a session label; `None` when it is none.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(data);
        let id = cursor.text()?;
        if !id.starts_with(b"Bacula ") {
            return None;
        }
        cursor.be32()?; // Version of the label.
        let job_id = cursor.be32()?;
        cursor.take(16)?; // Time written, and a time that is always 0.
        cursor.text()?; // Pool.
        cursor.text()?; // Type of the pool.
        let mut text = || cursor.text().map(name);
        let (job_name, client, job, file_set) = (text()?, text()?, text()?, text()?);
        let (job_type, job_level) = (cursor.be32()?, cursor.be32()?);
        Some(Self { job_id, job, job_name, client, file_set, job_type, job_level })
    }
}

fn name(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(NAME_SIZE_MAX)];
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{put_be32, put_be64};

    fn label() -> Vec<u8> {
        let mut data = b"Bacula 1.0 immortal\n\0".to_vec();
        put_be32(&mut data, 11);
        put_be32(&mut data, 42);
        put_be64(&mut data, 1_700_000_000_000_000);
        put_be64(&mut data, 0);
        data.extend_from_slice(b"Default\0Backup\0nightly\0web-fd\0nightly.2026-01-01_00.00.00_03\0Full\0");
        put_be32(&mut data, u32::from(b'B'));
        put_be32(&mut data, u32::from(b'F'));
        data.extend_from_slice(b"md5\0");
        data
    }

    #[test]
    fn a_session_label_names_the_job() {
        let about = About::parse(&label()).expect("a label");
        assert_eq!((about.job_id, about.job_name.as_str(), about.client.as_str()), (42, "nightly", "web-fd"));
        assert_eq!(about.job, "nightly.2026-01-01_00.00.00_03");
        assert_eq!((about.file_set.as_str(), about.job_type, about.job_level), ("Full", 66, 70));
    }

    #[test]
    fn a_cut_or_foreign_label_is_none() {
        let label = label();
        for end in 0..label.len() - 4 {
            assert_eq!(About::parse(&label[..end]), None, "{end}");
        }
        assert_eq!(About::parse(b"Amanda\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0"), None);
    }
}
