//! What one test works in: a fresh directory with a project, a home and things outside of both.

use crate::identity::Identity;
use crate::outcome::{self, Outcome, Running};
use crate::tools::Tools;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The surroundings of one test. `project` is the working directory of everything that runs.
#[derive(Debug)]
pub struct Fixture {
    pub identity: Identity,
    pub tools: Arc<Tools>,
    pub root: PathBuf,
    pub project: PathBuf,
    pub home: PathBuf,
    /// A name that no other test has.
    pub unique: String,
}

impl Fixture {
    pub fn new(name: &str, identity: Identity, tools: Arc<Tools>) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("zb{}t{number}", std::process::id());
        let root = tools.root().join(format!("{number}-{}", name.rsplit("::").next().unwrap_or(name)));
        let fixture =
            Self { identity, tools, project: root.join("project"), home: root.join("home"), root, unique };
        for directory in [&fixture.root, &fixture.project, &fixture.home] {
            fixture.make_directory(directory);
        }
        fs::hard_link(&fixture.tools.probe, fixture.project.join("probe")).expect("one file system");
        fixture.write("project/readme.txt", "readme\n");
        fixture.write("outside/secret.txt", "secret\n");
        fixture.write("outside/dir/inner.txt", "inner\n");
        fixture.link("secret.txt", "outside/link");
        fixture.write("home/.ssh/id_ed25519", "private key\n");
        fixture
    }

    /// The absolute path of a name below the root of the fixture, as text.
    pub fn path(&self, name: &str) -> String {
        self.root.join(name).to_str().expect("test paths are UTF-8").to_owned()
    }

    /// Writes a file below the root, with the directories above it, owned by the test's account.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.root.join(name);
        self.make_directory(path.parent().expect("below the root"));
        fs::write(&path, text).expect("the fixture is writable");
        self.give(&path);
    }

    pub fn write_script(&self, name: &str, text: &str) {
        self.write(name, text);
        self.chmod(name, 0o755);
    }

    pub fn mkdir(&self, name: &str) {
        self.make_directory(&self.root.join(name));
    }

    pub fn link(&self, target: &str, name: &str) {
        let path = self.root.join(name);
        self.make_directory(path.parent().expect("below the root"));
        std::os::unix::fs::symlink(target, &path).expect("the fixture is writable");
        std::os::unix::fs::lchown(&path, Some(self.identity.uid()), Some(self.identity.gid())).expect("ours");
    }

    pub fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.root.join(name), fs::Permissions::from_mode(mode)).expect("ours");
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn exists(&self, name: &str) -> bool {
        self.root.join(name).symlink_metadata().is_ok()
    }

    /// The names in a directory below the root, sorted.
    pub fn names(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(name)).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// `zerobox FLAGS -- COMMAND`, not started yet.
    pub fn zerobox(&self, flags: &[&str], command: &[&str]) -> Command {
        let mut zerobox = self.command(self.tools.zerobox.to_str().expect("UTF-8"));
        zerobox.args(flags).arg("--").args(command);
        zerobox
    }

    /// A program without the sandbox, in the same surroundings.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs([
            ("PATH", PATH),
            ("LANG", "C.UTF-8"),
            ("TERM", "xterm"),
            ("USER", "tester"),
            ("LOGNAME", "tester"),
            ("SHELL", "/bin/sh"),
        ]);
        command.env("HOME", &self.home).current_dir(&self.project);
        self.identity.apply(&mut command);
        command
    }

    pub fn run(&self, flags: &[&str], command: &[&str]) -> Outcome {
        outcome::run(&mut self.zerobox(flags, command), LIMIT)
    }

    /// One attempt of the probe inside.
    pub fn inside(&self, flags: &[&str], attempt: &[&str]) -> Outcome {
        let probe = self.path("project/probe");
        self.run(flags, &[&[probe.as_str()], attempt].concat())
    }

    /// The same attempt without the sandbox.
    pub fn outside(&self, attempt: &[&str]) -> Outcome {
        let mut probe = self.command(&self.path("project/probe"));
        outcome::run(probe.args(attempt).env("PROBE_BARE", "1"), LIMIT)
    }

    /// A shell script inside.
    pub fn sh(&self, flags: &[&str], script: &str) -> Outcome {
        self.run(flags, &["/bin/sh", "-c", script])
    }

    /// A shell script without the sandbox; `$ZEROBOX` and `$PROBE` are the programs.
    pub fn host_sh(&self, script: &str) -> Command {
        let mut shell = self.command("/bin/sh");
        shell
            .args(["-c", script])
            .env("ZEROBOX", &self.tools.zerobox)
            .env("PROBE", self.project.join("probe"));
        shell
    }

    pub fn start(&self, flags: &[&str], command: &[&str]) -> Running {
        Running::start(&mut self.zerobox(flags, command))
    }

    /// A process of the same account outside of the sandbox.
    pub fn victim(&self) -> Victim {
        let (helper, first) = self.helper(&["victim"]);
        let words: Vec<_> = first.split_whitespace().map(str::to_owned).collect();
        let [pid, address, segment] =
            words.try_into().unwrap_or_else(|words| panic!("victim said {words:?}"));
        Victim { pid, address, segment, _helper: helper }
    }

    /// A server outside of the sandbox; `name` is a path, or an abstract name after `@`.
    pub fn serve(&self, kind: &str, name: &str) -> Server {
        let (helper, first) = self.helper(&["serve", kind, name]);
        let port = first.strip_prefix("ready ").unwrap_or_else(|| panic!("server said `{first}`")).to_owned();
        Server { port, helper }
    }

    fn helper(&self, args: &[&str]) -> (Helper, String) {
        let mut command = self.command(self.tools.probe.to_str().expect("UTF-8"));
        let mut child =
            command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the probe runs");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut stdout = BufReader::new(child.stdout.take().expect("piped above"));
        let mut first = String::new();
        stdout.read_line(&mut first).expect("the helper speaks");
        let sink = Arc::clone(&lines);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                sink.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        (Helper { child, lines }, first.trim().to_owned())
    }

    fn make_directory(&self, path: &Path) {
        if !path.exists() {
            self.make_directory(path.parent().expect("below the root"));
            fs::create_dir(path).expect("the fixture is writable");
            self.give(path);
        }
    }

    fn give(&self, path: &Path) {
        chown(path, Some(self.identity.uid()), Some(self.identity.gid())).expect("root, or already ours");
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // A failed test may leave directories that cannot be entered; the run's directory goes as a whole.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A process to attack. It ends with the value.
#[derive(Debug)]
pub struct Victim {
    pub pid: String,
    /// Where its secret is, for reading its memory.
    pub address: String,
    /// A System V shared memory segment of its own.
    pub segment: String,
    _helper: Helper,
}

/// A server to reach. It ends with the value.
#[derive(Debug)]
pub struct Server {
    pub port: String,
    helper: Helper,
}

impl Server {
    /// How often somebody got through so far.
    pub fn contacts(&self) -> usize {
        let contacts = || self.helper.lines.lock().unwrap_or_else(PoisonError::into_inner).len();
        // The line may still be on its way.
        thread::sleep(Duration::from_millis(50));
        contacts()
    }
}

#[derive(Debug)]
struct Helper {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes of this machine, as its real root sees them, that have `mark` in their arguments.
pub fn marked_processes(mark: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("proc").filter_map(Result::ok);
    let is_marked = |pid: &String| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(mark)
    };
    let pids = processes.map(|entry| entry.file_name().to_string_lossy().into_owned());
    pids.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(is_marked).collect()
}

/// Whether `condition` becomes true within `limit`.
pub fn eventually(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// How long anything may take that should take no time.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Programs that every account may run.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

static NEXT: AtomicUsize = AtomicUsize::new(0);
