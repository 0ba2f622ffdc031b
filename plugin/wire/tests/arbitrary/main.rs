//! Arbitrary bytes for whatever reads bytes of a peer, with the bodies of the fuzz targets, so that every run of the
//! tests has some of it.

mod bodies;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Bytes that often begin like something good, so that more than the first check is met.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(Vec::new()),
        Just(b"gddWIREc\x01\x00\x01\x00\x01\x01".to_vec()),
        Just(b"gddWIREd\x01\x00".to_vec()),
        (0u8..0x90).prop_map(|kind| vec![kind]),
        (0u8..40, 0u8..6).prop_map(|(len, kind)| vec![len, 0, 0, 0, kind]),
        (0u8..0x90, 0u8..4).prop_map(|(kind, count)| [&[kind], [0; 8].as_slice(), &[count, 0]].concat()),
    ];
    let rest =
        prop_oneof![prop::collection::vec(any::<u8>(), 0..600), prop::collection::vec(0u8..3, 0..100),];
    (start, rest).prop_map(|(start, rest)| [start, rest].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, rng_seed: RngSeed::Fixed(9), ..ProptestConfig::default() })]

    #[test]
    fn a_daemon_hears_anything(bytes in bytes()) {
        bodies::daemon_hears(&bytes);
    }

    #[test]
    fn a_client_hears_anything(bytes in bytes()) {
        bodies::client_hears(&bytes);
    }

    #[test]
    fn a_reader_hears_anything(bytes in bytes()) {
        bodies::reader_hears(&bytes);
    }

    #[test]
    fn decoders_hear_anything(bytes in bytes()) {
        bodies::decoders_hear(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, rng_seed: RngSeed::Fixed(9), ..ProptestConfig::default() })]

    #[test]
    fn a_reader_hears_good_records_in_any_order(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
        bodies::reader_hears_good_records(&bytes);
    }
}
