//! What is mounted where, by proc_pid_mountinfo(5).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// A place where something is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountPoint {
    /// Where.
    pub(crate) path: PathBuf,
    /// The type of the file system: `ext4`.
    pub(crate) kind: OsString,
}

/// The mounts of this process; of those at one place the last is on top. None where `/proc` is not there.
pub(crate) fn mount_points() -> Vec<MountPoint> {
    // The file does not tell its size, and the kernel goes through the mounts anew for each read.
    let mut text = Vec::with_capacity(ENOUGH);
    let read = File::open("/proc/self/mountinfo").and_then(|mut file| file.read_to_end(&mut text));
    read.map(|_| parse(&text)).unwrap_or_default()
}

/// The fifth field is the mount point, and the type follows a dash.
pub(crate) fn parse(mountinfo: &[u8]) -> Vec<MountPoint> {
    let row = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let dash = fields.iter().position(|field| *field == b"-")?;
        let kind = OsStr::from_bytes(fields.get(dash + 1)?).to_owned();
        Some(MountPoint { path: PathBuf::from(unescaped(fields.get(4)?)), kind })
    };
    mountinfo.split(|byte| *byte == b'\n').filter_map(row).collect()
}

/// A space, a tab, a line end and a backslash are there as `\040`.
fn unescaped(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, behind @ ..] = rest {
        let digits = if *first == b'\\' { behind.get(..3) } else { None };
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { behind.get(3..).unwrap_or_default() } else { behind };
    }
    OsString::from_vec(bytes)
}

/// For some hundred mounts.
const ENOUGH: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let text = b"2 1 0:9 / /a\\040b\\134\xff rw shared:1 - autofs -hosts rw\nhalf a line\n";
        let path = PathBuf::from(OsString::from_vec(b"/a b\\\xff".to_vec()));
        assert_eq!(parse(text), [MountPoint { path, kind: "autofs".into() }]);
    }
}
