//! The keys of a profile. Reading, applying and the schema are all made of this table.

/// A key of a profile, which is a flag without its `--`.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// The flag.
    pub flag: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    pub(super) kind: Kind,
    pub(super) reach: Reach,
}

/// What a key wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A list of paths; `true` for all of them if `all`.
    Paths { all: bool },
    /// A list of words that are no paths; `true` for all of them if `all`.
    Words { all: bool },
    /// A list of which a later item takes the place of one with the same name in front of its `=`.
    Named,
    /// `true` or `false`.
    Switch,
    /// `"host"`.
    Net,
    /// A path.
    Path,
    /// A size, `"512M"` or bytes.
    Size,
    /// A time, `"30s"` or seconds.
    Time,
    /// A number of processors.
    Cpus,
    /// A count of at least so many.
    Count(u32),
}

/// Whether a value can give the command more than it has without it. A file that is not trusted is heard only as far as
/// it cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It can.
    Widens,
    /// It never does.
    Narrows,
    /// It does not if it is smaller than what holds without it.
    Bounds,
    /// It does not if it is this.
    NarrowsIf(bool),
}

impl Key {
    /// The key of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }
}

const fn key(flag: &'static str, kind: Kind, reach: Reach, about: &'static str) -> Key {
    Key { name: flag.split_at(2).1, flag, about, kind, reach }
}

use Kind::{Count, Cpus, Named, Net, Path, Paths, Size, Switch, Time, Words};
use Reach::{Bounds, Narrows, NarrowsIf, Widens};

/// All keys but `description`, `extends` and the sections of platforms.
pub const KEYS: &[Key] = &[
    key("--allow-read", Paths { all: true }, Widens, "Files and directories that may be read"),
    key("--deny-read", Paths { all: false }, Narrows, "Files and directories that are hidden"),
    key("--allow-write", Paths { all: true }, Widens, "Files and directories that may be read and written"),
    key("--deny-write", Paths { all: false }, Narrows, "Files and directories that may not be written"),
    key("--share-tmp", Switch, NarrowsIf(false), "Whether the host's /tmp and /var/tmp are used"),
    key("--scratch-size", Size, Bounds, "The size of the private home and all temporary files together"),
    key("--allow-net", Words { all: true }, Widens, "Hosts that may be connected to"),
    key("--allow-net-from", Words { all: false }, Widens, "Clients whose own settings name more hosts"),
    key("--deny-net", Words { all: false }, Narrows, "Hosts that may not be connected to"),
    key("--resolve", Words { all: false }, Widens, "Names with given addresses, as NAME:PORT:ADDRESS"),
    key("--publish", Words { all: false }, Widens, "Ports inside that can be reached from outside"),
    key("--allow-http", Words { all: false }, Widens, "Requests that may be made, as METHODS URL"),
    key("--deny-http", Words { all: false }, Narrows, "Requests that may not be made, as METHODS URL"),
    key("--no-tls-inspect", Words { all: false }, Widens, "Hosts whose connections are never looked into"),
    key("--upstream-ca", Paths { all: false }, Widens, "Files of certificates to trust outside"),
    key("--net", Net, Widens, "`host`: the host's own network, without rules"),
    key("--secret", Named, Widens, "Secrets, as NAME=SOURCE; NAME?=env:VARIABLE if it is set"),
    key("--secret-host", Words { all: false }, Widens, "Whom a secret may be sent to, as NAME=HOST"),
    key(
        "--secret-file",
        Words { all: false },
        Widens,
        "Files that are shown with placeholders, as PATH[:REGEX]",
    ),
    key("--secret-in", Named, Widens, "The parts of a request that a secret may be in, as NAME=PLACE,.."),
    key("--secret-plaintext", Words { all: false }, Widens, "Secrets that may be sent without a certificate"),
    key("--secret-limit", Named, Widens, "How often a secret may be used, as NAME=COUNT[/PERIOD]"),
    key("--env", Named, Widens, "Variables to set, as NAME=VALUE"),
    key("--allow-env", Words { all: true }, Widens, "Variables to pass on"),
    key("--deny-env", Words { all: false }, Narrows, "Variables to hold back"),
    key("--allow-socket", Paths { all: false }, Widens, "Unix sockets of the host that may be connected to"),
    key("--cwd", Path, Widens, "The directory to run in"),
    key("--timeout", Time, Bounds, "The time after which the command is ended"),
    key("--memory", Size, Bounds, "How much memory it may use"),
    key("--cpus", Cpus, Bounds, "How much processor time it may use per time"),
    key("--pids", Count(1), Bounds, "How many processes and threads it may have"),
    key("--file-size", Size, Bounds, "How large a file it may write"),
    key("--open-files", Count(3), Bounds, "How many descriptors each process may have open"),
    key("--strict-sandbox", Switch, NarrowsIf(true), "Whether any weaker layer is refused"),
];

/// Flags that are no keys, and why.
pub(super) const NO_KEYS: &[(&str, &str)] = &[
    ("allow-all", "a file cannot take the sandbox away; give `--allow-all` on the command line"),
    ("no-sandbox", "a file cannot take the sandbox away; give `--no-sandbox` on the command line"),
    ("private-tmp", "write `share-tmp = false`"),
    ("keep-fd", "descriptors are the caller's: give `--keep-fd` on the command line"),
    ("profile", "write `extends = [\"NAME\"]`"),
    ("events", "it is about one run: give `--events` on the command line"),
    ("report", "it is about one run: give `--report` on the command line"),
    ("quiet", "it is about one run: give `--quiet` on the command line"),
    ("debug", "it is about one run: give `--debug` on the command line"),
];
