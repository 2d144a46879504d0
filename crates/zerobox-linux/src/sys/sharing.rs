//! A process that shares our memory and descriptors, as a thread does, and nothing else: it has namespaces of its own.

use super::{Result, check};
use libc::{c_int, c_long, c_void};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use std::convert::Infallible;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A stack for such a process, and for what it clones, which goes on with a copy of it.
#[derive(Debug)]
pub(crate) struct Stack(*mut c_void);

impl Stack {
    /// Memory is taken page by page, as it is used. What runs over the end faults.
    pub(crate) fn new() -> Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::STACK;
        // SAFETY: the kernel chooses the place, so that nothing that is in use is mapped over; and the lowest page is taken
        // from what was just mapped.
        unsafe {
            let start = rustix::mm::mmap_anonymous(std::ptr::null_mut(), STACK_SIZE, protection, flags)?;
            let stack = Self(start);
            rustix::mm::mprotect(start, GUARD_SIZE, MprotectFlags::empty())?;
            Ok(stack)
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size, and whoever used it has ended: see `clone_sharing`.
        let _ = unsafe { rustix::mm::munmap(self.0, STACK_SIZE) };
    }
}

/// `clone(2)` with CLONE_VM and CLONE_FILES and `flags`: runs `task` on `stack` in a new process, whose number is returned.
///
/// The caller keeps `stack` and `with` until that process has ended. `task` runs beside the caller and has the caller's
/// thread-local values: it must not allocate, and of system calls use those that leave `errno` alone (those of rustix do), but
/// while the caller waits for it.
pub(crate) fn clone_sharing<T: Sync>(flags: c_int, stack: &Stack, task: fn(&T), with: &T) -> Result<Pid> {
    struct Call<T> {
        task: fn(&T),
        with: *const T,
    }
    extern "C" fn enter<T>(call: *mut c_void) -> c_int {
        // SAFETY: `call` is the `Call` below, whose value the caller keeps until this process has ended.
        unsafe {
            let call = &*call.cast::<Call<T>>();
            (call.task)(&*call.with);
        }
        0
    }
    // SAFETY: the top of the stack has room for a `Call` at an address of its alignment, which nobody else uses. The child runs
    // below it, on a stack that the caller keeps, and ends with `_exit` when `enter` returns, clone(2).
    unsafe {
        let call = stack.0.byte_add(STACK_SIZE - CALL_ROOM).cast::<Call<T>>();
        call.write(Call { task, with: std::ptr::from_ref(with) });
        let flags = flags | libc::CLONE_VM | libc::CLONE_FILES | libc::SIGCHLD;
        let child = check(c_long::from(libc::clone(enter::<T>, call.cast(), flags, call.cast())))?;
        i32::try_from(child).ok().and_then(Pid::from_raw).ok_or(Errno::RANGE)
    }
}

/// `unshare(2)` without a touch on `errno`.
pub(crate) fn unshare_beside(flags: UnshareFlags) -> Result<()> {
    // SAFETY: descriptors stay shared, as `flags` are namespaces only.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// A function that one process names, and that another, which shares its memory, lets its own clone call.
#[derive(Debug, Default)]
pub(crate) struct Named(AtomicPtr<c_void>);

impl Named {
    /// The caller keeps `function` until the other process has ended.
    pub(crate) fn name(&self, function: &&dyn Fn(bool) -> Infallible) {
        self.0.store(std::ptr::from_ref(function).cast_mut().cast(), Ordering::Release);
    }

    /// Calls it with `found`, if it was named.
    pub(crate) fn call(&self, found: bool) {
        let function = self.0.load(Ordering::Acquire).cast::<&dyn Fn(bool) -> Infallible>();
        // SAFETY: it is null or the pointer that `name` was given, to something that lives as long as the caller waits for this
        // process, in memory that is shared with or copied from the caller's.
        if let Some(function) = unsafe { function.as_ref() } {
            function(found);
        }
    }
}

/// That of a thread is 2 MiB; here run init and the start of a command.
const STACK_SIZE: usize = 1 << 20;
const GUARD_SIZE: usize = 64 << 10;
/// At the top of a stack, for what is called: a multiple of what a stack pointer is aligned to.
const CALL_ROOM: usize = 64;
