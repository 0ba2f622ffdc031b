//! Prometheus' text format, read as strictly as its documentation states it.

use std::collections::{BTreeMap, BTreeSet};

/// A page that was read: each sample's value by its name and labels, as written.
#[derive(Debug, Default)]
pub struct Exposition {
    /// Kind of each family: counter, gauge or histogram.
    pub kinds: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Exposition {
    /// Read a page.
    ///
    /// # Panics
    /// At the first breach of the format, which it names.
    pub fn read(text: &str) -> Self {
        let mut page = Self::default();
        let (mut family, mut helped, mut over) = (String::new(), String::new(), BTreeSet::new());
        assert!(text.ends_with('\n'), "the last line ends");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help has a text");
                assert!(is_name(name) && !help.is_empty(), "{line}");
                helped = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type has a kind");
                assert_eq!(name, helped, "HELP comes before TYPE");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(over.insert(std::mem::replace(&mut family, name.to_owned())), "{line}");
                assert!(!over.contains(name), "{name}: a family stands together");
                page.kinds.insert(name.to_owned(), kind.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
                let name = series.split('{').next().expect("there is a first part");
                let labels = labels(series.get(name.len()..).expect("a name is a prefix"));
                let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let is_histogram = page.kinds.get(&family).is_some_and(|kind| kind == "histogram");
                assert_eq!(if is_histogram { plain } else { Some(name) }, Some(family.as_str()), "{line}");
                assert_eq!(is_histogram && name.ends_with("_bucket"), labels.contains_key("le"), "{line}");
                let value = number(value);
                assert!(page.samples.insert(series.to_owned(), value).is_none(), "{line} stands twice");
            }
        }
        page.check_histograms();
        page
    }

    /// The value of a sample, as it is written: `name{label="value"}`.
    ///
    /// # Panics
    /// When there is none.
    pub fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| unreachable!("no {series} in {:#?}", self.samples))
    }

    /// Buckets rise to the count, under bounds that rise to infinity.
    fn check_histograms(&self) {
        let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (series, value) in &self.samples {
            if let Some((before, bound)) = series.split_once("le=\"") {
                let bound = number(bound.trim_end_matches("\"}"));
                buckets.entry(before.to_owned()).or_default().push((bound, *value));
            }
        }
        for (before, mut found) in buckets {
            found.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(found.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{before}: {found:?}");
            let (bound, count) = found.last().expect("there is a bucket");
            assert!(bound.is_infinite(), "{before}: the last bucket has no bound");
            let series = before.replacen("_bucket", "_count", 1);
            let series = series.trim_end_matches(['{', ',']);
            let series = if series.contains('{') { format!("{series}}}") } else { series.to_owned() };
            assert!((self.value(&series) - count).abs() < 0.5, "{series} is {count}");
            assert!(self.value(&series.replacen("_count", "_sum", 1)) >= 0.0);
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// Names and values of `{name="value",...}`, or of nothing.
fn labels(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        assert!(text.is_empty(), "{text}");
        return found;
    };
    loop {
        let (name, value) = rest.split_once("=\"").expect("a label has a value");
        assert!(is_name(name), "{text}");
        let (mut end, mut escaped) = (None, false);
        for (at, c) in value.char_indices() {
            match c {
                '\\' if !escaped => escaped = true,
                '"' if !escaped => {
                    end = Some(at);
                    break;
                }
                _ => {
                    assert!(!escaped || ['\\', '"', 'n'].contains(&c), "{text}");
                    escaped = false;
                }
            }
        }
        let end = end.expect("a value ends");
        assert!(found.insert(name.to_owned(), value[..end].to_owned()).is_none(), "{text}");
        match &value[end + 1..] {
            "}" => return found,
            more => rest = more.strip_prefix(',').expect("a comma lies between labels"),
        }
    }
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().unwrap_or_else(|_| unreachable!("{text:?} is no number")),
    }
}
