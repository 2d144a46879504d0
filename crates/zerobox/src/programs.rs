//! Programs of this machine that we run ourselves, outside the sandbox: those that keep secrets, and clients of registries.
//!
//! `PATH` often leads into a project as well: `node_modules/.bin`, an activated `.venv/bin`, a relative entry. What lies
//! there is of whoever made the project, or of an earlier command inside, and must not be run here. Neither must the
//! programs that a program starts, such as the `node` of a script with `#!/usr/bin/env node`; so these find only what we do.

use rustix::fs::{Access, access};
use std::path::{Path, PathBuf};
use std::process::Command;
use zerobox_policy::Surroundings;

/// The directories of our `PATH` that are of no project, and that no command inside can write.
#[derive(Debug)]
pub(crate) struct Programs {
    directories: Vec<PathBuf>,
    owners: Owners,
}

/// Whose directories others may have written.
#[derive(Debug)]
struct Owners {
    /// The working directories, ours and the command's, without links.
    projects: [PathBuf; 2],
    home: Option<PathBuf>,
}

impl Programs {
    /// Those beside a command that runs in `cwd` and may write what `is_writable` says.
    pub(crate) fn new(
        cwd: &Path,
        is_writable: impl Fn(&Path) -> bool,
        surroundings: &Surroundings<'_>,
    ) -> Self {
        let projects = [real(surroundings.cwd), real(&surroundings.cwd.join(cwd))];
        let owners = Owners { projects, home: surroundings.home.map(real) };
        let is_ours = |directory: &PathBuf| {
            let real = real(directory);
            let is_closed = access(&real, Access::WRITE_OK).is_err();
            directory.is_absolute() && owners.is_ours(&real) && (is_closed || !is_writable(&real))
        };
        let path = surroundings.var("PATH").unwrap_or_default();
        let directories = std::env::split_paths(path).filter(is_ours).collect();
        Self { directories, owners }
    }

    /// What runs the program `name`, if there is one.
    pub(crate) fn command(&self, name: &str) -> Option<Command> {
        let candidates = self.directories.iter().map(|directory| directory.join(name));
        let program = candidates.into_iter().find(|program| program.is_file())?;
        // A link may lead to where its directory is not.
        if !self.owners.is_ours(&real(&program)) {
            return None;
        }
        let mut command = Command::new(program);
        command.env("PATH", std::env::join_paths(&self.directories).ok()?);
        Some(command)
    }
}

impl Owners {
    /// Whether `path` is of no project: it shares no directory with one, but for those that the user's home is in.
    fn is_ours(&self, path: &Path) -> bool {
        let holds_home =
            |directory: &Path| self.home.as_ref().is_some_and(|home| home.starts_with(directory));
        let is_apart = |project: &PathBuf| {
            let shared = path.ancestors().find(|directory| project.starts_with(directory));
            shared.is_none_or(|shared| {
                shared.parent().is_none()
                    || SYSTEM.iter().any(|system| shared == Path::new(system))
                    || holds_home(shared)
            })
        };
        let is_within = |project: &PathBuf| project.parent().is_some() && path.starts_with(project);
        self.projects.iter().all(|project| is_apart(project) && !is_within(project))
    }
}

fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Where a system keeps its programs, and people their projects beside them.
const SYSTEM: &[&str] = &["/usr", "/usr/local", "/opt"];

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ours(home: &str, cwd: &str, path: &str) -> bool {
        let projects = [PathBuf::from(cwd), PathBuf::from(cwd)];
        Owners { projects, home: Some(PathBuf::from(home)) }.is_ours(Path::new(path))
    }

    #[test]
    fn a_project_is_more_than_the_working_directory() {
        let at = |cwd, path| is_ours("/home/u", cwd, path);
        for path in
            ["/usr/bin", "/home/u/.local/bin", "/home/u/.nvm/v1/bin", "/opt/x/bin", "/home/linuxbrew/bin"]
        {
            assert!(at("/home/u/src/p/sub", path), "{path}");
            assert!(at("/work/p", path), "{path}");
        }
        for path in ["/home/u/src/p/sub/bin", "/home/u/src/p/.venv/bin", "/home/u/src/q/bin"] {
            assert!(!at("/home/u/src/p/sub", path), "{path}");
        }
        assert!(!at("/work/p", "/work/q/bin") && !at("/tmp/p", "/tmp/bin"));
        assert!(!at("/home/u", "/home/u/bin") && at("/", "/home/u/bin"));
        assert!(at("/usr/src/p", "/usr/bin") && !at("/usr/src/p", "/usr/src/bin"));
        assert!(is_ours("/root", "/root/p", "/root/.cargo/bin"));
    }
}
