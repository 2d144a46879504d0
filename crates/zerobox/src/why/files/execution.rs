//! What execve(2) does with a name, and with a script.

use super::{Asked, Wish};
use crate::error::Error;
use crate::program;
use crate::why::{Answer, Why};
use rustix::fs::FileType;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use zerobox_policy::{NodeKind, Surroundings};

impl Why {
    /// The program of this name, as a run would find it.
    pub(super) fn program(&self, answer: &mut Answer, name: &OsStr) -> Option<PathBuf> {
        let mut policy = self.session.policy.clone();
        policy.command = vec![name.to_owned()];
        match program::find(&policy, &self.session.surroundings()) {
            Ok(path) | Err(Error::Hidden { path, .. } | Error::NotExecutable { path, .. }) => Some(path),
            Err(error) => {
                answer.deny(error.to_string());
                answer.notes.extend(error.hint());
                None
            }
        }
    }

    /// What execve(2) looks at besides the rules.
    pub(super) fn execute(&self, answer: &mut Answer, asked: &Asked<'_>, surroundings: &Surroundings<'_>) {
        if asked.is(NodeKind::Directory) {
            answer.change = None;
            return answer.deny("it is a directory");
        }
        let Some(interpreter) = interpreter(asked.path()).filter(|_| asked.exists()) else { return };
        let mut inner = Answer::new(answer.question.clone());
        if std::mem::take(&mut answer.subject).is_some() {
            answer.subject = Some(asked.path().display().to_string());
        }
        // A script whose interpreter is a script is rare, and the kernel goes on four times.
        if self::interpreter(&interpreter).is_none() {
            self.path(&mut inner, interpreter.clone(), Wish::Execute, surroundings);
            if !inner.allowed {
                answer.deny(format!(
                    "its interpreter `{}` cannot be executed: {}",
                    interpreter.display(),
                    inner.because
                ));
                (answer.rule, answer.change) = (inner.rule, inner.change);
            }
        }
    }
}

/// The program that runs the script at `path`, execve(2).
fn interpreter(path: &Path) -> Option<PathBuf> {
    let stat = rustix::fs::lstat(path).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut start = Vec::new();
    std::fs::File::open(path).ok()?.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    words.next().map(|word| PathBuf::from(OsStr::from_bytes(word))).filter(|path| path.is_absolute())
}

/// BINPRM_BUF_SIZE of linux/binfmts.h.
const FIRST_LINE: u64 = 256;
