//! The memory of a run, added up by init where no control group bounds it.
//!
//! What is resident, and files in memory that nobody has mapped: memfds that a descriptor leads to, and segments of
//! System V. Pages that processes share count once. What a descriptor on its way through a socket leads to is not seen,
//! nor what the kernel itself holds for the run.

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use std::collections::HashMap;
use std::io::{Error, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A look at the memory of all processes from time to time.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    limit: u64,
    next: Instant,
}

impl MemoryWatch {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, next: Instant::now() + PERIOD }
    }

    /// Looks, if it is time to, whether all processes together have more than allowed.
    pub(crate) fn is_exceeded(&mut self) -> bool {
        if Instant::now() < self.next {
            return false;
        }
        // A watch that cannot see ends the run.
        let exceeded = self.used().map_or(true, |used| used > self.limit);
        self.next = Instant::now() + PERIOD;
        exceeded
    }

    /// At most what is used, if that is within the limit; otherwise what is.
    fn used(&self) -> Result<u64> {
        let mut processes = Vec::new();
        let mut most = kib(&std::fs::read_to_string("/proc/meminfo")?, "Shmem:").unwrap_or(0);
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit)
                && let Some(process) = Process::find(entry.path())?
            {
                most += process.resident;
                processes.push(process);
            }
        }
        if most <= self.limit {
            return Ok(most);
        }
        let (mut own, mut mapped, mut files) = (0, 0, HashMap::new());
        let memory = device_of_memory()?;
        for process in processes {
            let pages = process.pages()?;
            own += pages.own;
            mapped += pages.shared;
            process.files(memory, &mut files)?;
        }
        // What is mapped is mostly what the files hold.
        Ok(own + mapped.max(files.values().sum::<u64>() + segments()?))
    }
}

/// A live thread of a process: the leader may be dead and show nothing.
struct Process {
    path: PathBuf,
    resident: u64,
}

/// Bytes that are resident.
struct Pages {
    own: u64,
    shared: u64,
}

impl Process {
    /// `None` for one that has no memory any more.
    fn find(path: PathBuf) -> Result<Option<Self>> {
        match resident(&path)? {
            0 => {}
            resident => return Ok(Some(Self { path, resident })),
        }
        for task in if_there(std::fs::read_dir(path.join("task")))?.into_iter().flatten() {
            let path = task?.path();
            let resident = resident(&path)?;
            if resident > 0 {
                return Ok(Some(Self { path, resident }));
            }
        }
        Ok(None)
    }

    fn pages(&self) -> Result<Pages> {
        let text = match std::fs::read_to_string(self.path.join("smaps_rollup")) {
            // A program of the host that may not be read does not let us look closer.
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => String::new(),
            text => if_there(text)?.unwrap_or_default(),
        };
        Ok(match (kib(&text, "Pss_Anon:"), kib(&text, "Pss_Shmem:")) {
            (Some(own), Some(shared)) => Pages { own, shared },
            _ => Pages { own: resident(&self.path)?, shared: 0 },
        })
    }

    /// Adds the files on the device `memory` that are open, with what they hold.
    fn files(&self, memory: u64, files: &mut HashMap<u64, u64>) -> Result<()> {
        let entries = match std::fs::read_dir(self.path.join("fd")) {
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => return Ok(()),
            entries => if_there(entries)?,
        };
        for entry in entries.into_iter().flatten() {
            let Some(entry) = if_there(entry)? else { break };
            if let Some(file) = if_there(std::fs::metadata(entry.path()))?.filter(|file| file.dev() == memory)
            {
                files.insert(file.ino(), file.blocks() * 512);
            }
        }
        Ok(())
    }
}

fn resident(process: &Path) -> Result<u64> {
    let numbers = if_there(std::fs::read_to_string(process.join("statm")))?.unwrap_or_default();
    let pages: u64 = numbers.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    Ok(pages * rustix::param::page_size() as u64)
}

/// The device that memfds are files of.
fn device_of_memory() -> Result<u64> {
    let file = rustix::fs::memfd_create(c"", MemfdFlags::CLOEXEC)?;
    Ok(rustix::fs::fstat(&file)?.st_dev)
}

/// The bytes of all System V segments of the sandbox.
fn segments() -> Result<u64> {
    let table = if_there(std::fs::read_to_string("/proc/sysvipc/shm"))?.unwrap_or_default();
    let resident = |row: &str| row.split_whitespace().nth(RESIDENT)?.parse::<u64>().ok();
    Ok(table.lines().skip(1).filter_map(resident).sum())
}

/// The number of a line such as `Shmem:  12 kB`, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse::<u64>().ok().map(|number| number << 10)
}

/// A process may end while we look at it.
fn if_there<T>(found: Result<T>) -> Result<Option<T>> {
    let gone = |error: &Error| {
        let errno = Errno::from_io_error(error);
        errno == Some(Errno::NOENT) || errno == Some(Errno::SRCH)
    };
    match found {
        Err(error) if gone(&error) => Ok(None),
        found => found.map(Some),
    }
}

/// How often we look.
pub(crate) const PERIOD: Duration = Duration::from_millis(100);
/// The column `rss` of `/proc/sysvipc/shm`, proc_sysvipc(5).
const RESIDENT: usize = 14;
