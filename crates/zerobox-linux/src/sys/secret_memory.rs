//! Memory that nobody else reads.

use super::{check, prctl};
use rustix::io::Errno;
use std::ptr::NonNull;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Cloned, clone, exit_now, wait_for};
    use libc::c_int;

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
