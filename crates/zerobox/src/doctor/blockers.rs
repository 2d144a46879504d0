//! What is known to keep users from namespaces. It explains what was found out, and decides nothing.

use super::{Finding, Need, State};
use std::path::Path;
use zerobox_linux::ProbeError;

/// Settings of this machine.
#[derive(Debug)]
pub(super) struct Blockers {
    /// `kernel.unprivileged_userns_clone`, of Debian's kernels.
    clone: Option<u64>,
    /// `user.max_user_namespaces`.
    most: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, of Ubuntu since 23.10.
    apparmor: Option<u64>,
    /// Whether this process has a system call filter.
    filtered: bool,
    container: bool,
    nested: bool,
    wsl: bool,
    /// What is mounted in `/proc`.
    over_proc: Option<String>,
}

impl Blockers {
    pub(super) fn look() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let number = |path: &str| text(path).trim().parse().ok();
        let status = text("/proc/self/status");
        let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
        Self {
            clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            most: number("/proc/sys/user/max_user_namespaces"),
            apparmor: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            filtered: mode.is_some_and(|mode| mode.trim() != "0"),
            container: ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists()),
            nested: std::env::var_os("ZEROBOX").is_some_and(|value| value == "1"),
            wsl: text("/proc/sys/kernel/osrelease").to_ascii_lowercase().contains("microsoft"),
            over_proc: over_proc(&text("/proc/self/mountinfo")),
        }
    }

    /// What mends the lack of a user namespace, or of rights in it.
    pub(super) fn mend_namespaces(&self, failure: &ProbeError) -> String {
        let is_refused = failure.step == "make a user namespace";
        let said = failure.source.raw_os_error();
        if self.nested {
            "leave the outer zerobox: a sandbox allows no further namespaces".to_owned()
        } else if is_refused && (self.most == Some(0) || said == Some(libc::ENOSPC)) {
            "sysctl -w user.max_user_namespaces=10000".to_owned()
        } else if is_refused && self.clone == Some(0) {
            "sysctl -w kernel.unprivileged_userns_clone=1".to_owned()
        } else if self.apparmor == Some(1) && !self.filtered {
            APPARMOR.to_owned()
        } else if self.filtered || self.container {
            "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined ..."
                .to_owned()
        } else if said == Some(libc::EINVAL) || said == Some(libc::ENOSYS) {
            "a kernel with `CONFIG_USER_NS`".to_owned()
        } else if is_refused {
            "leave the chroot or the security policy (SELinux, AppArmor) that refuses it to this process"
                .to_owned()
        } else {
            APPARMOR.to_owned()
        }
    }

    /// What mends a `/proc` that cannot be mounted: the kernel shows none to a user who sees less of another one,
    /// `mount_too_revealing` in fs/namespace.c.
    pub(super) fn mend_proc(&self) -> String {
        match &self.over_proc {
            Some(path) if self.container => {
                format!("docker run --security-opt systempaths=unconfined ... (`{path}` is masked)")
            }
            Some(path) => format!("umount {path} (something is mounted over it, or `/proc` has `hidepid`)"),
            None => {
                "docker run --security-opt systempaths=unconfined ...; or mount `/proc` where there is none"
                    .to_owned()
            }
        }
    }

    /// The Windows subsystem, where one has to know that it is not a machine of its own.
    pub(super) fn wsl(&self) -> Option<Finding> {
        self.wsl.then(|| Finding {
            name: "wsl",
            what: "this is the Windows Subsystem for Linux".to_owned(),
            state: State::Held,
            need: Need::Extra,
            detail: Some(
                "programs of Windows can be started from inside what is granted of `/mnt` and `/init`"
                    .to_owned(),
            ),
            costs: Some("nothing, as long as neither is allowed"),
            mend: None,
        })
    }
}

/// The first mount below `/proc` that may hide something of it, or `/proc` itself if it hides processes, proc(5).
fn over_proc(mountinfo: &str) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        Some((before.split(' ').nth(4)?, after))
    });
    let hides = |(path, rest): &(&str, &str)| match *path {
        "/proc" => rest.contains("hidepid=") || rest.contains("subset="),
        // An empty directory by design hides nothing.
        "/proc/sys/fs/binfmt_misc" => false,
        _ => path.starts_with("/proc/"),
    };
    mounts.into_iter().find(hides).map(|(path, _)| path.to_owned())
}

/// Ubuntu takes the rights in a new user namespace away from programs without such a profile.
const APPARMOR: &str = "\
put this into /etc/apparmor.d/zerobox, with the path of zerobox, and run `apparmor_parser -r /etc/apparmor.d/zerobox`:
  abi <abi/4.0>,
  include <tunables/global>
  profile zerobox /usr/local/bin/zerobox flags=(unconfined) {
    userns,
    include if exists <local/zerobox>
  }";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_covers_proc() {
        let line =
            |path: &str, options: &str| format!("22 28 0:21 / {path} rw,nosuid - proc proc {options}\n");
        assert_eq!(over_proc(&line("/proc", "rw")), None);
        assert_eq!(over_proc(&line("/proc", "rw,hidepid=invisible")), Some("/proc".into()));
        let masked =
            line("/proc", "rw") + &line("/proc/sys/fs/binfmt_misc", "rw") + &line("/proc/kcore", "rw");
        assert_eq!(over_proc(&masked), Some("/proc/kcore".into()));
    }
}
