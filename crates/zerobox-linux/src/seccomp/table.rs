//! What the filter does to each system call, with the reason.
//!
//! Everything that is not in the table and not newer than the table is allowed: the mounts, the namespaces and
//! Landlock hold the files and the network, and this filter takes away the kernel's rarely used doors. Calls with
//! numbers above [`NEWEST`] answer ENOSYS, so that a kernel's new call is closed until somebody has looked at it
//! (flatpak CVE-2021-41133). Arguments are compared on their low 32 bits, since the kernel itself cuts these
//! arguments to an `int` (snapd CVE-2019-7303).

#![allow(clippy::cast_possible_truncation, reason = "numbers of system calls and families are small")]

use super::observed;
use libc::{EAFNOSUPPORT, ENOSYS, EOPNOTSUPP, EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT};
use serde::Serialize;
use std::borrow::Cow;
use zerobox_policy::Observation;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It fails with this `errno`.
    Fail(i32),
    /// The init process carries it out in the caller's place.
    Mediate,
    /// It is carried out as if there were no filter, and init looks at what it is about before.
    Observe,
}

/// A comparison of one argument: `argument & mask`, equal or not to `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Which argument, from 0.
    pub argument: u8,
    /// The bits that count.
    pub mask: u32,
    /// What they are compared with.
    pub value: u32,
    /// Whether they have to be equal, or have to differ.
    pub equal: bool,
}

/// Conditions that must all hold, and what happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Case {
    /// The conditions; none always hold.
    pub when: &'static [Condition],
    /// The action.
    pub action: Action,
}

/// The row of one system call. The first case that holds decides; without one the call is allowed.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The number of the call on this architecture.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// What happens.
    pub cases: Cow<'static, [Case]>,
    /// Why.
    pub reason: &'static str,
}

/// What a run needs of the filter beyond the fixed rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Options {
    /// Connections are mediated, because Landlock of this kernel cannot hold Unix sockets (before ABI 9), or because the
    /// command inherits a socket of the host's network.
    pub mediate_sockets: bool,
    /// The processors were chosen by affinity, which the command may then not change.
    pub fix_affinity: bool,
    /// Landlock of this kernel does not keep signals inside (before ABI 6), and the caller is in the command's process group.
    pub spare_group: bool,
    /// How much init looks at, for the report.
    pub observation: Observation,
}

impl Options {
    /// Whether init gets notifications of calls.
    pub(crate) fn needs_listener(self) -> bool {
        self.mediate_sockets || self.observation != Observation::Off
    }
}

impl Entry {
    /// What happens to the call with these arguments.
    pub(crate) fn action(&self, arguments: &[u64; 6]) -> Option<Action> {
        let holds = |condition: &Condition| {
            let argument = arguments[usize::from(condition.argument)] as u32;
            (argument & condition.mask == condition.value) == condition.equal
        };
        self.cases.iter().find(|case| case.when.iter().all(holds)).map(|case| case.action)
    }
}

/// The rows that apply with `options`.
pub fn entries(options: Options) -> Vec<Entry> {
    let mut entries = ALWAYS.to_vec();
    #[cfg(target_arch = "x86_64")]
    entries.extend_from_slice(X86);
    entries.extend_from_slice(if options.mediate_sockets { MEDIATED_SOCKETS } else { SOCKETS });
    if options.fix_affinity {
        entries.extend_from_slice(AFFINITY);
    }
    if options.spare_group {
        entries.extend_from_slice(GROUP);
    }
    observed::add(options.observation, &mut entries);
    entries.sort_by_key(|entry| entry.number);
    entries
}

pub(super) const fn is(argument: u8, value: u32) -> Condition {
    Condition { argument, mask: u32::MAX, value, equal: true }
}

pub(super) const fn is_not(argument: u8, value: u32) -> Condition {
    Condition { argument, mask: u32::MAX, value, equal: false }
}

pub(super) const fn any(argument: u8, mask: u32) -> Condition {
    Condition { argument, mask, value: 0, equal: false }
}

pub(super) const fn masked_is(argument: u8, mask: u32, value: u32) -> Condition {
    Condition { argument, mask, value, equal: true }
}

const fn masked_is_not(argument: u8, mask: u32, value: u32) -> Condition {
    Condition { argument, mask, value, equal: false }
}

const fn fail(when: &'static [Condition], errno: i32) -> Case {
    Case { when, action: Action::Fail(errno) }
}

const DENY: &[Case] = &[fail(&[], EPERM)];
const UNKNOWN: &[Case] = &[fail(&[], ENOSYS)];

macro_rules! rows {
    ($($name:ident $cases:expr, $reason:expr;)*) => {
        &[$(Entry {
            number: paste_number!($name),
            name: stringify!($name),
            cases: Cow::Borrowed($cases),
            reason: $reason,
        }),*]
    };
}

/// `SYS_name` of libc; the constants are small and positive.
macro_rules! paste_number {
    ($name:ident) => {
        $crate::seccomp::table::numbers::$name as u32
    };
}
pub(super) use paste_number;

/// libc's constants under the plain names of the calls, and those that it does not have yet.
#[allow(non_upper_case_globals)]
pub(super) mod numbers {
    #[cfg(target_arch = "x86_64")]
    pub(in super::super) use libc::{
        SYS__sysctl as _sysctl, SYS_access as access, SYS_chmod as chmod, SYS_chown as chown,
        SYS_creat as creat, SYS_ioperm as ioperm, SYS_iopl as iopl, SYS_kexec_file_load as kexec_file_load,
        SYS_lchown as lchown, SYS_link as link, SYS_lstat as lstat, SYS_mkdir as mkdir, SYS_mknod as mknod,
        SYS_modify_ldt as modify_ldt, SYS_open as open, SYS_readlink as readlink, SYS_rename as rename,
        SYS_rmdir as rmdir, SYS_stat as stat, SYS_symlink as symlink, SYS_sysfs as sysfs,
        SYS_unlink as unlink, SYS_uselib as uselib, SYS_ustat as ustat, SYS_utime as utime,
        SYS_utimes as utimes,
    };
    pub(in super::super) use libc::{
        SYS_acct as acct, SYS_add_key as add_key, SYS_bpf as bpf, SYS_chdir as chdir, SYS_chroot as chroot,
        SYS_clone as clone, SYS_clone3 as clone3, SYS_connect as connect, SYS_delete_module as delete_module,
        SYS_execve as execve, SYS_execveat as execveat, SYS_faccessat as faccessat,
        SYS_faccessat2 as faccessat2, SYS_fanotify_init as fanotify_init, SYS_fanotify_mark as fanotify_mark,
        SYS_fchmod as fchmod, SYS_fchmodat as fchmodat, SYS_fchownat as fchownat,
        SYS_finit_module as finit_module, SYS_fsconfig as fsconfig, SYS_fsmount as fsmount,
        SYS_fsopen as fsopen, SYS_fspick as fspick, SYS_init_module as init_module,
        SYS_io_uring_enter as io_uring_enter, SYS_io_uring_register as io_uring_register,
        SYS_io_uring_setup as io_uring_setup, SYS_ioctl as ioctl, SYS_ioprio_set as ioprio_set,
        SYS_kexec_load as kexec_load, SYS_keyctl as keyctl, SYS_kill as kill, SYS_linkat as linkat,
        SYS_lookup_dcookie as lookup_dcookie, SYS_lremovexattr as lremovexattr, SYS_lsetxattr as lsetxattr,
        SYS_mkdirat as mkdirat, SYS_mknodat as mknodat, SYS_mount as mount,
        SYS_mount_setattr as mount_setattr, SYS_move_mount as move_mount, SYS_newfstatat as newfstatat,
        SYS_nfsservctl as nfsservctl, SYS_open_by_handle_at as open_by_handle_at, SYS_open_tree as open_tree,
        SYS_openat as openat, SYS_openat2 as openat2, SYS_perf_event_open as perf_event_open,
        SYS_pivot_root as pivot_root, SYS_prlimit64 as prlimit64, SYS_quotactl as quotactl,
        SYS_quotactl_fd as quotactl_fd, SYS_readlinkat as readlinkat, SYS_reboot as reboot,
        SYS_removexattr as removexattr, SYS_renameat as renameat, SYS_renameat2 as renameat2,
        SYS_request_key as request_key, SYS_sched_setaffinity as sched_setaffinity, SYS_sendmmsg as sendmmsg,
        SYS_sendmsg as sendmsg, SYS_sendto as sendto, SYS_setns as setns, SYS_setpriority as setpriority,
        SYS_setxattr as setxattr, SYS_socket as socket, SYS_socketpair as socketpair, SYS_statx as statx,
        SYS_swapoff as swapoff, SYS_swapon as swapon, SYS_symlinkat as symlinkat, SYS_syslog as syslog,
        SYS_truncate as truncate, SYS_umount2 as umount2, SYS_unlinkat as unlinkat, SYS_unshare as unshare,
        SYS_userfaultfd as userfaultfd, SYS_utimensat as utimensat, SYS_vhangup as vhangup,
    };
    pub(in super::super) const fchmodat2: libc::c_long = 452;
}

/// The newest call that somebody has looked at: `removexattrat` of Linux 6.13.
pub(crate) const NEWEST: u32 = 466;

/// Every flag of clone(2) that makes a namespace. CLONE_NEWTIME is in unshare(2) only, where clone(2) has the
/// exit signal.
const NAMESPACES: u32 = 0x7e02_0000;
const NEW_TIME: u32 = 0x80;
const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;
const CREATES: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;

const MOUNTS: &str = "the view of the file system is made before the command runs and stays";
const KEYRINGS: &str = "keyrings are not namespaced: they hold the user's keys";
const IO_URING: &str = "its requests pass no filter";
const MODULES: &str = "the kernel's code";
const SET_ID_FILES: &str = "a set-id file in a granted directory would act outside with the user's rights";
const OBSOLETE: &str = "obsolete: attack surface without users";

const ALWAYS: &[Entry] = rows! {
    mount DENY, MOUNTS;
    umount2 DENY, MOUNTS;
    pivot_root DENY, MOUNTS;
    chroot DENY, MOUNTS;
    open_tree DENY, MOUNTS;
    move_mount DENY, MOUNTS;
    mount_setattr DENY, MOUNTS;
    fsopen DENY, MOUNTS;
    fsconfig DENY, MOUNTS;
    fsmount DENY, MOUNTS;
    fspick DENY, MOUNTS;
    unshare &[fail(&[any(0, NAMESPACES | NEW_TIME)], EPERM)], "a new user namespace gives capabilities back";
    clone &[fail(&[any(0, NAMESPACES)], EPERM)], "a new user namespace gives capabilities back";
    clone3 UNKNOWN, "its flags are behind a pointer; libc falls back to clone";
    setns DENY, "other namespaces are not for the command";
    add_key DENY, KEYRINGS;
    request_key DENY, KEYRINGS;
    keyctl DENY, KEYRINGS;
    bpf DENY, "programs in the kernel";
    perf_event_open DENY, "sees more than its own process";
    userfaultfd DENY, "holds the kernel still in the middle of an exploit";
    io_uring_setup DENY, IO_URING;
    io_uring_enter DENY, IO_URING;
    io_uring_register DENY, IO_URING;
    init_module DENY, MODULES;
    finit_module DENY, MODULES;
    delete_module DENY, MODULES;
    kexec_load DENY, MODULES;
    reboot DENY, "the machine";
    swapon DENY, "the machine";
    swapoff DENY, "the machine";
    acct DENY, "the machine";
    quotactl DENY, "the machine";
    quotactl_fd DENY, "the machine";
    syslog DENY, "the kernel's log names addresses and other processes";
    vhangup DENY, "the caller's terminal";
    fanotify_init DENY, "watches whole file systems";
    fanotify_mark DENY, "watches whole file systems";
    open_by_handle_at DENY, "opens files that no path of the sandbox leads to";
    lookup_dcookie DENY, OBSOLETE;
    nfsservctl DENY, OBSOLETE;
    prlimit64 &[fail(&[is_not(0, 0)], EPERM)], "the limits of init are not for the command to lower";
    setpriority &[fail(&[is(0, 1)], EPERM)], "the process group is the caller's too";
    ioprio_set &[fail(&[is(0, 2)], EPERM)], "the process group is the caller's too";
    ioctl &[
        fail(&[is(1, 0x5412)], EPERM),
        fail(&[is(1, 0x541c)], EPERM),
    ], "TIOCSTI and TIOCLINUX type into the caller's terminal (CVE-2017-5226, CVE-2023-28100)";
    fchmod &[fail(&[any(1, SET_ID)], EPERM)], SET_ID_FILES;
    fchmodat &[fail(&[any(2, SET_ID)], EPERM)], SET_ID_FILES;
    fchmodat2 &[fail(&[any(2, SET_ID)], EPERM)], SET_ID_FILES;
    mknodat &[fail(&[any(2, SET_ID)], EPERM)], SET_ID_FILES;
    openat &[fail(&[any(2, CREATES), any(3, SET_ID)], EPERM)], SET_ID_FILES;
    openat2 UNKNOWN, "its mode is behind a pointer, and could make a set-id file";
};

#[cfg(target_arch = "x86_64")]
const X86: &[Entry] = rows! {
    chmod &[fail(&[any(1, SET_ID)], EPERM)], SET_ID_FILES;
    creat &[fail(&[any(1, SET_ID)], EPERM)], SET_ID_FILES;
    mknod &[fail(&[any(1, SET_ID)], EPERM)], SET_ID_FILES;
    open &[fail(&[any(1, CREATES), any(2, SET_ID)], EPERM)], SET_ID_FILES;
    kexec_file_load DENY, MODULES;
    iopl DENY, "ports of the machine";
    ioperm DENY, "ports of the machine";
    modify_ldt DENY, "segments, the source of many exploits";
    uselib DENY, OBSOLETE;
    ustat DENY, OBSOLETE;
    sysfs DENY, OBSOLETE;
    _sysctl DENY, OBSOLETE;
};

const FAMILIES: &str = "of the address families only UNIX, INET, INET6 and NETLINK_ROUTE: AF_VSOCK and others ignore \
                        the network namespace";
const FAMILY: Case =
    fail(&[is_not(0, AF_UNIX), is_not(0, AF_INET), is_not(0, AF_INET6), is_not(0, AF_NETLINK)], EAFNOSUPPORT);
const ROUTE_ONLY: Case = fail(&[is(0, AF_NETLINK), is_not(2, 0)], EPROTONOSUPPORT);
/// TCP, UDP and ICMP: SCTP, MPTCP and DCCP would go around rules for TCP.
const PROTOCOL: Case = fail(
    &[
        is_not(0, AF_UNIX),
        is_not(0, AF_NETLINK),
        is_not(2, 0),
        is_not(2, 1),
        is_not(2, 6),
        is_not(2, 17),
        is_not(2, 58),
    ],
    EPROTONOSUPPORT,
);
const PAIR_FAMILY: Case = fail(&[is_not(0, AF_UNIX)], EAFNOSUPPORT);

const SOCKETS: &[Entry] = rows! {
    socket &[FAMILY, ROUTE_ONLY, PROTOCOL], FAMILIES;
    socketpair &[PAIR_FAMILY], FAMILIES;
};

/// A datagram socket sends to any address by sendmsg(2), whose address is behind a pointer. `SOCK_RAW` is the
/// same as `SOCK_DGRAM` to AF_UNIX (unix_create in net/unix/af_unix.c).
const DATAGRAMS: &[Condition] = &[is(0, AF_UNIX), masked_is_not(1, 0xf, 1), masked_is_not(1, 0xf, 5)];

const MEDIATED_SOCKETS: &[Entry] = rows! {
    socket &[FAMILY, ROUTE_ONLY, PROTOCOL, fail(DATAGRAMS, ESOCKTNOSUPPORT)],
        "families as below; and a Unix datagram could be sent to any socket of the host";
    socketpair &[PAIR_FAMILY, Case { when: DATAGRAMS, action: Action::Mediate }],
        "a pair of datagram sockets becomes one of sequenced packets, which cannot be addressed elsewhere";
    connect &[Case { when: &[], action: Action::Mediate }],
        "init connects to sockets that were made inside, and to granted ones";
    sendto &[fail(&[masked_is(3, MSG_FASTOPEN, MSG_FASTOPEN)], EOPNOTSUPP)], FAST_OPEN;
    sendmsg &[fail(&[masked_is(2, MSG_FASTOPEN, MSG_FASTOPEN)], EOPNOTSUPP)], FAST_OPEN;
    sendmmsg &[fail(&[masked_is(3, MSG_FASTOPEN, MSG_FASTOPEN)], EOPNOTSUPP)], FAST_OPEN;
};

const FAST_OPEN: &str =
    "it would connect without connect(2); the answer is that of a kernel without TCP Fast Open";
const MSG_FASTOPEN: u32 = libc::MSG_FASTOPEN as u32;

const AFFINITY: &[Entry] = rows! {
    sched_setaffinity DENY, "the processors are the limit of this run";
};

/// Only the number 0 names the group: its own number means nothing inside.
const GROUP: &[Entry] = rows! {
    kill &[fail(&[is(0, 0)], EPERM)], "the process group is the caller's too";
};

const AF_UNIX: u32 = libc::AF_UNIX as u32;
const AF_INET: u32 = libc::AF_INET as u32;
const AF_INET6: u32 = libc::AF_INET6 as u32;
const AF_NETLINK: u32 = libc::AF_NETLINK as u32;
