//! The file in memory through which the supervisor gives its orders, memfd_create(2).

use crate::prepare::Orders;
use crate::sys::Result;
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Made before init is, which inherits it with the command's process.
#[derive(Debug)]
pub(crate) struct OrderFile(OwnedFd);

impl OrderFile {
    pub(crate) fn create() -> Result<Self> {
        rustix::fs::memfd_create(c"zerobox", MemfdFlags::CLOEXEC).map(Self)
    }

    pub(crate) fn write(&self, orders: &Orders) -> Result<()> {
        let bytes = postcard::to_allocvec(orders).map_err(|_| Errno::INVAL)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let count = rustix::io::retry_on_intr(|| rustix::io::write(&self.0, rest))?;
            rest = &rest[count..];
        }
        Ok(())
    }

    pub(crate) fn read(&self) -> Result<Orders> {
        let size = usize::try_from(rustix::fs::fstat(&self.0)?.st_size).map_err(|_| Errno::INVAL)?;
        let mut bytes = vec![0; size];
        let mut filled = 0;
        while filled < size {
            match rustix::io::retry_on_intr(|| rustix::io::pread(&self.0, &mut bytes[filled..], filled as u64))? {
                0 => return Err(Errno::IO),
                count => filled += count,
            }
        }
        postcard::from_bytes(&bytes).map_err(|_| Errno::INVAL)
    }
}
