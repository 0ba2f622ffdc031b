//! What the shipped unit for systemd promises, against what the daemon does: a unit that forbids what gdd.toml allows,
//! or kills a daemon that is about to close its store, is found here and not by an operator.

use std::path::Path;
use std::time::Duration;

use super::{Config, STOP_LIMIT_MAX};
use crate::serve;

const UNIT: &str = include_str!("../../../../dist/systemd/gdd.service");

/// The only value of a key.
fn value(key: &str) -> &'static str {
    let mut values = UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("the unit has {key}"));
    assert_eq!(values.next(), None, "{key} stands once");
    value
}

fn seconds(key: &str) -> Duration {
    let seconds = value(key).strip_suffix('s').and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or_else(|| panic!("{key} is in seconds: {}", value(key))))
}

#[test]
fn it_may_listen_where_the_configuration_says() {
    let families: Vec<_> = value("RestrictAddressFamilies").split(' ').collect();
    for family in ["AF_UNIX", "AF_INET", "AF_INET6"] {
        assert!(families.contains(&family), "{family} is missing: {families:?}");
    }
}

#[test]
fn it_has_time_to_stop_and_is_watched() {
    let longest = Duration::from_secs(STOP_LIMIT_MAX) + serve::AFTER_STOP_LIMIT;
    let limit = seconds("TimeoutStopSec");
    assert!(limit >= longest, "TimeoutStopSec {limit:?}, and stopping may take {longest:?}");
    // The signs of life come from loops that look at least so often, also while the store is opened or closed.
    assert!(seconds("WatchdogSec") >= 4 * serve::TELL_EVERY);
    assert_eq!((value("Type"), value("NotifyAccess")), ("notify", "main"));
    assert_eq!(value("TimeoutStartSec"), "infinity", "recovery takes as long as it takes");
}

#[test]
fn its_folders_are_those_of_the_defaults() {
    let config = Config::default();
    assert_eq!(config.problem(), None);
    assert_eq!(config.store, Path::new("/var/lib").join(value("StateDirectory")));
    assert_eq!(config.socket.parent(), Some(Path::new("/run").join(value("RuntimeDirectory")).as_path()));
}

#[test]
fn a_stop_limit_that_the_unit_would_not_grant_is_refused() {
    let problem = |stop_limit| Config { stop_limit, ..Config::default() }.problem();
    assert_eq!(problem(STOP_LIMIT_MAX), None);
    let told = problem(STOP_LIMIT_MAX + 1).expect("it is refused");
    assert!(told.contains("stop_limit") && told.contains("TimeoutStopSec"), "{told}");
}
