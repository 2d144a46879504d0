//! What the tests need beside the product: the probe, compiled once, where every account may run it.

use crate::identity::Identity;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The directory of a test run and the programs in it.
#[derive(Debug)]
pub struct Tools {
    pub zerobox: PathBuf,
    pub probe: PathBuf,
    /// The probe again, owned by root and set-user-id; only root can make one.
    pub setuid_probe: Option<PathBuf>,
    /// A 32-bit program, where the compiler makes them.
    pub foreign: Option<PathBuf>,
    root: TempDir,
}

/// Not below `/tmp` or `/var/tmp`, which the sandbox replaces. Root makes it where every user may look.
fn default_base() -> OsString {
    if Identity::invoked_by_root() { "/srv".into() } else { env!("CARGO_TARGET_TMPDIR").into() }
}

impl Tools {
    pub fn prepare() -> io::Result<Self> {
        let base = std::env::var_os("ZEROBOX_TEST_DIR").unwrap_or_else(default_base);
        let root = tempfile::Builder::new().prefix("zerobox-tests-").tempdir_in(base)?;
        fs::set_permissions(root.path(), Permissions::from_mode(0o755))?;
        let bin = root.path().join("bin");
        fs::create_dir(&bin)?;
        let zerobox = bin.join("zerobox");
        fs::copy(env!("CARGO_BIN_EXE_zerobox"), &zerobox)?;
        let probe = bin.join("probe");
        compile(&["-O1", "-pthread"], &probe, &probe_sources()?)?;
        // Nobody may change it, root without capabilities included: every project has a link to it.
        fs::set_permissions(&probe, Permissions::from_mode(0o555))?;
        let foreign = bin.join("foreign");
        let foreign_source = [source_directory().join("foreign.c")];
        let foreign =
            compile(&["-m32", "-static", "-nostdlib"], &foreign, &foreign_source).ok().map(|()| foreign);
        let setuid_probe = match Identity::invoked_by_root() {
            true => {
                let path = bin.join("setuid-probe");
                fs::copy(&probe, &path)?;
                fs::set_permissions(&path, Permissions::from_mode(0o4755))?;
                Some(path)
            }
            false => None,
        };
        Ok(Self { zerobox, probe, setuid_probe, foreign, root })
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }
}

fn source_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probe")
}

fn probe_sources() -> io::Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(source_directory())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "c") && !path.ends_with("foreign.c") {
            sources.push(path);
        }
    }
    Ok(sources)
}

fn compile(options: &[&str], to: &Path, sources: &[PathBuf]) -> io::Result<()> {
    let output = Command::new("cc").args(options).arg("-o").arg(to).args(sources).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("cc: {}", String::from_utf8_lossy(&output.stderr)))),
    }
}
