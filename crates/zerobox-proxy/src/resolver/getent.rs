//! One run of getent(1) per name.

use super::ResolveError;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use zerobox_policy::HostName;

pub(super) struct Getent {
    path: PathBuf,
    timeout: Duration,
}

impl Getent {
    pub(super) fn new(path: PathBuf, timeout: Duration) -> Self {
        Self { path, timeout }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn ask(&self, name: &HostName) -> Result<Vec<IpAddr>, ResolveError> {
        let result = tokio::time::timeout(self.timeout, self.run(name)).await;
        let failed = |what: String| ResolveError::Failed(format!("`{}`: {what}", self.path.display()));
        result.map_err(|_| ResolveError::TimedOut)?.map_err(|error| failed(error.to_string())).and_then(
            |end| match end {
                End::Found(addresses) => Ok(addresses),
                End::Nothing(status) if status.success() || status.code() == Some(NOT_FOUND) => {
                    Err(ResolveError::NotFound)
                }
                End::Nothing(status) => Err(failed(status.to_string())),
            },
        )
    }

    async fn run(&self, name: &HostName) -> io::Result<End> {
        // A host name does not begin with `-`, so that it is never taken for an option.
        let mut child = Command::new(&self.path)
            .args(["ahosts", name.as_ref()])
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take();
        let mut running = Running(Some(child));
        let output = pipe::Receiver::from_owned_fd(output.ok_or(io::ErrorKind::BrokenPipe)?.into())?;
        let mut bytes = Vec::new();
        output.take(MOST_OUTPUT + 1).read_to_end(&mut bytes).await?;
        if bytes.len() as u64 > MOST_OUTPUT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let addresses = parse(&bytes);
        // Nobody waits for a child that has said all there is to say.
        if addresses.is_empty() { running.end().await.map(End::Nothing) } else { Ok(End::Found(addresses)) }
    }
}

/// What a run of getent came to.
enum End {
    Found(Vec<IpAddr>),
    Nothing(ExitStatus),
}

/// A line has an address, the kind of a socket, and sometimes the name: getent(1). An address with a scope is one of
/// a link, which no rule can name.
fn parse(output: &[u8]) -> Vec<IpAddr> {
    let text = String::from_utf8_lossy(output);
    text.lines().filter_map(|line| line.split_ascii_whitespace().next()?.parse().ok()).collect()
}

/// A child that does not outlive the wish for its answer.
struct Running(Option<Child>);

impl Running {
    /// Waits for its end. SIGCHLD is the supervisor's, so this looks again and again.
    async fn end(&mut self) -> io::Result<ExitStatus> {
        let child = self.0.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Drop for Running {
    /// Kills it, and leaves the waiting to a task: a child that hangs in the kernel must not hang us.
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        let _ = child.kill();
        if matches!(child.try_wait(), Ok(None))
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(reap(child));
        }
    }
}

async fn reap(mut child: Child) {
    while matches!(child.try_wait(), Ok(None)) {
        tokio::time::sleep(LONGEST_PAUSE).await;
    }
}

/// The exit code for a name that is not known.
const NOT_FOUND: i32 = 2;
const MOST_OUTPUT: u64 = 64 << 10;
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_output_is_read(output in prop::collection::vec(any::<u8>(), 0..400)) {
            parse(&output);
        }
    }
}
