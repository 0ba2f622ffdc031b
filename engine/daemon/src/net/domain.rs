//! What the clients of one domain may know and take.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use gdd_engine::error::{Error, Result};
use gdd_engine::ids::DomainTag;
use gdd_engine::index::RecipeState;
use gdd_engine::store::Store;

use super::ledger::{Ledger, Share};
use super::lock;

/// What a domain that was idle may take at once, in time of its rate.
const BURST: Duration = Duration::from_secs(1);

/// Which chunks count as known for a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sees {
    /// All of the store: its clients can find out that a piece of data that they have, or know the hash of, is there.
    Store,
    /// What its own clients have brought: they learn nothing of what others have.
    Own,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What its clients may know.
    pub sees: Sees,
    /// Bytes a second of all its sessions together, those of messages in, and of data given back out.
    pub rate: Option<u64>,
    /// Bytes that its backups may have together, before deduplication.
    pub quota: Option<u64>,
    /// Its sessions at once.
    pub sessions_max: Option<usize>,
}

impl Rules {
    /// No limits.
    #[must_use]
    pub fn new(sees: Sees) -> Self {
        Self { sees, rate: None, quota: None, sessions_max: None }
    }
}

/// A domain as its sessions share it.
#[derive(Debug)]
pub(super) struct Domain {
    pub name: String,
    pub rules: Rules,
    /// When everything taken so far would have been taken at the domain's rate.
    paid_until: Mutex<Instant>,
    ledger: Ledger,
}

/// The domains called `names`, which is each domain that clients have keys of.
///
/// # Errors
/// One of several has no rules: what it may see was not said; or there are none, or rules for a domain that is not.
pub(super) fn all(names: &[&str], rules: &BTreeMap<String, Rules>) -> Result<BTreeMap<String, Domain>> {
    if names.is_empty() {
        return Err(Error::Invalid("domains of clients: expected 1 or more, found 0".to_owned()));
    }
    if let Some(stray) = rules.keys().find(|name| !names.contains(&name.as_str())) {
        return Err(Error::Invalid(format!("domain {stray:?} has rules and no key")));
    }
    let one = |name: &&str| {
        let alone = (names.len() == 1).then(|| Rules::new(Sees::Store));
        let rules = rules.get(*name).cloned().or(alone);
        let rules =
            rules.ok_or_else(|| Error::Invalid(format!("domain {name:?}: what it sees was not said")))?;
        let (name_owned, paid_until) = ((*name).to_owned(), Mutex::new(Instant::now()));
        let domain = Domain { name: name_owned, rules, paid_until, ledger: Ledger::default() };
        Ok(((*name).to_owned(), domain))
    };
    names.iter().map(one).collect()
}

impl Domain {
    /// Whose chunks its clients may know of; all without.
    pub(super) fn tag(&self) -> Option<DomainTag> {
        (self.rules.sees == Sees::Own).then(|| DomainTag::of(&self.name))
    }

    /// What the names of its streams begin with.
    pub(super) fn prefix(&self) -> String {
        format!("net/{}/", self.name)
    }

    /// A backup that will be called `name` begins: its share of the quota, where there is one. `Err` with the quota
    /// when nothing is left of it.
    pub(super) fn share(&self, store: &Store, name: &str) -> Result<std::result::Result<Option<Share>, u64>> {
        let Some(quota) = self.rules.quota else { return Ok(Ok(None)) };
        let prefix = self.prefix();
        let streams = || {
            let rows = store.core().index.recipes()?.into_iter();
            let live =
                rows.filter(move |row| row.state == RecipeState::Live && row.name.starts_with(&prefix));
            Ok(live.map(|row| (row.name, row.logical_bytes)))
        };
        Ok(self.ledger.begin(name.to_owned(), quota, streams)?.map(Some).ok_or(quota))
    }

    /// Its sessions take `bytes` more: how long they must wait before they go on (the generic cell rate algorithm of
    /// ITU-T I.371, with time as the bucket).
    pub(super) fn pay(&self, bytes: usize, now: Instant) -> Duration {
        let Some(rate) = self.rules.rate else { return Duration::ZERO };
        let price = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / rate.max(1));
        let mut paid_until = lock(&self.paid_until);
        let start = now.checked_sub(BURST).map_or(*paid_until, |earliest| earliest.max(*paid_until));
        *paid_until = start + price;
        paid_until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(rate: u64) -> Domain {
        let rules = BTreeMap::from([("a".to_owned(), Rules { rate: Some(rate), ..Rules::new(Sees::Own) })]);
        all(&["a"], &rules).unwrap().remove("a").unwrap()
    }

    #[test]
    fn a_rate_holds_over_time_and_allows_a_burst() {
        let (domain, start) = (domain(1_000_000), Instant::now() + Duration::from_secs(10));
        assert_eq!(domain.pay(600_000, start), Duration::ZERO, "it was idle");
        assert_eq!(domain.pay(400_000, start), Duration::ZERO);
        assert_eq!(domain.pay(500_000, start), Duration::from_millis(500));
        assert_eq!(domain.pay(500_000, start), Duration::from_secs(1), "who waits does not free others");
        assert_eq!(domain.pay(0, start + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(domain.pay(1_000_000, start + Duration::from_secs(1)), Duration::from_secs(1));
        let later = start + Duration::from_secs(100);
        assert_eq!(domain.pay(1_000_000, later), Duration::ZERO, "a long rest is one burst");
        assert_eq!(domain.pay(1_000_000, later), Duration::from_secs(1));
    }

    #[test]
    fn of_several_domains_each_says_what_it_sees() {
        assert_eq!(all(&["a"], &BTreeMap::new()).unwrap()["a"].rules, Rules::new(Sees::Store));
        let own = BTreeMap::from([("a".to_owned(), Rules::new(Sees::Own))]);
        for (names, rules, words) in [
            (&["a", "b"][..], &own, "domain \"b\""),
            (&["b"], &own, "domain \"a\" has rules and no key"),
            (&[], &BTreeMap::new(), "expected 1 or more"),
        ] {
            let error = all(names, rules).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
