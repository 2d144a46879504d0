//! Which calls init looks at, so that a report can say what was refused.
//!
//! Nothing is decided by it. A call that is observed costs a switch to init and back, so that [`Observation::Denials`] leaves
//! out whatever walks trees: `find` and `git status` open directories (`O_DIRECTORY`) and files relative to one. `newfstatat`
//! is left out whole: the kernel remembers which calls a filter allows whatever their arguments, and to run the program for
//! each of 50,000 `lstat`s takes a twentieth of `git status`.

#![allow(clippy::cast_possible_truncation, reason = "numbers of system calls are small")]

use super::table::{Action, Case, Condition, Entry, any, is, masked_is};
use std::borrow::Cow;
use zerobox_policy::Observation;

/// A call that names files.
#[derive(Debug)]
pub(crate) struct Row {
    number: u32,
    name: &'static str,
    /// When it is observed by [`Observation::Denials`]; by [`Observation::All`] it always is.
    denials: &'static [Case],
    /// The files.
    pub(crate) paths: &'static [PathArgument],
}

/// A file that a call names, by the numbers of its arguments.
#[derive(Debug)]
pub(crate) struct PathArgument {
    /// The descriptor of the directory that the path begins at; without one it is the working directory.
    pub(crate) directory: Option<u8>,
    /// The path.
    pub(crate) path: u8,
    /// What happens to the file.
    pub(crate) reach: Reach,
}

/// What a call does with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It is opened as the flags say, which are this argument.
    Open(u8),
    /// It is opened, and made or emptied.
    Create,
    /// It is looked at.
    Look,
    /// It is changed, and has to exist.
    Change,
    /// Its name is made or removed.
    Name,
    /// It is executed.
    Execute,
}

/// Adds what `observation` needs to the rows that refuse and mediate; their cases come first.
pub(super) fn add(observation: Observation, entries: &mut Vec<Entry>) {
    if observation == Observation::Off {
        return;
    }
    for row in all() {
        let cases = if observation == Observation::All { ALWAYS } else { row.denials };
        match entries.iter_mut().find(|entry| entry.number == row.number) {
            Some(entry) => entry.cases.to_mut().extend_from_slice(cases),
            None if cases.is_empty() => {}
            None => entries.push(Entry {
                number: row.number,
                name: row.name,
                cases: Cow::Borrowed(cases),
                reason: "observed for the report",
            }),
        }
    }
}

/// The row of the call `number`.
pub(crate) fn row(number: i32) -> Option<&'static Row> {
    all().find(|row| i64::from(row.number) == i64::from(number))
}

fn all() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(OLD)
}

const fn observe(when: &'static [Condition]) -> Case {
    Case { when, action: Action::Observe }
}

const fn at(directory: u8, reach: Reach) -> PathArgument {
    PathArgument { directory: Some(directory), path: directory + 1, reach }
}

const fn path(path: u8, reach: Reach) -> PathArgument {
    PathArgument { directory: None, path, reach }
}

macro_rules! rows {
    ($($name:ident $cases:expr, $($argument:expr),*;)*) => {
        &[$(Row {
            number: super::table::paste_number!($name),
            name: stringify!($name),
            denials: $cases,
            paths: &[$($argument),*],
        }),*]
    };
}

const ALWAYS: &[Case] = &[observe(&[])];
const NEVER: &[Case] = &[];
const WRITES: u32 = (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC) as u32;
const WALKS: u32 = (libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_PATH) as u32;
const HERE: u32 = libc::AT_FDCWD as u32;
const LINK_ITSELF: u32 = (libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) as u32;
const STATX: &[Case] = &[observe(&[is(0, HERE), masked_is(2, LINK_ITSELF, 0)])];
const FROM_HERE: &[Case] = &[observe(&[is(0, HERE)])];
const OPENS_AT: &[Case] = &[observe(&[any(2, WRITES)]), observe(&[masked_is(2, WALKS, 0), is(0, HERE)])];

const ROWS: &[Row] = rows! {
    openat OPENS_AT, at(0, Reach::Open(2));
    execve ALWAYS, path(0, Reach::Execute);
    execveat ALWAYS, at(0, Reach::Execute);
    chdir ALWAYS, path(0, Reach::Look);
    mkdirat ALWAYS, at(0, Reach::Name);
    mknodat ALWAYS, at(0, Reach::Name);
    unlinkat ALWAYS, at(0, Reach::Name);
    renameat ALWAYS, at(0, Reach::Name), at(2, Reach::Name);
    renameat2 ALWAYS, at(0, Reach::Name), at(2, Reach::Name);
    linkat ALWAYS, at(0, Reach::Look), at(2, Reach::Name);
    symlinkat ALWAYS, at(1, Reach::Name);
    truncate ALWAYS, path(0, Reach::Change);
    fchmodat ALWAYS, at(0, Reach::Change);
    fchmodat2 ALWAYS, at(0, Reach::Change);
    fchownat ALWAYS, at(0, Reach::Change);
    utimensat ALWAYS, at(0, Reach::Change);
    setxattr ALWAYS, path(0, Reach::Change);
    lsetxattr ALWAYS, path(0, Reach::Change);
    removexattr ALWAYS, path(0, Reach::Change);
    lremovexattr ALWAYS, path(0, Reach::Change);
    newfstatat NEVER, at(0, Reach::Look);
    statx STATX, at(0, Reach::Look);
    faccessat FROM_HERE, at(0, Reach::Look);
    faccessat2 FROM_HERE, at(0, Reach::Look);
    readlinkat NEVER, at(0, Reach::Look);
};

/// The calls that came before those with a directory; newer architectures do not have them.
#[cfg(target_arch = "x86_64")]
const OLD: &[Row] = rows! {
    open &[observe(&[any(1, WRITES)]), observe(&[masked_is(1, WALKS, 0)])], path(0, Reach::Open(1));
    creat ALWAYS, path(0, Reach::Create);
    mkdir ALWAYS, path(0, Reach::Name);
    rmdir ALWAYS, path(0, Reach::Name);
    mknod ALWAYS, path(0, Reach::Name);
    unlink ALWAYS, path(0, Reach::Name);
    rename ALWAYS, path(0, Reach::Name), path(1, Reach::Name);
    link ALWAYS, path(0, Reach::Look), path(1, Reach::Name);
    symlink ALWAYS, path(1, Reach::Name);
    chmod ALWAYS, path(0, Reach::Change);
    chown ALWAYS, path(0, Reach::Change);
    lchown ALWAYS, path(0, Reach::Change);
    utime ALWAYS, path(0, Reach::Change);
    utimes ALWAYS, path(0, Reach::Change);
    stat ALWAYS, path(0, Reach::Look);
    lstat NEVER, path(0, Reach::Look);
    access ALWAYS, path(0, Reach::Look);
    readlink NEVER, path(0, Reach::Look);
};
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Row] = &[];
