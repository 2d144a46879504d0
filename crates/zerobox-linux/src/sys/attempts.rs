//! What a self-test tries: system calls that a sandbox has to refuse, each in its most harmless form.
//!
//! They give nothing that their caller does not have.

#![allow(clippy::cast_possible_truncation, reason = "each cast is to the width of the kernel's own field")]

use crate::sys::{self, Cloned, SignalSet, check, check_fd, pointer};
use libc::{c_int, c_long, c_void};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Runs `task` in a child, for `limit` at most, and returns its exit code: 128+n if signal n ended it. The caller has one
/// thread only.
///
/// # Errors
/// When no process can be made, and `TIMEDOUT` if it took longer.
pub fn apart(limit: Duration, task: impl FnOnce() -> i32) -> io::Result<i32> {
    let child = match sys::clone(0)? {
        Cloned::Child => sys::exit_now(task()),
        Cloned::Parent(child) => child,
    };
    let in_time = ends_within(child, limit);
    if !matches!(in_time, Ok(true)) {
        let _ = sys::kill(child, libc::SIGKILL);
    }
    let (_, status) = sys::wait_for(child, 0)?;
    match in_time {
        Ok(true) if libc::WIFSIGNALED(status) => Ok(128 + libc::WTERMSIG(status)),
        Ok(true) => Ok(libc::WEXITSTATUS(status)),
        Ok(false) => Err(Errno::TIMEDOUT.into()),
        Err(errno) => Err(errno.into()),
    }
}

fn ends_within(child: i32, limit: Duration) -> sys::Result<bool> {
    let pid = Pid::from_raw(child).ok_or(Errno::SRCH)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec::try_from(limit).map_err(|_| Errno::INVAL)?;
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&limit)).map(|ready| ready > 0)
}

/// A process that is nobody's any more if its parent ends would stay: asks the kernel to end this one then.
pub fn end_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}

/// Lets any process of the user trace this one, also where Yama closes that.
pub fn allow_tracers() {
    const PR_SET_PTRACER: c_int = 0x5961_6d61;
    // A kernel without Yama has no such option, and nothing to allow.
    let _ = sys::prctl(PR_SET_PTRACER, libc::c_ulong::MAX);
}

/// Notices a signal, SIGUSR1, instead of ending by it.
#[derive(Debug)]
pub struct Noticed(OwnedFd);

impl Noticed {
    /// From now on.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let set = SignalSet::of(&[libc::SIGUSR1]);
        set.block();
        Ok(Self(set.descriptor()?))
    }

    /// Whether one has come since the last time.
    pub fn take(&self) -> bool {
        sys::next_signal(self.0.as_fd()).is_some()
    }
}

impl AsFd for Noticed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Ignores the signals that a terminal or a caller ends programs with.
pub fn outlive_the_terminal() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
        // SAFETY: SIG_IGN installs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// unshare(2). The caller has one thread only.
///
/// # Errors
/// As the system call.
pub fn unshare(flags: i32) -> io::Result<()> {
    Ok(sys::unshare(flags)?)
}

/// clone(2) with a new user namespace; the child ends at once.
///
/// # Errors
/// As the system call.
pub fn clone_into_user_namespace() -> io::Result<()> {
    match sys::clone(libc::CLONE_NEWUSER)? {
        Cloned::Child => sys::exit_now(0),
        Cloned::Parent(child) => Ok(sys::wait_for(child, 0).map(drop)?),
    }
}

/// truncate(2) to nothing, without opening the file.
///
/// # Errors
/// As the system call.
pub fn truncate(path: &CStr) -> io::Result<()> {
    // SAFETY: the path is a C string that lives through the call.
    Ok(check(c_long::from(unsafe { libc::truncate(path.as_ptr(), 0) })).map(drop)?)
}

/// process_vm_readv(2).
///
/// # Errors
/// As the system call.
pub fn read_memory(pid: i32, address: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    let count = sys::read_memory(pid, address, &mut buffer)?;
    buffer.truncate(count);
    Ok(buffer)
}

/// process_vm_writev(2).
///
/// # Errors
/// As the system call.
pub fn write_memory(pid: i32, address: u64, bytes: &[u8]) -> io::Result<()> {
    Ok(sys::write_memory(pid, address, bytes)?)
}

/// Reads memory as a debugger does, ptrace(2), and lets go.
///
/// # Errors
/// As the system calls.
pub fn trace(pid: i32, address: u64, length: usize) -> io::Result<Vec<u8>> {
    let request = |request: libc::c_uint, address: u64, data: usize| {
        // SAFETY: these requests take numbers; PEEKDATA's is an address of the other process, which the kernel checks.
        check(unsafe { libc::syscall(libc::SYS_ptrace, c_long::from(request), pid, address, data) })
    };
    request(libc::PTRACE_SEIZE, 0, 0)?;
    request(libc::PTRACE_INTERRUPT, 0, 0)?;
    sys::wait_for(pid, libc::__WALL)?;
    let mut bytes = Vec::new();
    while bytes.len() < length {
        // The system call itself, unlike the library's function, writes the word where `data` points.
        let mut word = 0u64;
        request(libc::PTRACE_PEEKDATA, address + bytes.len() as u64, std::ptr::from_mut(&mut word) as usize)?;
        bytes.extend(word.to_ne_bytes());
    }
    request(libc::PTRACE_DETACH, 0, 0)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// A System V segment of shared memory with `bytes` in it. It is gone with the last process that is attached to it.
///
/// # Errors
/// As shmget(2) and shmat(2).
pub fn share_memory(bytes: &[u8]) -> io::Result<i32> {
    // SAFETY: no pointers.
    let id = check(c_long::from(unsafe { libc::shmget(libc::IPC_PRIVATE, bytes.len(), 0o600) }))? as c_int;
    let attached = attach(id, 0).map(|address| {
        // SAFETY: the segment is a new mapping of at least `bytes.len()` bytes that nothing else leads to.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address.cast(), bytes.len()) };
    });
    // SAFETY: IPC_RMID takes no structure. Linux lets others attach as long as somebody is, shmctl(2).
    check(c_long::from(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) }))?;
    attached.map(|()| id)
}

/// What is in a System V segment of shared memory.
///
/// # Errors
/// As shmat(2).
pub fn read_shared_memory(id: i32, length: usize) -> io::Result<Vec<u8>> {
    let address = attach(id, libc::SHM_RDONLY)?;
    let mut bytes = vec![0; length.min(SMALLEST_SEGMENT)];
    // SAFETY: a segment is a page at least, and nobody detaches it while it is copied.
    unsafe { std::ptr::copy_nonoverlapping(address.cast_const().cast(), bytes.as_mut_ptr(), bytes.len()) };
    // SAFETY: the address is that of the attached segment, and nothing refers to it.
    unsafe { libc::shmdt(address) };
    Ok(bytes)
}

fn attach(id: i32, flags: c_int) -> io::Result<*mut c_void> {
    // SAFETY: a null address lets the kernel choose one, which overlaps with nothing.
    let address = unsafe { libc::shmat(id, std::ptr::null(), flags) };
    if address as isize == -1 { Err(io::Error::last_os_error()) } else { Ok(address) }
}

/// io_uring_setup(2) of one entry.
///
/// # Errors
/// As the system call.
pub fn io_uring() -> io::Result<()> {
    // `struct io_uring_params` has 120 bytes; zero is valid.
    let parameters = [0u64; 15];
    // SAFETY: the kernel writes no more than the structure's size.
    Ok(check_fd(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1u32, pointer(&parameters)) }).map(drop)?)
}

/// bpf(2): an array of one element.
///
/// # Errors
/// As the system call.
pub fn bpf() -> io::Result<()> {
    const MAP_CREATE: c_int = 0;
    const ARRAY: u32 = 2;
    // type, key size, value size, entries, flags.
    let attribute = [ARRAY, 4, 8, 1, 0];
    // SAFETY: the attribute lives through the call and has the size that is given.
    let map =
        unsafe { libc::syscall(libc::SYS_bpf, MAP_CREATE, pointer(&attribute), size_of_val(&attribute)) };
    Ok(check_fd(map).map(drop)?)
}

/// perf_event_open(2): the clock of this process, without the kernel's part.
///
/// # Errors
/// As the system call.
pub fn perf() -> io::Result<()> {
    const SOFTWARE: u32 = 1;
    const SIZE: u32 = 64;
    const EXCLUDE_KERNEL_AND_HYPERVISOR: u64 = 0b11 << 5;
    // type and size, clock, period, sample type, read format, flags, and the rest of the oldest structure.
    let mut attribute = [0u64; 8];
    attribute[0] = u64::from(SOFTWARE) | u64::from(SIZE) << 32;
    attribute[5] = EXCLUDE_KERNEL_AND_HYPERVISOR;
    // SAFETY: the attribute lives through the call and says its own size.
    let event =
        unsafe { libc::syscall(libc::SYS_perf_event_open, pointer(&attribute), 0, -1i32, -1i32, 0usize) };
    Ok(check_fd(event).map(drop)?)
}

/// keyctl(2): the number of the user's keyring.
///
/// # Errors
/// As the system call.
pub fn keyring() -> io::Result<()> {
    const GET_KEYRING_ID: c_int = 0;
    const USER_KEYRING: c_int = -4;
    // SAFETY: no pointers.
    Ok(check(unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, USER_KEYRING, 1) }).map(drop)?)
}

/// userfaultfd(2), for faults of user mode only, which needs no right.
///
/// # Errors
/// As the system call.
pub fn userfaultfd() -> io::Result<()> {
    const USER_MODE_ONLY: c_int = 1;
    let flags = libc::O_CLOEXEC | USER_MODE_ONLY;
    // SAFETY: no pointers.
    Ok(check_fd(unsafe { libc::syscall(libc::SYS_userfaultfd, flags) }).map(drop)?)
}

/// kexec_load(2) with more segments than there can be: whoever may load a kernel is told so by `INVAL`.
///
/// # Errors
/// As the system call.
pub fn kexec() -> io::Result<()> {
    const TOO_MANY: usize = 1 << 16;
    // SAFETY: the number is refused before the pointer is looked at, `kexec_load_check` in kernel/kexec.c.
    match check(unsafe { libc::syscall(libc::SYS_kexec_load, 0usize, TOO_MANY, 0usize, 0usize) }) {
        Ok(_) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// reboot(2) with a wrong magic number: whoever may is told so by `INVAL`.
///
/// # Errors
/// As the system call.
pub fn reboot() -> io::Result<()> {
    // SAFETY: no pointers; without the magic number nothing happens, `reboot` in kernel/reboot.c.
    match check(unsafe { libc::syscall(libc::SYS_reboot, 0, 0, 0, 0usize) }) {
        Ok(_) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// fanotify_init(2) as an ordinary user may, since Linux 5.13.
///
/// # Errors
/// As the system call.
pub fn fanotify() -> io::Result<()> {
    const REPORT_FID: c_int = 0x200;
    // SAFETY: no pointers.
    Ok(check_fd(unsafe { libc::syscall(libc::SYS_fanotify_init, REPORT_FID, 0) }).map(drop)?)
}

/// getpid by its number of the x32 ABI, which passes a list of numbers that forgets the bit.
///
/// # Errors
/// As the system call; `NOSYS` where there is no such ABI.
pub fn x32() -> io::Result<()> {
    const X32_BIT: c_long = 0x4000_0000;
    if cfg!(target_arch = "x86_64") {
        // SAFETY: no pointers.
        Ok(check(unsafe { libc::syscall(X32_BIT | libc::SYS_getpid) }).map(drop)?)
    } else {
        Err(Errno::NOSYS.into())
    }
}

/// ioctl_tty(2) TIOCSTI: types a character into `terminal`, which becomes that of this process, in a session of its own.
///
/// # Errors
/// As the system calls.
pub fn type_into(terminal: BorrowedFd<'_>) -> io::Result<()> {
    let _ = rustix::process::setsid();
    rustix::process::ioctl_tiocsctty(terminal)?;
    let character = b'x';
    // SAFETY: the character lives through the call, which only reads it.
    let typed = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSTI as _, pointer(&character)) };
    Ok(check(c_long::from(typed)).map(drop)?)
}

/// A segment is whole pages, whatever was asked for.
const SMALLEST_SEGMENT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_can_be_read_though_it_has_been_removed() {
        let id = share_memory(b"canary").unwrap();
        assert_eq!(read_shared_memory(id, 6).unwrap(), b"canary");
    }

    #[test]
    fn a_child_that_takes_too_long_is_ended() {
        let limit = Duration::from_millis(50);
        assert_eq!(apart(limit, || 7).unwrap(), 7);
        let ended = apart(limit, || {
            loop {
                std::hint::spin_loop();
            }
        });
        assert_eq!(ended.unwrap_err().raw_os_error(), Some(libc::ETIMEDOUT));
    }
}
