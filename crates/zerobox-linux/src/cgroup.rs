//! Control groups of version 2, where the caller may make them: the only way to bound a whole run.
//!
//! systemd hands every user session a subtree, cgroups(7). A group for the run is made in the nearest ancestor of
//! our own group that lets us and that passes the controllers on.

use serde::Serialize;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A group in which the caller may make others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delegated {
    /// Its directory.
    pub path: PathBuf,
    /// The controllers that its children get.
    pub controllers: Vec<String>,
}

impl Delegated {
    /// Looks for one from the caller's own group upwards.
    pub fn find() -> Option<Self> {
        let mount = mount_point()?;
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let start = mount.join(own);
        let candidates = start.ancestors().take_while(|path| path.starts_with(&mount));
        candidates.map(Path::to_owned).find_map(|path| {
            let passed_on = std::fs::read_to_string(path.join("cgroup.subtree_control")).ok()?;
            let controllers: Vec<String> = passed_on.split_whitespace().map(str::to_owned).collect();
            let writable = rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_ok()
                && rustix::fs::access(path.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok();
            (writable && !controllers.is_empty()).then_some(Self { path, controllers })
        })
    }

    /// Whether children are bounded in this respect.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// One setting of a run's group: a file and what to write to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The name of the file.
    pub file: &'static str,
    /// Its new content.
    pub value: String,
}

/// The group of one run. It is removed when this is dropped, after all its processes have ended.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
}

impl Group {
    /// Makes a group in `parent` and limits it. Groups of runs that were killed are removed on the way, since they
    /// are empty and nobody else will.
    ///
    /// # Errors
    /// As the file operations.
    pub(crate) fn create(parent: &Path, settings: &[Setting]) -> io::Result<Self> {
        sweep(parent);
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let path = parent.join(format!("{PREFIX}{}-{nanos:x}", std::process::id()));
        std::fs::create_dir(&path)?;
        let group = Self { path };
        for setting in settings {
            std::fs::write(group.path.join(setting.file), &setting.value)?;
        }
        Ok(group)
    }

    /// Moves the process `pid` into the group; what it starts from then on is in it too.
    ///
    /// # Errors
    /// As the file operation.
    pub(crate) fn add(&self, pid: i32) -> io::Result<()> {
        std::fs::write(self.path.join("cgroup.procs"), pid.to_string())
    }

    /// How often the kernel ended a process of the group for want of memory.
    pub fn memory_kills(&self) -> u64 {
        let events = std::fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|count| count.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel empties the group a moment after the last process was reaped.
        for _ in 0..50 {
            match std::fs::remove_dir(&self.path) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                _ => return,
            }
        }
    }
}

/// Removes the groups of runs whose zerobox is gone. The name says which one made a group.
fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// Usually `/sys/fs/cgroup`; `unified` below it on machines that also have version 1.
fn mount_point() -> Option<PathBuf> {
    [Path::new("/sys/fs/cgroup"), Path::new("/sys/fs/cgroup/unified")].into_iter().map(Path::to_owned).find(
        |path| {
            let directory = rustix::fs::open(path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty());
            let found = directory.and_then(|directory| rustix::fs::fstatfs(directory.as_fd()));
            found.is_ok_and(|found| found.f_type == CGROUP2)
        },
    )
}

const PREFIX: &str = "zerobox-";
/// CGROUP2_SUPER_MAGIC of linux/magic.h.
const CGROUP2: i64 = 0x6367_7270;
