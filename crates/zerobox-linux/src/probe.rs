//! Tries out, each in a child of its own, what a sandbox is made of. Nothing of it outlives the child, and nothing is
//! told by the number of a version.
//!
//! The steps are those of a start where there are any: the same root, the same capture, the same filter.

use crate::capture;
use crate::cgroup::{Delegated, Group, Setting};
use crate::plan::{Capture, OLDEST_ABI, SCOPED_ABI, SOCKET_ABI, handled, scopes};
use crate::root;
use crate::seccomp::{self, Options};
use crate::sys::{self, Cloned, LandlockRuleset};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MoveMountFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, Signal};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use thiserror::Error;
use zerobox_policy::LoopbackPorts;

/// Something that a kernel and its settings let an ordinary user do, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mechanism {
    /// Make a user namespace and map oneself into it.
    UserNamespace,
    /// Use the rights that one has in it.
    Rights,
    /// Make a root of one's own with the mount calls of Linux 5.12.
    Mounts,
    /// Mount a `/proc` for a process namespace.
    Processes,
    /// Make a network namespace with a loopback.
    Network,
    /// Hand connections over to a listener, by nf_tables.
    Capture,
    /// Mount an overlay.
    Overlay,
    /// Mount a file system of one's own.
    Fuse,
    /// Deny files, and emptying them, by Landlock of ABI 3.
    Landlock,
    /// Keep signals and abstract sockets inside, and control of devices, by Landlock of ABI 6.
    Scopes,
    /// Deny paths of Unix sockets by Landlock of ABI 9.
    SocketPaths,
    /// Refuse system calls.
    Filter,
    /// Answer system calls in another process.
    Mediation,
    /// Join a process's namespace by a descriptor of the process.
    Pidfd,
}

/// The step that failed.
#[derive(Debug, Error)]
#[error("cannot {step}: {source}")]
pub struct ProbeError {
    /// What was tried.
    pub step: String,
    /// What the kernel said.
    pub source: io::Error,
}

/// A step and what the kernel said to it.
type Tried = Result<(), (&'static str, Errno)>;

/// Tries it out. The caller must have one thread only.
///
/// # Errors
/// The step that failed.
pub fn probe(mechanism: Mechanism) -> Result<(), ProbeError> {
    match mechanism {
        Mechanism::UserNamespace => in_namespaces(0, || Ok(())),
        Mechanism::Rights => {
            in_namespaces(0, || at("make a mount namespace", sys::unshare(libc::CLONE_NEWNS)))
        }
        Mechanism::Mounts => in_namespaces(libc::CLONE_NEWNS, mounts),
        Mechanism::Processes => in_namespaces(libc::CLONE_NEWNS | libc::CLONE_NEWPID, processes),
        Mechanism::Network => in_namespaces(0, network),
        Mechanism::Capture => in_namespaces(0, capture_connections),
        Mechanism::Overlay => in_namespaces(libc::CLONE_NEWNS, overlay),
        Mechanism::Fuse => in_namespaces(libc::CLONE_NEWNS, fuse),
        Mechanism::Landlock => in_child(0, landlock),
        Mechanism::Scopes => in_child(0, landlock_scopes),
        Mechanism::SocketPaths => in_child(0, || ruleset(SOCKET_ABI, 0).map(drop)),
        Mechanism::Filter => in_child(0, filter),
        Mechanism::Mediation => in_child(0, mediation),
        Mechanism::Pidfd => in_namespaces(0, pidfd),
    }
}

/// Makes a control group as a run would, bounded by each controller, and removes it.
///
/// # Errors
/// Where none is delegated, or the controller is not passed on, or the kernel refuses the setting.
pub fn probe_control_group(controller: &str) -> Result<(), ProbeError> {
    let failed = |step: &str, source| ProbeError { step: step.to_owned(), source };
    let delegated = Delegated::find().filter(|group| group.has(controller));
    let missing = || failed("find a delegated control group with it", io::ErrorKind::NotFound.into());
    let delegated = delegated.ok_or_else(missing)?;
    let (file, value) = match controller {
        "memory" => ("memory.max", "1073741824"),
        "cpu" => ("cpu.max", "100000 100000"),
        _ => ("pids.max", "1000"),
    };
    let settings = [Setting { file, value: value.to_owned() }];
    Group::create(&delegated.path, &settings)
        .map(drop)
        .map_err(|source| failed("make a control group", source))
}

/// The ABI that Landlock answers with.
pub fn landlock_abi() -> Option<u32> {
    sys::landlock_abi()
}

/// Runs `body` in a child that is in new namespaces of the kinds in `flags`, a user namespace among them, and mapped.
fn in_namespaces(flags: i32, body: impl FnOnce() -> Tried) -> Result<(), ProbeError> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    in_child(libc::CLONE_NEWUSER | flags, move || {
        let write = |path: &'static str, text: String| {
            let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::write(&file, text.as_bytes()).map(drop)
        };
        let map = || {
            write("/proc/self/setgroups", "deny".to_owned())?;
            write("/proc/self/gid_map", format!("{group} {group} 1\n"))?;
            write("/proc/self/uid_map", format!("{user} {user} 1\n"))
        };
        at("map the user into a user namespace (`/proc/self/uid_map`)", map())?;
        body()
    })
}

/// Runs `body` in a child, which is a clone of this process with `flags`.
fn in_child(flags: i32, body: impl FnOnce() -> Tried) -> Result<(), ProbeError> {
    let failed = |step: &str, errno: Errno| ProbeError { step: step.to_owned(), source: errno.into() };
    let (hear, tell) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed("make a pipe", errno))?;
    let child = match sys::clone(flags) {
        Ok(Cloned::Parent(child)) => child,
        Ok(Cloned::Child) => {
            // A probe that hangs is one that failed.
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let said = match body() {
                Ok(()) => vec![0],
                Err((step, errno)) => [&errno.raw_os_error().to_ne_bytes(), step.as_bytes()].concat(),
            };
            let _ = rustix::io::write(&tell, &said);
            sys::exit_now(0)
        }
        Err(errno) => {
            let step =
                if flags & libc::CLONE_NEWUSER != 0 { "make a user namespace" } else { "make a process" };
            return Err(failed(step, errno));
        }
    };
    drop(tell);
    let mut said = [0; 256];
    let count = rustix::io::retry_on_intr(|| rustix::io::read(&hear, &mut said[..])).unwrap_or(0);
    let _ = sys::wait_for(child, 0);
    match said[..count].split_at_checked(4) {
        None if count == 1 => Ok(()),
        None => Err(failed("hear from the child of this probe", Errno::PIPE)),
        Some((errno, step)) => {
            let errno = i32::from_ne_bytes(errno.try_into().unwrap_or_default());
            Err(failed(&String::from_utf8_lossy(step), Errno::from_raw_os_error(errno)))
        }
    }
}

fn at<T>(step: &'static str, result: sys::Result<T>) -> Result<T, (&'static str, Errno)> {
    result.map_err(|errno| (step, errno))
}

fn mounts() -> Tried {
    let root = at("mount an empty root (fsopen, fsmount)", root::empty_root(1 << 20))?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let usr = at("open `/usr`", rustix::fs::open(c"/usr", flags, Mode::empty()))?;
    let tree = at("clone a mount (open_tree)", root::clone_tree(usr.as_fd(), c""))?;
    let read_only = sys::mount_setattr(tree.as_fd(), libc::MOUNT_ATTR_RDONLY, true);
    at("make a mount read-only (mount_setattr)", read_only)?;
    at("make a directory", rustix::fs::mkdirat(&root, c"usr", Mode::from_raw_mode(0o755)))?;
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    at("attach a mount (move_mount)", rustix::mount::move_mount(&tree, c"", &root, c"usr", empty))?;
    at("change the root (pivot_root)", root::pivot(&root))
}

fn processes() -> Tried {
    let mount = || {
        let context = rustix::mount::fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        root::mount(&context, root::inert())
    };
    at("mount a `/proc` of the sandbox's own", mount().map(drop))
}

fn network() -> Tried {
    at("make a network namespace", sys::unshare(libc::CLONE_NEWNET))?;
    let up = || {
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        sys::loopback_up(socket.as_fd())
    };
    at("bring the loopback up", up())
}

fn capture_connections() -> Tried {
    network()?;
    let capture = Capture {
        loopback: LoopbackPorts::None,
        tcp_ports: vec![80],
        udp_ports: vec![53],
        files: Vec::new(),
        reaches_inside: false,
        strict: false,
    };
    let prepared = capture::Prepared::new(&capture);
    let has_6 = at("make every address local", capture::Ground::new().lay())?;
    at("listen for every address", prepared.carry_out(has_6).map(drop))?;
    at("hand connections over (nf_tables, tproxy)", prepared.hand_over())
}

fn overlay() -> Tried {
    let root = at("mount an empty root (fsopen, fsmount)", root::empty_root(1 << 20))?;
    let mount = || {
        for name in [c"lower", c"upper", c"work"] {
            rustix::fs::mkdirat(&root, name, Mode::from_raw_mode(0o755))?;
        }
        let context = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (name, path) in
            [(c"lowerdir", c"/proc/lower"), (c"upperdir", c"/proc/upper"), (c"workdir", c"/proc/work")]
        {
            rustix::mount::fsconfig_set_string(context.as_fd(), name, path)?;
        }
        root::mount(&context, root::inert())
    };
    at("mount an overlay", mount().map(drop))
}

fn fuse() -> Tried {
    let device = rustix::fs::open(c"/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let device = at("open `/dev/fuse`", device)?;
    let mount = || {
        let context = rustix::mount::fsopen(c"fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let own = |id: u32| id.to_string();
        let settings = [
            ("fd", device.as_raw_fd().to_string()),
            ("rootmode", "40000".to_owned()),
            ("user_id", own(rustix::process::geteuid().as_raw())),
            ("group_id", own(rustix::process::getegid().as_raw())),
        ];
        for (name, value) in settings {
            rustix::mount::fsconfig_set_string(context.as_fd(), name, value)?;
        }
        root::mount(&context, root::inert())
    };
    at("mount a FUSE file system", mount().map(drop))
}

fn ruleset(abi: u32, scoped: u64) -> Result<OwnedFd, (&'static str, Errno)> {
    let attr = LandlockRuleset { files: handled(abi), network: 0, scoped };
    at("make a Landlock ruleset", sys::landlock_create(&attr))
}

fn restrict(ruleset: &OwnedFd) -> Tried {
    at("give up new privileges", sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1))?;
    at("enforce a Landlock ruleset", sys::landlock_restrict(ruleset.as_fd()))
}

fn landlock() -> Tried {
    restrict(&ruleset(OLDEST_ABI, 0)?)?;
    refused(Errno::ACCESS, "deny a directory by Landlock", || {
        rustix::fs::open(c"/", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map(drop)
    })
}

fn landlock_scopes() -> Tried {
    let listen = || {
        let name = format!("zerobox-probe-{}", std::process::id());
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, 1)?;
        let client = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok((socket, client, address))
    };
    let (_socket, client, address) = at("listen on an abstract socket", listen())?;
    restrict(&ruleset(SCOPED_ABI, scopes(SCOPED_ABI))?)?;
    refused(Errno::PERM, "keep from an abstract socket outside by Landlock", || {
        rustix::net::connect(&client, &address)
    })?;
    refused(Errno::PERM, "keep signals inside by Landlock", || {
        let parent = rustix::process::getppid().ok_or(Errno::SRCH)?;
        rustix::process::test_kill_process(parent)
    })
}

fn filter() -> Tried {
    at("give up new privileges", sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1))?;
    let program = seccomp::compile(&seccomp::entries(Options::default()), false);
    at("install the system call filter", sys::seccomp(&program, false).map(drop))?;
    refused(Errno::PERM, "refuse a system call", || sys::unshare(libc::CLONE_NEWUSER))
}

/// A listener that says what the number of the parent is.
fn mediation() -> Tried {
    at("give up new privileges", sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1))?;
    let program = seccomp::notify_of(libc::SYS_getppid);
    let listener = at("install a filter that notifies", sys::seccomp(&program, true))?;
    let listener = at("install a filter that notifies", listener.ok_or(Errno::BADF))?;
    match at("make a process", sys::clone(0))? {
        Cloned::Child => {
            let told = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get());
            sys::exit_now(i32::from(told != Some(MADE_UP)))
        }
        Cloned::Parent(child) => {
            let asked = at("hear of a system call", sys::notification(listener.as_fd()))?;
            sys::answer(listener.as_fd(), asked.id, Ok(MADE_UP.into()));
            let (_, status) = at("answer a system call", sys::wait_for(child, 0))?;
            at("answer a system call", if status == 0 { Ok(()) } else { Err(Errno::PROTO) })
        }
    }
}

fn pidfd() -> Tried {
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    let own = at("open a process (pidfd_open)", own)?;
    let taken = rustix::process::pidfd_getfd(&own, own.as_raw_fd(), PidfdGetfdFlags::empty());
    at("take a descriptor of a process (pidfd_getfd)", taken.map(drop))
}

/// That `attempt` fails as it should.
fn refused(errno: Errno, step: &'static str, attempt: impl FnOnce() -> sys::Result<()>) -> Tried {
    match attempt() {
        Err(said) if said == errno => Ok(()),
        Err(said) => Err((step, said)),
        // It worked, which it must not.
        Ok(()) => Err((step, Errno::NOTRECOVERABLE)),
    }
}

/// A number that no process has: it is more than PID_MAX_LIMIT of linux/threads.h.
const MADE_UP: i32 = 1 << 23;
