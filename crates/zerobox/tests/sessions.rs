//! Runs one after the other in one program, which has a child of its own. Without a harness: a run takes a program that has one
//! thread only.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test may end")]

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use zerobox::{PathList, Request, run};

fn main() -> ExitCode {
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut own = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    // A shell would unblock signals for its children.
    let show = ["/bin/cp", "/proc/self/status", file.path().to_str().unwrap()];
    let end = ["/bin/sh", "-c", "exit 3"];
    let first = run(&request(&show, file.path(), &[])).unwrap();
    assert_eq!(first.exit_code(), 0);
    let first = inherited(file.path());
    let states: Vec<_> = (0..2)
        .map(|_| {
            let failed = run(&request(&end, file.path(), &["no-such-profile"])).unwrap_err();
            assert!(failed.to_string().contains("no-such-profile"), "{failed}");
            assert_eq!(run(&request(&end, file.path(), &[])).unwrap().exit_code(), 3);
            let report = run(&request(&show, file.path(), &[])).unwrap();
            assert_eq!(report.exit_code(), 0);
            assert_eq!(children(), [own.id().to_string()], "only the program's own child is left");
            inherited(file.path())
        })
        .collect();
    assert!(own.try_wait().unwrap().is_none(), "the program's own child is not ours");
    own.kill().unwrap();
    own.wait().unwrap();
    // Each command starts as the first one did.
    assert!(states.iter().all(|state| *state == first), "{first:?}, then {states:?}");
    ExitCode::SUCCESS
}

fn request(command: &[&str], file: &Path, profiles: &[&str]) -> Request {
    Request {
        command: command.iter().map(Into::into).collect(),
        allow_write: vec![PathList::Listed(file.into())],
        profiles: profiles.iter().map(Into::into).collect(),
        ..Request::default()
    }
}

/// What a process inherits, as its `/proc/self/status` says.
fn inherited(status: &Path) -> Vec<String> {
    let status = std::fs::read_to_string(status).unwrap();
    let names = ["SigBlk", "SigIgn", "Cpus_allowed"];
    let lines = status.lines().filter(|line| names.iter().any(|name| line.starts_with(&format!("{name}:"))));
    lines.map(str::to_owned).collect()
}

fn children() -> Vec<String> {
    let list = format!("/proc/{0}/task/{0}/children", std::process::id());
    std::fs::read_to_string(list).unwrap().split_whitespace().map(str::to_owned).collect()
}
