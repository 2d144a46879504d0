//! What the permissions of files say, as they hold inside: there is no capability that overrides them.

use super::files::Wish;
use rustix::fs::{Access, AtFlags, CWD, Stat};
use rustix::io::Errno;
use std::path::Path;

/// Why the file's own permissions keep the caller, without any capability, from `path`, which exists and is canonical.
pub(super) fn refuse(path: &Path, wish: Wish, directory: bool) -> Option<String> {
    let wanted = match (wish, directory) {
        (Wish::Read, _) => Access::READ_OK,
        (Wish::Write, true) => Access::WRITE_OK | Access::EXEC_OK,
        (Wish::Write, false) => Access::WRITE_OK,
        // A script is read by its interpreter, and an unreadable program runs.
        (Wish::Execute, _) => Access::EXEC_OK,
    };
    match rustix::fs::accessat(CWD, path, wanted, AtFlags::EACCESS) {
        Err(Errno::ROFS) => return Some(format!("`{}` is on a read-only file system", path.display())),
        Err(Errno::ACCESS | Errno::PERM) => return Some(kept_out(path)),
        Err(errno) => return Some(format!("`{}` cannot be asked for: {errno}", path.display())),
        Ok(()) => {}
    }
    // Outside, root passes every check; inside, it is a user like others.
    let caller = Caller::find().filter(|caller| caller.user == 0)?;
    let directories = path.ancestors().skip(1).map(|above| (above, Access::EXEC_OK));
    let mut all = std::iter::once((path, wanted)).chain(directories);
    all.find(|(path, wanted)| rustix::fs::lstat(*path).is_ok_and(|stat| !caller.may(&stat, *wanted)))
        .map(|(path, _)| kept_out(path))
}

fn kept_out(path: &Path) -> String {
    format!("the permissions of `{}` do not allow it, with or without zerobox's rules", path.display())
}

/// Whom the kernel compares with the owner of a file.
struct Caller {
    user: u32,
    groups: Vec<u32>,
}

impl Caller {
    fn find() -> Option<Self> {
        let mut groups: Vec<u32> =
            rustix::process::getgroups().ok()?.into_iter().map(|group| group.as_raw()).collect();
        groups.push(rustix::process::getegid().as_raw());
        Some(Self { user: rustix::process::geteuid().as_raw(), groups })
    }

    /// path_resolution(7), "Permissions".
    fn may(&self, stat: &Stat, wanted: Access) -> bool {
        let shift = if stat.st_uid == self.user {
            6
        } else if self.groups.contains(&stat.st_gid) {
            3
        } else {
            0
        };
        let granted = (stat.st_mode >> shift) & 0o7;
        wanted.bits() & !granted & 0o7 == 0
    }
}
