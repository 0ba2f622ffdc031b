//! Blocks that the driver does not parse, made by stock Bacula: a volume that bacula-sd encrypts. They are stored as
//! they are, counted, named in the job log, and come back.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use gdd_rig::{Daemon, Device, Level, Pool, Release};
use gdd_tests::bacula::{DEVICE, POOL, Site, VOLUME, assert_restored, volume_size};
use gdd_tests::random::Random;

/// What bacula-sd asks for keys: the protocol of the key-manager.py that comes with Bacula 15.
const KEYS: &str = "#!/bin/sh
echo \"cipher: AES_128_XTS\"
echo \"cipher_key: G6HksAYDnNGr67AAx2Lb/vecTVjZoYAqSLZ7lGMyDVE=\"
echo \"volume_name: $VOLUME_NAME\"
";
const FILES: usize = 40;
const FILE_SIZE: usize = 100_000;

#[test]
fn an_encrypted_volume_is_stored_as_it_is_and_named() {
    let Some(mut site) = Site::new(Release::V15) else { return };
    let source = site.folder().join("source");
    fs::create_dir(&source).unwrap();
    let mut random = Random::new(11);
    let mut bytes = vec![0; FILE_SIZE];
    for file in 0..FILES {
        random.fill(&mut bytes);
        fs::write(source.join(format!("{file:02}")), &bytes).unwrap();
    }
    let keys = site.folder().join("keys");
    fs::write(&keys, KEYS).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o755)).unwrap();
    let device = Device::new(DEVICE, "Cloud").line("Volume Encryption = yes");
    let command = format!("Encryption Command = \"{}\"", keys.display());
    let rig = site.bacula_with(device, Pool::new(POOL, DEVICE).label_format("Dedup-"));
    let rig = rig.line(Daemon::Storage, &command).backup("tree", &source).start().unwrap();

    let job = rig.run("tree", Level::Full).unwrap().demand_ok().unwrap();
    println!("{}", job.log);
    for words in ["[GDD-SD-0204]", "stored as they are and not deduplicated", "the storage daemon encrypted"]
    {
        assert!(job.log.contains(words), "no {words:?} in\n{}", job.log);
    }
    assert!(volume_size(&rig, VOLUME) > (FILES * FILE_SIZE) as u64, "everything is in the volume");
    assert_restored(&rig, &[&job], &source);
    site.stop_and_check();
}
