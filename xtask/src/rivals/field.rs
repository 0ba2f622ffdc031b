//! Who is compared, with which settings, and how each stores and gives back a directory.
//!
//! A line is run by `sh`. It finds the directory in `SOURCE`, where to restore to in `TARGET`, its repository in
//! `REPO`, what the backup is called in `NAME`, and a `HOME` of its own, so that nothing of an earlier run helps it.
//! What a rival always does (encryption, compression) stands in its settings, because it costs time.

/// How a rival is obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built from this workspace.
    Here,
    /// A Debian package.
    Debian(&'static str),
    /// A crate of crates.io: its name, version, and further arguments for `cargo install`.
    Crate(&'static str, &'static str, &'static str),
}

/// One program.
#[derive(Debug)]
pub struct Rival {
    /// As it is called and typed.
    pub name: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// The line that prints its version.
    pub version: &'static str,
    /// What was set, and what cannot be.
    pub settings: &'static str,
    /// Whether it compresses come what may, so that what it stores does not compare.
    pub compresses: bool,
    /// The line that prints how many bytes of its files are reserved and not used, where a program takes room ahead;
    /// several numbers are added up.
    pub reserved: Option<&'static str>,
    /// Make an empty repository.
    pub init: &'static str,
    /// Store a directory.
    pub put: &'static str,
    /// Give it back.
    pub get: &'static str,
    /// Store and give back `SOURCE/image`, for programs that take a file as it is.
    pub image: Option<[&'static str; 2]>,
}

/// What every line finds in its environment beside the names above: passwords, and questions answered.
pub const ENVIRONMENT: [(&str, &str); 4] = [
    ("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes"),
    ("RESTIC_PASSWORD", "rivals"),
    ("RUSTIC_PASSWORD", "rivals"),
    ("RUSTIC_NO_PROGRESS", "true"),
];

/// The name of our own row.
pub const OURS: &str = "gdd";

/// Everybody, ourselves first.
pub const FIELD: [Rival; 9] = [
    Rival {
        name: OURS,
        origin: Origin::Here,
        version: "gdd --version",
        settings: "`gdd init` and nothing else: chunks of 4/16/64 KiB, no compression; durable when it returns",
        compresses: false,
        reserved: Some(
            r#"gdd --store "$REPO" stats --json | grep -o '"reserved_bytes":[0-9]*' | cut -d : -f 2 &&
            du --summarize --block-size=1 "$REPO/pool" | cut -f 1"#,
        ),
        init: r#"gdd init "$REPO""#,
        put: r#"gdd --store "$REPO" put "$NAME" "$SOURCE""#,
        get: r#"gdd --store "$REPO" get "$NAME" | tar -x -C "$TARGET""#,
        image: Some([
            r#"gdd --store "$REPO" put "$NAME" "$SOURCE/image""#,
            r#"gdd --store "$REPO" get "$NAME" -o "$TARGET/image""#,
        ]),
    },
    Rival {
        name: "borg",
        origin: Origin::Debian("borgbackup"),
        version: "borg --version",
        settings: "`-e none`, `--compression none --files-cache disabled`, so that known files are read again",
        compresses: false,
        reserved: None,
        init: r#"borg init -e none "$REPO""#,
        put: r#"cd "$SOURCE" && borg create --compression none --files-cache disabled "$REPO::$NAME" ."#,
        get: r#"cd "$TARGET" && borg extract "$REPO::$NAME""#,
        image: None,
    },
    Rival {
        name: "restic",
        origin: Origin::Debian("restic"),
        version: "restic version",
        settings: "repository version 2, `--compression off --force`; it always encrypts",
        compresses: false,
        reserved: None,
        init: r#"restic -r "$REPO" init --quiet --repository-version 2"#,
        put: r#"cd "$SOURCE" && restic -r "$REPO" backup --quiet --compression off --force ."#,
        get: r#"restic -r "$REPO" restore latest --quiet --target "$TARGET""#,
        image: None,
    },
    Rival {
        name: "rustic",
        origin: Origin::Crate("rustic-rs", "0.11.4", "--no-default-features"),
        version: "rustic --version",
        settings: "`init --set-compression 0`, `backup --force`; it always encrypts",
        compresses: false,
        reserved: None,
        init: r#"rustic -r "$REPO" init --set-compression 0"#,
        put: r#"rustic -r "$REPO" backup --force "$SOURCE""#,
        get: r#"rustic -r "$REPO" restore "latest:$SOURCE" "$TARGET""#,
        image: None,
    },
    Rival {
        name: "bupstash",
        origin: Origin::Crate("bupstash", "0.12.0", ""),
        version: "bupstash --version",
        settings: "`put --compression none --no-send-log`, so that known files are read again; it always encrypts",
        compresses: false,
        reserved: None,
        init: r#"bupstash new-key -o "$HOME/key" && bupstash init -r "$REPO""#,
        put: r#"bupstash put -q -r "$REPO" -k "$HOME/key" --compression none --no-send-log "name=$NAME" "$SOURCE""#,
        get: r#"bupstash restore -q -r "$REPO" -k "$HOME/key" --into "$TARGET" "name=$NAME""#,
        image: None,
    },
    Rival {
        name: "rdedup",
        origin: Origin::Crate("rdedup", "3.2.1", ""),
        version: "rdedup --version",
        settings: "`--compression none --encryption none`, FastCDC of 128 KiB; fed by tar, so tar's time is in it",
        compresses: false,
        reserved: None,
        init: r#"mkdir "$REPO" && rdedup --dir "$REPO" init --compression none --encryption none"#,
        put: r#"tar -C "$SOURCE" -c . | rdedup --dir "$REPO" store "$NAME""#,
        get: r#"rdedup --dir "$REPO" load "$NAME" | tar -x -C "$TARGET""#,
        image: None,
    },
    Rival {
        name: "casync",
        origin: Origin::Debian("casync"),
        version: "casync --version | head -n 1",
        settings: "`--digest=sha256 --compression=zstd`; it always compresses, so its sizes do not compare",
        compresses: true,
        reserved: None,
        init: r#"mkdir "$REPO""#,
        put: r#"casync make --digest=sha256 --compression=zstd --store="$REPO/s" "$REPO/$NAME.caidx" "$SOURCE""#,
        get: r#"casync extract --store="$REPO/s" "$REPO/$NAME.caidx" "$TARGET""#,
        image: None,
    },
    Rival {
        name: "zpaq",
        origin: Origin::Debian("zpaq"),
        version: "zpaq | head -n 1",
        settings: "`a -m0 -force`: one archive, no compression, known files read again",
        compresses: false,
        reserved: None,
        init: r#"mkdir "$REPO""#,
        put: r#"cd "$SOURCE" && zpaq a "$REPO/archive.zpaq" . -m0 -force"#,
        get: r#"cd "$TARGET" && zpaq x "$REPO/archive.zpaq" -force"#,
        image: None,
    },
    Rival {
        name: "bup",
        origin: Origin::Debian("bup"),
        version: "bup version",
        settings: "`save -0`, `index --fake-invalid`, so that known files are read again",
        compresses: false,
        reserved: None,
        init: r#"git config --global init.defaultBranch main && bup -d "$REPO" init"#,
        put: r#"bup -d "$REPO" index "$SOURCE" && bup -d "$REPO" index --fake-invalid "$SOURCE" &&
            bup -d "$REPO" save -0 --strip -n "$NAME" "$SOURCE""#,
        get: r#"bup -d "$REPO" restore -C "$TARGET" "/$NAME/latest/.""#,
        image: None,
    },
];

impl Rival {
    /// The line that stores, and the one that gives back.
    pub fn lines(&self, image: bool) -> [&'static str; 2] {
        self.image.filter(|_| image).unwrap_or([self.put, self.get])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_ours_is_first() {
        let mut names: Vec<_> = FIELD.iter().map(|rival| rival.name).collect();
        assert_eq!(names[0], OURS);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FIELD.len());
    }

    #[test]
    fn every_line_uses_what_it_is_given() {
        for rival in &FIELD {
            for image in [false, true] {
                let [put, get] = rival.lines(image);
                assert!(put.contains("$REPO") && put.contains("$SOURCE"), "{put}");
                assert!(get.contains("$REPO") && get.contains("$TARGET"), "{get}");
            }
        }
    }
}
