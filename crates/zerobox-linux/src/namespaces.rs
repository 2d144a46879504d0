//! The namespaces of a sandbox, made while its policy is still being understood.
//!
//! To make a network namespace takes the kernel 0.5 ms, as long as everything that the supervisor has to find out. So a
//! process that shares the supervisor's memory makes it meanwhile: the maker. Once there is a plan, the maker clones init, as a
//! child of the supervisor's and not of its own (CLONE_PARENT), and ends. Nothing of the command ever runs beside it.

use crate::capture::Ground;
use crate::error::SpawnError;
use crate::handoff;
use crate::prepare;
use crate::sys::{self, Cloned, Named, SignalSet, Stack};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Signal};
use rustix::thread::{UnshareFlags, futex};
use std::convert::Infallible;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// Namespaces that are being made. They go when this is dropped.
#[derive(Debug)]
pub struct Namespaces {
    maker: Result<Maker, Errno>,
    kind: NetworkKind,
}

/// Which network they are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkKind {
    /// That of the host.
    Host,
    /// A loopback interface of its own.
    Loopback,
    /// The same, and every address leads to it.
    Captured,
}

/// The process that makes them.
#[derive(Debug)]
struct Maker {
    process: Pid,
    orders: Box<Orders>,
    _stack: Stack,
}

/// What the supervisor and the maker tell each other.
#[derive(Debug)]
struct Orders {
    kind: NetworkKind,
    ground: Option<Ground>,
    supervisor: Pid,
    /// `WAIT`, `START` or `LEAVE`.
    word: AtomicU32,
    /// What init does.
    init: Named,
    /// Of init.
    number: AtomicI32,
    /// Of the step that failed; 0 if none did.
    errno: AtomicI32,
    /// Whether only the network could not be set up.
    network_failed: AtomicU32,
}

impl Namespaces {
    /// Begins to make them, with a network of this `kind`. The caller must have one thread only. What goes wrong is told by
    /// [`crate::spawn`].
    pub fn begin(kind: NetworkKind) -> Self {
        Self { maker: Maker::new(kind), kind }
    }

    pub(crate) fn kind(&self) -> NetworkKind {
        self.kind
    }

    /// The process that clones init, for the control group that init shall be in.
    pub(crate) fn maker(&self) -> Option<Pid> {
        self.maker.as_ref().ok().map(|maker| maker.process)
    }

    /// Makes a process in them that does `task` with a copy of our memory: its number. The task is told whether the network's
    /// addresses of IPv6 lead to it as well.
    pub(crate) fn start(self, task: &dyn Fn(bool) -> Infallible) -> Result<i32, SpawnError> {
        let failed =
            |errno: Errno| SpawnError::Namespaces { source: errno.into(), nested: prepare::is_nested() };
        let maker = self.maker.as_ref().map_err(|errno| failed(*errno))?;
        let orders = &maker.orders;
        orders.init.name(&task);
        maker.tell(START);
        match (orders.number.load(Ordering::Acquire), orders.errno.load(Ordering::Acquire)) {
            (number, _) if number > 0 => Ok(number),
            (_, errno) if orders.network_failed.load(Ordering::Acquire) != 0 => Err(SpawnError::Step {
                step: "make the sandbox's network".to_owned(),
                source: std::io::Error::from_raw_os_error(errno),
            }),
            (_, 0) => Err(SpawnError::Vanished),
            (_, errno) => Err(failed(Errno::from_raw_os_error(errno))),
        }
    }
}

impl Maker {
    fn new(kind: NetworkKind) -> Result<Self, Errno> {
        let stack = Stack::new()?;
        let orders = Box::new(Orders {
            kind,
            ground: (kind == NetworkKind::Captured).then(Ground::new),
            supervisor: rustix::process::getpid(),
            word: AtomicU32::new(WAIT),
            init: Named::default(),
            number: AtomicI32::new(0),
            errno: AtomicI32::new(0),
            network_failed: AtomicU32::new(0),
        });
        // What a terminal sends to the whole group is for the supervisor. Init and the command's process inherit this.
        let before = SignalSet::all().block();
        let process = sys::clone_sharing(libc::CLONE_NEWUSER, &stack, make, &*orders);
        before.set();
        let process = process?;
        handoff::move_apart(process);
        Ok(Self { process, orders, _stack: stack })
    }

    /// Says what to do, and waits for the maker's end.
    fn tell(&self, word: u32) {
        self.orders.word.store(word, Ordering::Release);
        let _ = futex::wake(&self.orders.word, futex::Flags::PRIVATE, 1);
        let _ = sys::wait_for(self.process.as_raw_nonzero().get(), 0);
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        if self.orders.word.load(Ordering::Relaxed) == WAIT {
            self.tell(LEAVE);
        }
    }
}

/// What the maker does. It has the memory of the supervisor, which goes on meanwhile: see [`sys::clone_sharing`].
fn make(orders: &Orders) {
    if rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        return;
    }
    match rustix::process::getppid() {
        Some(parent) if parent == orders.supervisor => {}
        // It has died.
        Some(_) => return,
        // It is in another pid namespace, where init has another number than here.
        None => return orders.errno.store(libc::ESRCH, Ordering::Release),
    }
    let made = make_namespaces(orders);
    handoff::look_until(|| orders.word.load(Ordering::Acquire) != WAIT);
    while orders.word.load(Ordering::Acquire) == WAIT {
        let _ = futex::wait(&orders.word, futex::Flags::PRIVATE, WAIT, None);
    }
    if orders.word.load(Ordering::Acquire) != START {
        return;
    }
    // From here on the supervisor waits for the end of this process.
    match made.and_then(|has_6| Ok((sys::clone(libc::CLONE_PARENT | OF_INIT)?, has_6))) {
        Ok((Cloned::Child, has_6)) => orders.init.call(has_6),
        Ok((Cloned::Parent(number), _)) => orders.number.store(number, Ordering::Release),
        Err(errno) => orders.errno.store(errno.raw_os_error(), Ordering::Release),
    }
}

/// Whether the network's addresses of IPv6 lead to it as well.
fn make_namespaces(orders: &Orders) -> Result<bool, Errno> {
    if orders.kind == NetworkKind::Host {
        return sys::unshare_beside(UnshareFlags::NEWIPC).map(|()| false);
    }
    sys::unshare_beside(UnshareFlags::NEWIPC | UnshareFlags::NEWNET)?;
    let set_up = || {
        // A network namespace has nothing in it but a loopback interface of its own, which is down.
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        sys::loopback_up(socket.as_fd())?;
        orders.ground.as_ref().map_or(Ok(false), Ground::lay)
    };
    set_up().inspect_err(|_| orders.network_failed.store(1, Ordering::Release))
}

const WAIT: u32 = 0;
const START: u32 = 1;
const LEAVE: u32 = 2;
/// The view of init and its number 1 are nobody else's; the other two cost nothing, and the control group is known by then.
const OF_INIT: i32 = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
