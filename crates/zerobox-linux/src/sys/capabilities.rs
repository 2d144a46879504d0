//! Giving capabilities up, capabilities(7).

#![allow(clippy::cast_possible_truncation, reason = "each cast is to the width of the kernel's own field")]

use super::{Result, check, pointer, prctl};
use libc::{c_int, c_long, c_ulong};
use rustix::io::Errno;

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

const LAST_CAPABILITY: c_ulong = 63;

/// SECBIT_NOROOT and SECBIT_NO_SETUID_FIXUP and SECBIT_NO_CAP_AMBIENT_RAISE, each with its lock,
/// capabilities(7): being uid 0 gives no capability.
const SECURE_NO_ROOT: c_ulong = 0b1100_1111;
