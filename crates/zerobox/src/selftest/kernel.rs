//! Attempts on the kernel itself: namespaces, mounts, rights, and calls that sandboxes are left by.

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, OpenTreeFlags};
use rustix::pty::OpenptFlags;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use zerobox_linux::attempts;

/// One thing to ask of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum KernelAct {
    UserNamespace,
    CloneUserNamespace,
    Mount,
    OpenTree,
    PivotRoot,
    Chroot,
    Capabilities,
    SetId,
    MakeDevice,
    IoUring,
    Bpf,
    Perf,
    Keyring,
    Userfaultfd,
    Fanotify,
    Kexec,
    Reboot,
    X32,
    Type,
}

impl KernelAct {
    pub(super) const ALL: &[Self] = &[
        Self::UserNamespace,
        Self::CloneUserNamespace,
        Self::Mount,
        Self::OpenTree,
        Self::PivotRoot,
        Self::Chroot,
        Self::Capabilities,
        Self::SetId,
        Self::MakeDevice,
        Self::IoUring,
        Self::Bpf,
        Self::Perf,
        Self::Keyring,
        Self::Userfaultfd,
        Self::Fanotify,
        Self::Kexec,
        Self::Reboot,
        Self::X32,
        Self::Type,
    ];

    /// What is tried, for people.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::UserNamespace => "make a user namespace (`unshare`)",
            Self::CloneUserNamespace => "make a user namespace (`clone`)",
            Self::Mount => "mount",
            Self::OpenTree => "take a copy of the mounts (`open_tree`)",
            Self::PivotRoot => "change the root (`pivot_root`)",
            Self::Chroot => "change the root (`chroot`)",
            Self::Capabilities => "have a capability",
            Self::SetId => "make a set-id file",
            Self::MakeDevice => "make a device",
            Self::IoUring => "`io_uring`",
            Self::Bpf => "`bpf`",
            Self::Perf => "`perf_event_open`",
            Self::Keyring => "`keyctl`",
            Self::Userfaultfd => "`userfaultfd`",
            Self::Fanotify => "`fanotify`",
            Self::Kexec => "`kexec_load`",
            Self::Reboot => "`reboot`",
            Self::X32 => "a call of the x32 ABI",
            Self::Type => "type into a terminal (`TIOCSTI`)",
        }
    }

    pub(super) fn carry_out(self) -> io::Result<String> {
        let done = |()| String::new();
        match self {
            Self::UserNamespace => attempts::unshare(libc::CLONE_NEWUSER).map(done),
            Self::CloneUserNamespace => attempts::clone_into_user_namespace().map(done),
            Self::Mount => in_namespace(libc::CLONE_NEWNS, || {
                // Whatever namespace this is in, nobody else shall see it.
                let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
                rustix::mount::mount_change("/", private)?;
                rustix::mount::mount("/proc", "/proc", "", MountFlags::BIND, None)?;
                Ok(String::new())
            }),
            Self::OpenTree => in_namespace(libc::CLONE_NEWNS, || {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE
                    | OpenTreeFlags::AT_RECURSIVE
                    | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                Ok(rustix::mount::open_tree(CWD, "/", flags).map(|_| String::new())?)
            }),
            // The arguments are wrong: whoever may is told so by another error than whoever may not.
            Self::PivotRoot => in_namespace(libc::CLONE_NEWNS, || {
                match rustix::process::pivot_root("/proc/self", "/proc/self") {
                    Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::BUSY) => Ok(String::new()),
                    Err(errno) => Err(errno.into()),
                }
            }),
            Self::Chroot => {
                in_namespace(libc::CLONE_NEWNS, || Ok(rustix::process::chroot("/proc").map(done)?))
            }
            Self::Capabilities => capabilities(),
            Self::SetId => with_file(|path| {
                let mode = Mode::RUSR | Mode::XUSR | Mode::SUID;
                Ok(rustix::fs::chmod(path, mode)?)
            }),
            Self::MakeDevice => make_device(),
            Self::IoUring => attempts::io_uring().map(done),
            Self::Bpf => attempts::bpf().map(done),
            Self::Perf => attempts::perf().map(done),
            Self::Keyring => attempts::keyring().map(done),
            Self::Userfaultfd => attempts::userfaultfd().map(done),
            Self::Fanotify => attempts::fanotify().map(done),
            Self::Kexec => attempts::kexec().map(done),
            Self::Reboot => attempts::reboot().map(done),
            Self::X32 => attempts::x32().map(done),
            Self::Type => type_into_own_terminal().map(done),
        }
    }
}

/// Does `task` where it has the rights of root if it can get to such a place: a namespace of its own, for which a user first
/// makes a user namespace. Where neither is to be had, it is done here, where it should not work either.
pub(super) fn in_namespace(kind: i32, task: impl FnOnce() -> io::Result<String>) -> io::Result<String> {
    let _ = attempts::unshare(kind).or_else(|_| attempts::unshare(libc::CLONE_NEWUSER | kind));
    task()
}

fn capabilities() -> io::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    // The bounding set is that of programs to come: only together with no_new_privs is it worth nothing.
    let mut sets = status.lines().filter(|line| line.starts_with("Cap"));
    let held = sets.find(|line| !line.ends_with("0000000000000000"));
    held.map(str::to_owned).ok_or_else(|| io::Error::from_raw_os_error(libc::EPERM))
}

fn with_file(task: impl FnOnce(&PathBuf) -> io::Result<()>) -> io::Result<String> {
    let path = std::env::temp_dir().join(format!("zerobox-file-{}", super::stand::random_name()?));
    fs::File::options().write(true).create_new(true).open(&path)?;
    let done = task(&path);
    fs::remove_file(&path)?;
    done.map(|()| String::new())
}

/// The kernel's own null device under another name.
fn make_device() -> io::Result<String> {
    let path = std::env::temp_dir().join(format!("zerobox-device-{}", super::stand::random_name()?));
    rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3))?;
    fs::remove_file(path).map(|()| String::new())
}

fn type_into_own_terminal() -> io::Result<()> {
    // The end of the terminal hangs up on its session.
    attempts::outlive_the_terminal();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&terminal)?;
    let name = rustix::pty::ptsname(&terminal, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::open(name, flags, Mode::empty())?;
    attempts::type_into(terminal.as_fd())
}
