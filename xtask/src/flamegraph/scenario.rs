//! What can be profiled: real commands on data made for them, so that the picture holds them and nothing else.
//!
//! Lines are run by `sh`. They find a folder of their own in `WORK` and a store in it by `GDD_STORE`; gdd is the one
//! that was just built.

/// One scenario.
pub struct Scenario {
    /// As it is typed, and in the picture's name.
    pub name: &'static str,
    /// For the picture's title.
    pub shows: &'static str,
    /// What cargo builds.
    pub build: &'static str,
    /// What is done before, unseen.
    pub before: &'static str,
    /// What is profiled.
    pub line: &'static str,
    /// Threads that are not part of it, by name.
    pub without: &'static [&'static str],
}

const GDD: &str = "build --release";
/// The helpers of the lines.
const SHELL: &[&str] = &["sh", "perf", "perf-exec"];

/// All of them.
pub const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "ingest-new",
        shows: "`gdd put` of 2 GiB of random bytes from files in memory",
        build: GDD,
        before: r#"head -c 1G /dev/urandom > "$WORK/one" && head -c 1G /dev/urandom > "$WORK/two" &&
            gdd init "$GDD_STORE""#,
        line: r#"gdd put one "$WORK/one" && gdd put two "$WORK/two""#,
        without: SHELL,
    },
    Scenario {
        name: "ingest-known",
        shows: "`gdd put` of 1 GiB that the store has already, four times",
        build: GDD,
        before: r#"head -c 1G /dev/urandom > "$WORK/one" && gdd init "$GDD_STORE" && gdd put one "$WORK/one""#,
        line: r#"for number in 1 2 3 4; do gdd put again-$number "$WORK/one" || exit 1; done"#,
        without: SHELL,
    },
    Scenario {
        name: "restore",
        shows: "`gdd get` of 1 GiB to /dev/null, four times",
        build: GDD,
        before: r#"head -c 1G /dev/urandom > "$WORK/one" && gdd init "$GDD_STORE" && gdd put one "$WORK/one""#,
        line: "for number in 1 2 3 4; do gdd get one > /dev/null || exit 1; done",
        without: SHELL,
    },
    Scenario {
        name: "vacuum",
        shows: "`gdd vacuum` after every other MiB of 2 GiB is no longer needed",
        build: GDD,
        before: r#"cd "$WORK" && head -c 2G /dev/urandom > all && split -b 1M -d -a 4 all part- &&
            cat part-*[02468] > half && rm part-* && gdd init "$GDD_STORE" &&
            gdd put all all && gdd put half half && gdd rm all"#,
        line: "gdd vacuum",
        without: SHELL,
    },
    Scenario {
        name: "bothsides",
        shows: "two fulls and a restore of /usr/bin, /usr/sbin and /usr/share/doc by stock Bacula with the plugin",
        build: "build --release --package gdd --package gdd-fd --package gdd-tests --example bothsides",
        before: "true",
        line: "target/release/examples/bothsides --wire-only",
        // The example makes and compares the data, and counts what passes between both ends.
        without: &["sh", "perf", "perf-exec", "bothsides", "cp", "psql", "sqlite3"],
    },
    Scenario {
        name: "recall",
        shows: "single chunks: cached, read ahead, cold",
        build: GDD,
        before: "true",
        line: r#"gdd --store "$WORK/none" bench recall"#,
        without: SHELL,
    },
    Scenario {
        name: "stages",
        shows: "every stage alone, on one core",
        build: GDD,
        before: "true",
        line: r#"gdd --store "$WORK/none" bench stages"#,
        without: SHELL,
    },
];
