//! The system calls that no crate of ours wraps safely. The only `unsafe` code of the workspace.
//!
//! Nothing in here allocates, so that all of it may be used between `clone(2)` and `execve(2)`.

#![allow(clippy::cast_possible_truncation, reason = "each cast is to the width of the kernel's own field")]

use libc::{c_char, c_int, c_long, c_ulong};
use rustix::io::Errno;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A result whose error is a bare `errno`.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// Which side of a `clone(2)` this is.
pub(crate) enum Cloned {
    Parent(i32),
    Child,
}

pub(crate) fn check(result: c_long) -> Result<c_long> {
    if result >= 0 {
        return Ok(result);
    }
    // SAFETY: `__errno_location` points to this thread's errno, which is always valid to read.
    Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
}

pub(crate) fn check_fd(result: c_long) -> Result<OwnedFd> {
    let fd = RawFd::try_from(check(result)?).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made `fd` for us and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn pointer<T>(value: &T) -> usize {
    std::ptr::from_ref(value) as usize
}

/// `clone(2)` without a new stack, as `fork(2)` but with `flags`. The caller must be single-threaded, so that
/// the child finds every lock of the allocator and of the standard library free.
pub(crate) fn clone(flags: c_int) -> Result<Cloned> {
    let flags = c_ulong::from((flags | libc::SIGCHLD) as u32);
    // SAFETY: a null stack makes the child go on with a copy of ours; no memory is shared, since no caller
    // passes CLONE_VM, and the remaining pointers are unused with these flags.
    match check(unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize) })? {
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent(i32::try_from(pid).map_err(|_| Errno::RANGE)?)),
    }
}

/// `unshare(2)`.
pub(crate) fn unshare(flags: c_int) -> Result<()> {
    // SAFETY: no pointers; the caller is single-threaded.
    check(unsafe { libc::syscall(libc::SYS_unshare, flags) }).map(drop)
}

/// `mount_setattr(2)` on a whole detached tree: sets `attributes` and makes every mount of it private.
pub(crate) fn mount_setattr(tree: BorrowedFd<'_>, attributes: u64, recursive: bool) -> Result<()> {
    let attr =
        libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string and `attr` lives through the call, with its true size beside it.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            pointer(&attr),
            size_of_val(&attr),
        )
    })
    .map(drop)
}

/// `close_range(2)` with CLOSE_RANGE_CLOEXEC: every descriptor from `first` on ends at the next exec.
pub(crate) fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: no pointers, and nothing is closed now.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })
        .map(drop)
}

/// `close_range(2)`: closes every descriptor from `first` to `last`. None of them may be owned by a value that is still used.
pub(crate) fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    // SAFETY: no pointers; the caller keeps what it owns out of the range.
    check(unsafe { libc::syscall(libc::SYS_close_range, first as u32, last as u32, 0u32) }).map(drop)
}

/// The ABI that `landlock_create_ruleset(2)` answers with; `None` where there is no Landlock.
pub(crate) fn landlock_abi() -> Option<u32> {
    // SAFETY: a null attribute of size zero with LANDLOCK_CREATE_RULESET_VERSION asks for the number only.
    let abi =
        check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0usize, 0usize, 1u32) }).ok()?;
    u32::try_from(abi).ok().filter(|abi| *abi > 0)
}

/// `struct landlock_ruleset_attr` of linux/landlock.h as of ABI 6. Older kernels take a shorter one.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LandlockRuleset {
    pub(crate) files: u64,
    pub(crate) network: u64,
    pub(crate) scoped: u64,
}

/// `landlock_create_ruleset(2)`. Trailing zero fields are accepted by every kernel that knows Landlock.
pub(crate) fn landlock_create(attr: &LandlockRuleset) -> Result<OwnedFd> {
    let size = if attr.scoped != 0 {
        24usize
    } else if attr.network != 0 {
        16
    } else {
        8
    };
    // SAFETY: `attr` lives through the call and `size` is at most its size.
    check_fd(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, pointer(attr), size, 0u32) })
}

/// `landlock_add_rule(2)` for the tree at `path`.
pub(crate) fn landlock_allow(ruleset: BorrowedFd<'_>, path: BorrowedFd<'_>, access: u64) -> Result<()> {
    #[repr(C, packed)]
    struct PathBeneath {
        allowed_access: u64,
        parent_fd: i32,
    }
    let attr = PathBeneath { allowed_access: access, parent_fd: path.as_raw_fd() };
    let rule_type: c_int = 1;
    // SAFETY: `attr` has the packed layout of `struct landlock_path_beneath_attr` and lives through the call.
    check(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), rule_type, pointer(&attr), 0u32)
    })
    .map(drop)
}

/// `landlock_restrict_self(2)`.
pub(crate) fn landlock_restrict(ruleset: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) }).map(drop)
}

/// `seccomp(2)`: puts `filter` on this process, and returns its listener if `listen`.
pub(crate) fn seccomp(filter: &[libc::sock_filter], listen: bool) -> Result<Option<OwnedFd>> {
    let length = u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    let install = |flags: c_ulong| {
        // SAFETY: `program` points to `length` instructions, which the kernel copies and checks.
        check(unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, pointer(&program))
        })
    };
    if !listen {
        return install(0).map(|_| None);
    }
    // A call that we have begun to act on must not be restarted by a signal. Kernels before 5.19 lack the flag.
    let listener = install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV);
    let listener = match listener {
        Err(Errno::INVAL) => install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER),
        other => other,
    };
    check_fd(listener?).map(Some)
}

/// A notification, `struct seccomp_notif` of linux/seccomp.h.
pub(crate) type Notification = libc::seccomp_notif;

/// Waits for the next notification. `NOENT` if the caller died meanwhile.
pub(crate) fn notification(listener: BorrowedFd<'_>) -> Result<Notification> {
    let mut notification = MaybeUninit::<Notification>::zeroed();
    // SAFETY: the kernel wants a zeroed structure of its own size, which `MaybeUninit::zeroed` is, and fills it.
    check(unsafe { c_long::from(libc::ioctl(listener.as_raw_fd(), NOTIF_RECV, notification.as_mut_ptr())) })?;
    // SAFETY: all-zero bytes are a valid value of this plain structure, and the kernel has overwritten them.
    Ok(unsafe { notification.assume_init() })
}

/// Lets whoever is mediated go on at once and on the processor of its mediator, seccomp_unotify(2); since Linux 6.6, and
/// nothing changes before it.
pub(crate) fn wake_at_once(listener: BorrowedFd<'_>) {
    const SET_FLAGS: c_ulong = 0x4008_2104;
    const SYNC_WAKE_UP: c_ulong = 1;
    // SAFETY: the request takes its argument by value.
    unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) };
}

/// Whether the caller of notification `id` still waits: only then may its process id be trusted.
pub(crate) fn notification_is_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: `id` lives through the call, which only reads it.
    check(unsafe { c_long::from(libc::ioctl(listener.as_raw_fd(), NOTIF_ID_VALID, pointer(&id))) }).is_ok()
}

/// Ends the system call of notification `id` with `result`.
pub(crate) fn answer(listener: BorrowedFd<'_>, id: u64, result: std::result::Result<i64, Errno>) {
    let (val, error) = match result {
        Ok(value) => (value, 0),
        Err(errno) => (0, -errno.raw_os_error()),
    };
    let response = libc::seccomp_notif_resp { id, val, error, flags: 0 };
    // SAFETY: `response` lives through the call, which only reads it. A caller that is gone makes it fail.
    let _ = unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, pointer(&response)) };
}

/// Lets the system call of notification `id` go on as it is. What was seen of it decides nothing: whatever is behind a pointer
/// may have changed by the time the kernel reads it, seccomp_unotify(2).
pub(crate) fn go_on(listener: BorrowedFd<'_>, id: u64) {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    let response = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
    // SAFETY: `response` lives through the call, which only reads it. A caller that is gone makes it fail.
    let _ = unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, pointer(&response)) };
}

/// Puts `fd` into the caller of notification `id`, and returns its number there.
pub(crate) fn add_descriptor(
    listener: BorrowedFd<'_>,
    id: u64,
    fd: BorrowedFd<'_>,
    flags: u32,
) -> Result<c_int> {
    let addfd = libc::seccomp_notif_addfd {
        id,
        flags: 0,
        srcfd: fd.as_raw_fd() as u32,
        newfd: 0,
        newfd_flags: flags,
    };
    // SAFETY: `addfd` lives through the call, which only reads it.
    let number =
        check(unsafe { c_long::from(libc::ioctl(listener.as_raw_fd(), NOTIF_ADDFD, pointer(&addfd))) })?;
    c_int::try_from(number).map_err(|_| Errno::BADF)
}

/// `process_vm_readv(2)`: copies from `address` of `pid` into `buffer`.
pub(crate) fn read_memory(pid: i32, address: u64, buffer: &mut [u8]) -> Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: `local` is our buffer with its length; the remote address is checked by the kernel.
    let count = check(unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) as c_long })?;
    usize::try_from(count).map_err(|_| Errno::RANGE)
}

/// `process_vm_writev(2)`: copies `bytes` to `address` of `pid`.
pub(crate) fn write_memory(pid: i32, address: u64, bytes: &[u8]) -> Result<()> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: `local` is only read; the remote address is checked by the kernel.
    let count = check(unsafe { libc::process_vm_writev(pid, &local, 1, &remote, 1, 0) as c_long })?;
    if count == bytes.len() as c_long { Ok(()) } else { Err(Errno::FAULT) }
}

/// `connect(2)` with an address that is still in the form a program gave it in.
pub(crate) fn connect(socket: BorrowedFd<'_>, address: &[u8]) -> Result<()> {
    let length = libc::socklen_t::try_from(address.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the kernel copies `length` bytes from `address` and checks them.
    check(unsafe { c_long::from(libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), length)) })
        .map(drop)
}

/// How much recvmsg(2) filled of each buffer that it was given.
#[derive(Clone, Copy)]
pub(crate) struct Filled {
    pub(crate) bytes: usize,
    pub(crate) address: usize,
    pub(crate) control: usize,
}

/// `recvmsg(2)` without waiting: one datagram, its sender and its control messages, the latter two in the kernel's
/// form. Not for Unix sockets, whose control messages may hold descriptors.
pub(crate) fn receive_message(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    address: &mut [u8],
    control: &mut [u8],
) -> Result<Filled> {
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero bytes are a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = address.as_mut_ptr().cast();
    message.msg_namelen = address.len() as libc::socklen_t;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len() as _;
    // SAFETY: `message` points to the three buffers with their lengths, and all of them live through the call.
    let count = check(unsafe {
        libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC)
    } as c_long)?;
    Ok(Filled {
        bytes: count as usize,
        // The kernel tells the length that it would have wanted.
        address: (message.msg_namelen as usize).min(address.len()),
        control: (message.msg_controllen as usize).min(control.len()),
    })
}

/// `sendmsg(2)` without waiting, to an address and with control messages that are in the kernel's form.
pub(crate) fn send_message(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    address: &[u8],
    control: &[u8],
) -> Result<()> {
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero bytes are a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = address.as_ptr().cast_mut().cast();
    message.msg_namelen = address.len() as libc::socklen_t;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_ptr().cast_mut().cast();
    message.msg_controllen = control.len() as _;
    // SAFETY: `message` points to the three buffers with their lengths, which the kernel only reads.
    check(unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) }
        as c_long)
    .map(drop)
}

/// The process at the other end of a connected Unix socket, `SO_PEERCRED` of unix(7); 0 if it has no number here.
pub(crate) fn peer_pid(socket: BorrowedFd<'_>) -> Result<i32> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of_val(&credentials) as libc::socklen_t;
    // SAFETY: `credentials` and `length` live through the call, and `length` is the size of `credentials`.
    check(c_long::from(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            std::ptr::from_mut(&mut credentials).cast(),
            &mut length,
        )
    }))?;
    Ok(credentials.pid)
}

/// The network namespace that a socket belongs to, by the number that the kernel knows it by (5.14).
pub(crate) fn network_of(socket: BorrowedFd<'_>) -> Result<u64> {
    let mut cookie = 0u64;
    let mut length = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: `cookie` and `length` live through the call, and `length` is the size of `cookie`.
    check(c_long::from(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &mut length,
        )
    }))?;
    Ok(cookie)
}

/// Joins those `namespaces` of a child, setns(2) by pidfd.
pub(crate) fn join_namespaces_of(process: BorrowedFd<'_>, namespaces: c_int) -> Result<()> {
    // SAFETY: no pointers; the caller is single-threaded.
    check(unsafe { libc::syscall(libc::SYS_setns, process.as_raw_fd(), namespaces) }).map(drop)
}

/// `getrusage(2)` of the children that were waited for: seconds in user mode and in the kernel, and the most bytes that one of
/// them had resident.
pub(crate) fn usage_of_children() -> (f64, f64, u64) {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` lives through the call, which fills it; it fails for a bad pointer only.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    #[allow(clippy::cast_precision_loss, reason = "seconds of a run are small")]
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let kibibytes = u64::try_from(usage.ru_maxrss).unwrap_or_default();
    (seconds(usage.ru_utime), seconds(usage.ru_stime), kibibytes * 1024)
}

/// waitpid(2) for any child, without waiting: its number and wait status, or `None` if none has ended.
pub(crate) fn reap() -> Result<Option<(i32, i32)>> {
    wait_for(-1, libc::WNOHANG).map(|(pid, status)| (pid > 0).then_some((pid, status)))
}

/// Whether child `pid` waits to be waited for, waitid(2), or is none of ours.
pub(crate) fn has_ended(pid: i32) -> bool {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` has the kernel's size for it, and is all zero where the call leaves it, which is a valid value.
    let info = unsafe {
        if libc::waitid(libc::P_PID, pid.cast_unsigned(), info.as_mut_ptr(), options) != 0 {
            return true;
        }
        info.assume_init()
    };
    info.si_signo != 0
}

/// waitpid(2) for child `pid`, or any for -1.
pub(crate) fn wait_for(pid: i32, options: c_int) -> Result<(i32, i32)> {
    let mut status = 0;
    loop {
        // SAFETY: `status` lives through the call.
        match check(c_long::from(unsafe { libc::waitpid(pid, &mut status, options) })) {
            Ok(ended) => return Ok((i32::try_from(ended).map_err(|_| Errno::RANGE)?, status)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Brings the loopback interface of this network namespace up, netdevice(7).
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: `request` is a valid `ifreq` and lives through the call.
    check(unsafe {
        c_long::from(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, pointer(&request)))
    })
    .map(drop)
}

/// Sets an option of a socket that is on or off, for those that rustix has no name for.
pub(crate) fn set_option(socket: BorrowedFd<'_>, level: c_int, name: c_int) -> Result<()> {
    let on: c_int = 1;
    let size = libc::socklen_t::try_from(size_of::<c_int>()).unwrap_or_default();
    // SAFETY: the pointer is to a live integer of the size that is given.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), size) }.into())
        .map(drop)
}

/// Empties the bounding set, and takes from uid 0 what it gives, so that nothing that this process executes ever has a
/// capability, capabilities(7).
pub(crate) fn forbid_capabilities() -> Result<()> {
    for capability in 0..=LAST_CAPABILITY {
        // EINVAL ends the list of this kernel's capabilities.
        // SAFETY: no pointers.
        if check(unsafe { c_long::from(libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0)) })
            == Err(Errno::INVAL)
        {
            break;
        }
    }
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong)?;
    prctl(libc::PR_SET_SECUREBITS, SECURE_NO_ROOT)
}

/// Keeps only the capabilities of `kept` (bits) in this process.
pub(crate) fn keep_capabilities(kept: u64) -> Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let half = |bits: u64| Data { effective: bits as u32, permitted: bits as u32, inheritable: 0 };
    let data = [half(kept & 0xffff_ffff), half(kept >> 32)];
    // SAFETY: version 3 of the interface takes exactly these two structures, capget(2).
    check(unsafe { libc::syscall(libc::SYS_capset, pointer(&header), pointer(&data)) }).map(drop)
}

/// `prctl(2)` with one argument.
pub(crate) fn prctl(option: c_int, argument: c_ulong) -> Result<()> {
    // SAFETY: the options used here take a number, never a pointer.
    check(unsafe { c_long::from(libc::prctl(option, argument, 0, 0, 0)) }).map(drop)
}

/// `execve(2)`; returns only on failure. Both arrays end with a null pointer.
pub(crate) fn execve(path: &CStr, argv: &[*const c_char], envp: &[*const c_char]) -> Errno {
    debug_assert!(
        argv.last().is_some_and(|last| last.is_null()) && envp.last().is_some_and(|last| last.is_null())
    );
    // SAFETY: both arrays are null-terminated and hold pointers to C strings that `Prepared` owns.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// A set of signals.
#[derive(Clone, Copy)]
pub(crate) struct SignalSet(libc::sigset_t);

impl std::fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalSet")
    }
}

impl SignalSet {
    pub(crate) fn of(signals: &[c_int]) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set that it is given, and `sigaddset` changes an initialised one.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), *signal);
            }
            Self(set.assume_init())
        }
    }

    /// Blocks these signals and returns the set that was blocked before.
    pub(crate) fn block(&self) -> Self {
        self.change(libc::SIG_BLOCK)
    }

    /// Makes this the set of blocked signals.
    pub(crate) fn set(&self) {
        self.change(libc::SIG_SETMASK);
    }

    fn change(&self, how: c_int) -> Self {
        let mut before = MaybeUninit::uninit();
        // SAFETY: `self` is initialised and `before` is filled by the call, which cannot fail with a valid `how`.
        unsafe {
            libc::sigprocmask(how, &self.0, before.as_mut_ptr());
            Self(before.assume_init())
        }
    }

    /// A signalfd(2) for these signals.
    pub(crate) fn descriptor(&self) -> Result<OwnedFd> {
        // SAFETY: `self` is initialised; -1 asks for a new descriptor.
        check_fd(c_long::from(unsafe { libc::signalfd(-1, &self.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) }))
    }
}

/// The next signal of a signalfd: its number, and whether the kernel itself (a terminal) sent it.
pub(crate) fn next_signal(descriptor: BorrowedFd<'_>) -> Option<(c_int, bool)> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer has the size that is passed.
    let count = unsafe { libc::read(descriptor.as_raw_fd(), info.as_mut_ptr().cast(), size) };
    if usize::try_from(count).ok()? != size {
        return None;
    }
    // SAFETY: the kernel has written the whole structure.
    let info = unsafe { info.assume_init() };
    Some((c_int::try_from(info.ssi_signo).ok()?, info.ssi_code == SI_KERNEL))
}

/// Makes a write to a pipe that nobody reads an error and no signal, for this process only.
pub(crate) fn ignore_sigpipe() {
    // SAFETY: SIG_IGN installs no code of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// The process group of this process; 0 inside a sandbox, where it has no number.
pub(crate) fn process_group() -> i32 {
    // SAFETY: no pointers, and the call cannot fail.
    unsafe { libc::getpgrp() }
}

/// The foreground process group of a terminal, tcgetpgrp(3).
pub(crate) fn foreground(terminal: BorrowedFd<'_>) -> Option<i32> {
    // SAFETY: no pointers.
    let group = unsafe { libc::tcgetpgrp(terminal.as_raw_fd()) };
    (group > 0).then_some(group)
}

/// Makes `group` the foreground process group of a terminal, tcsetpgrp(3).
pub(crate) fn set_foreground(terminal: BorrowedFd<'_>, group: i32) {
    // SAFETY: no pointers. A terminal that is gone needs no foreground group.
    let _ = unsafe { libc::tcsetpgrp(terminal.as_raw_fd(), group) };
}

/// `kill(2)`.
pub(crate) fn kill(pid: i32, signal: c_int) -> Result<()> {
    // SAFETY: no pointers.
    check(c_long::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// Ends the process at once, without running anything of the standard library.
pub(crate) fn exit_now(code: c_int) -> ! {
    // SAFETY: `_exit` has no requirements.
    unsafe { libc::_exit(code) }
}

/// Takes over a descriptor that another process put into our shared table.
pub(crate) fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: the command's side made this descriptor in the table that it shares with us and leaves it to us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A descriptor of the caller's that stays the caller's.
pub(crate) fn inherited(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: used for 0, 1, 2 and for descriptors that the caller asked to keep, which nobody closes.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// The arguments and the environment that the kernel gave this process, which others can read as long as it runs.
///
/// A program that does not start with [`c_main`] has none as far as we know.
static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(std::ptr::null_mut());

/// Remembers where the arguments are.
///
/// # Safety
/// `argv` is what `main` was given: an array of C strings that ends with a null pointer and stays where it is.
pub unsafe fn remember_arguments(argv: *mut *mut c_char) {
    ARGUMENTS.store(argv, Ordering::Relaxed);
}

/// Overwrites argument `index` of this process, counted from the program's name, from byte `from` on. The caller is
/// single-threaded, so that nobody reads it meanwhile.
pub fn overwrite_argument(index: usize, from: usize) {
    let argv = ARGUMENTS.load(Ordering::Relaxed);
    if argv.is_null() {
        return;
    }
    for at in 0..=index {
        // SAFETY: as `remember_arguments` was promised, the array goes on until a null pointer, which ends the loop.
        let argument = unsafe { *argv.add(at) };
        if argument.is_null() {
            return;
        }
        if at == index {
            // SAFETY: it is a C string in memory of this process that it may write, proc(5).
            unsafe { overwrite(argument, from) };
        }
    }
}

/// Overwrites the value of each variable `name` of this process, which is an empty one afterwards, unless the process is
/// somebody else's program, who may need it. The caller is single-threaded, and nobody keeps a reference to it.
pub fn overwrite_variable(name: &[u8]) {
    if ARGUMENTS.load(Ordering::Relaxed).is_null() {
        return;
    }
    unsafe extern "C" {
        static environ: *const *mut c_char;
    }
    // SAFETY: the caller is single-threaded, so that nobody changes `environ`, environ(7).
    let mut at = unsafe { environ };
    while !at.is_null() {
        // SAFETY: `environ` is an array of C strings that ends with a null pointer.
        let variable = unsafe { *at };
        if variable.is_null() {
            return;
        }
        // SAFETY: the string is there as long as the variable is.
        let text = unsafe { CStr::from_ptr(variable) }.to_bytes();
        if text.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"=")) {
            // SAFETY: as above; the borrow has ended.
            unsafe { overwrite(variable, name.len() + 1) };
        }
        // SAFETY: the null pointer that ends the array has not come yet.
        at = unsafe { at.add(1) };
    }
}

/// # Safety
/// `text` is a C string that may be written and that nobody else uses.
unsafe fn overwrite(text: *mut c_char, from: usize) {
    let mut at = 0;
    // SAFETY: the bytes up to the NUL that ends the string are of it.
    while unsafe { *text.add(at) } != 0 {
        if at >= from {
            // SAFETY: as above. Volatile, so that it is done though nobody reads it.
            unsafe { text.add(at).write_volatile(0) };
        }
        at += 1;
    }
}

/// Keeps other processes of the same user, and core files, from the memory of this process, prctl(2) and ptrace(2).
///
/// # Errors
/// When the kernel refuses, which it has no reason to.
pub fn forbid_inspection() -> std::io::Result<()> {
    Ok(prctl(libc::PR_SET_DUMPABLE, 0)?)
}

/// Memory for a secret: on pages of its own, which are empty in a clone of this process, in no core file, and on no disk
/// if the kernel lets us lock them. It is wiped when dropped.
pub struct SecretMemory {
    start: NonNull<u8>,
    capacity: usize,
    length: usize,
}

impl SecretMemory {
    /// Room for `capacity` bytes.
    ///
    /// # Errors
    /// When there is no memory, or the kernel cannot keep clones from it.
    pub fn new(capacity: usize) -> std::io::Result<Self> {
        let capacity = capacity.max(1);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps with nothing.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), capacity, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        let memory = Self { start, capacity, length: 0 };
        for advice in [libc::MADV_WIPEONFORK, libc::MADV_DONTDUMP] {
            // SAFETY: the range is the mapping, and these advices change nothing of what is in it.
            check(unsafe { libc::madvise(memory.start.as_ptr().cast(), capacity, advice) }.into())?;
        }
        // SAFETY: the range is the mapping. Being over the limit of locked memory leaves it as it is.
        let _ = unsafe { libc::mlock(memory.start.as_ptr().cast(), capacity) };
        Ok(memory)
    }

    /// All of the room, of which the first bytes may be in use.
    pub fn room(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has `capacity` bytes, all initialised, that only this value leads to.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.capacity) }
    }

    /// Says that the first `length` bytes of the room are in use.
    pub fn set_length(&mut self, length: usize) {
        self.length = length.min(self.capacity);
    }
}

impl std::ops::Deref for SecretMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: as in `room`, and `length` is at most `capacity`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for SecretMemory {
    fn drop(&mut self) {
        for at in 0..self.capacity {
            // SAFETY: within the mapping. Volatile, so that it is done though nobody reads it.
            unsafe { self.start.as_ptr().add(at).write_volatile(0) };
        }
        // SAFETY: the mapping is ours, and nothing leads to it any more.
        let _ = unsafe { libc::munmap(self.start.as_ptr().cast(), self.capacity) };
    }
}

impl std::fmt::Debug for SecretMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretMemory")
    }
}

/// The C entry point for a program whose `main` is `$main`, a function that returns a C exit code.
///
/// Without the standard library's own start the caller's disposition of SIGPIPE stays as it is, for the command to
/// inherit, and a start is 0.1 ms shorter: it would look for the stack's guard page in `/proc/self/maps`.
#[macro_export]
macro_rules! c_main {
    ($main:path) => {
        // SAFETY: no other function of the program has this name; libc calls it once, as the type says.
        #[unsafe(no_mangle)]
        extern "C" fn main(_: i32, arguments: *mut *mut ::std::ffi::c_char) -> i32 {
            // SAFETY: these are the arguments of the process.
            unsafe { $crate::remember_arguments(arguments) };
            $main()
        }
    };
}

const FLAG_WAIT_KILLABLE_RECV: c_ulong = 1 << 5;
const NOTIF_RECV: c_ulong = 0xc050_2100;
const NOTIF_SEND: c_ulong = 0xc018_2101;
const NOTIF_ID_VALID: c_ulong = 0x4008_2102;
const NOTIF_ADDFD: c_ulong = 0x4018_2103;
const SO_NETNS_COOKIE: c_int = 71;
const SI_KERNEL: c_int = 0x80;
const LAST_CAPABILITY: c_ulong = 63;
/// SECBIT_NOROOT and SECBIT_NO_SETUID_FIXUP and SECBIT_NO_CAP_AMBIENT_RAISE, each with its lock,
/// capabilities(7): being uid 0 gives no capability.
const SECURE_NO_ROOT: c_ulong = 0b1100_1111;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_finds_secret_memory_empty() {
        let mut memory = SecretMemory::new(5000).unwrap();
        memory.room()[..6].copy_from_slice(b"secret");
        memory.set_length(6);
        assert_eq!(&*memory, b"secret");
        // The child does nothing but look: this process has other threads.
        match clone(0).unwrap() {
            Cloned::Child => exit_now(c_int::from(memory.iter().any(|byte| *byte != 0))),
            Cloned::Parent(child) => assert_eq!(wait_for(child, 0).unwrap().1, 0),
        }
    }
}
