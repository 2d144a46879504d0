"""Where it is measured: a folder of our own under /var/tmp, an unprivileged user, a home, projects."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from measure import Failed

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
MAKE_TREE_SECONDS = 90


@dataclasses.dataclass
class Toolchain:
    path: str  # the folder to grant
    search: str  # the PATH that leads to it
    mount: tuple  # (from, to) for a bind mount in a private namespace, or ()


class Workspace:
    """Made on entry, removed on exit. All that runs in it runs as the unprivileged user."""

    def __init__(self, uid, zerobox):
        self.uid = uid if os.geteuid() == 0 else None
        self.source = zerobox
        self.variables = {}  # of all commands, beside those that `start` gives them
        self._tree = None
        self._rules = None

    def __enter__(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="zerobox-bench-", dir="/var/tmp"))
        try:
            self.root.chmod(0o755)
            if self.uid is not None:
                os.chown(self.root, self.uid, self.uid)
            # A copy, because the checkout may lie where the unprivileged user cannot look.
            self.zerobox = self.root / "zerobox"
            shutil.copyfile(self.source, self.zerobox)
            self.zerobox.chmod(0o755)
            with self.as_user():
                self.home = self.directory("home")
                self.scratch = self.directory("scratch")
                self.empty = self.directory("home/empty")
                (self.home / "hidden").write_text("not for the sandbox\n")
        except OSError as error:
            self.__exit__()
            raise Failed(f"cannot make the work folder: {error}") from error
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root, ignore_errors=True)

    def directory(self, name):
        path = self.root / name
        path.mkdir(parents=True)
        return path

    @contextlib.contextmanager
    def as_user(self):
        """Files made in here belong to the unprivileged user."""
        if self.uid is None:
            yield
            return
        os.setegid(self.uid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)

    def start(self, argv, cwd, path=SYSTEM_PATH, mount=(), **streams):
        """Starts a command as the unprivileged user, with the same environment on every machine."""
        env = {
            "PATH": path,
            "HOME": str(self.home),
            "USER": "bench",
            "LOGNAME": "bench",
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
        } | self.variables
        prefix = []
        if mount:
            prefix = [
                "unshare",
                "--mount",
                "--propagation=private",
                "sh",
                "-c",
                'mount --bind "$1" "$2" && shift 2 && exec "$@"',
                "sh",
                *mount,
            ]
        if self.uid is not None:
            prefix += ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--"]
        return subprocess.Popen([*prefix, *argv], cwd=cwd, env=env, **streams)

    def run(self, argv, cwd, path=SYSTEM_PATH, mount=(), timeout=120):
        """Runs a command to its end; returns it and the seconds it took."""
        started = time.monotonic()
        child = self.start(
            argv, cwd, path, mount, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            out, err = child.communicate(timeout=timeout)
        except BaseException:
            child.kill()
            child.wait()
            raise
        return subprocess.CompletedProcess(argv, child.returncode, out, err), time.monotonic() - started

    def tree(self, files):
        """A project with that many files; returns it and how many could be made in the time given.

        Laid out as pnpm does: packages of 1,000 files that are hard links to a few. A walk meets every one
        of them, and making them takes seconds, not minutes.
        """
        if self._tree is None:
            with self.as_user():
                root = self.directory("home/tree")
                stop, made, original = time.monotonic() + MAKE_TREE_SECONDS, 0, None
                while made < files and time.monotonic() < stop:
                    folder = f"{root}/node_modules/package-{made // 1000}/part-{made // 100 % 10}"
                    os.makedirs(folder)
                    if made % 1000 == 0:
                        original = f"{folder}/original.js"
                        pathlib.Path(original).touch()
                    for number in range(min(100, files - made)):
                        os.link(original, f"{folder}/file-{number}.js")
                        made += 1
            self._tree = root, made
        return self._tree

    def git_project(self):
        """A directory that looks like a git work tree, with the files that must be kept from writes."""
        with self.as_user():
            root = self.directory("home/project")
            self.directory("home/project/.git/hooks")
            (root / ".git/HEAD").write_text("ref: refs/heads/main\n")
            (root / ".git/config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = false\n")
            for name in ("objects", "refs"):
                (root / ".git" / name).mkdir()
        return root

    def rules(self):
        """Two policies of 200 rules, none of which `/bin/true` needs: `apart` and `nested`.

        Both allow 100 directories outside the current one (half read, half write). `apart` denies 100
        others beside them, `nested` one inside each of them: that is the costly kind, since nothing but a
        mount of its own can take a directory out of a granted one.
        """
        if self._rules is None:
            apart, nested = [], []
            with self.as_user():
                for number in range(100):
                    kind = "read" if number % 2 else "write"
                    allowed, beside, inside = (
                        str(self.directory(f"home/rules/{name}"))
                        for name in (f"allowed-{number}", f"denied-{number}", f"allowed-{number}/denied")
                    )
                    apart += [(f"allow-{kind}", allowed), (f"deny-{kind}", beside)]
                    nested += [(f"allow-{kind}", allowed), (f"deny-{kind}", inside)]
            self._rules = apart, nested
        return self._rules

    def toolchain(self):
        """The Rust toolchain as the unprivileged user can reach it, or why it cannot."""
        rustc = shutil.which("rustc")
        if rustc is None or shutil.which("cargo") is None:
            return None, "no cargo on PATH"
        if shutil.which("cc", path=SYSTEM_PATH) is None:
            return None, "no C compiler to link with"
        asked = subprocess.run([rustc, "--print=sysroot"], capture_output=True, text=True, check=False)
        sysroot = asked.stdout.strip()
        if asked.returncode or not sysroot:
            return None, f"rustc does not tell its sysroot: {asked.stderr.strip()}"
        ways = [Toolchain(sysroot, f"{sysroot}/bin:{SYSTEM_PATH}", ())]
        if self.uid is not None:
            # Root's own toolchain is out of an ordinary user's sight: lend it by a bind mount that only
            # the measured commands see.
            place = self.root / "toolchain"
            place.mkdir(exist_ok=True)
            ways.append(Toolchain(str(place), f"{place}/bin:{SYSTEM_PATH}", (sysroot, str(place))))
        for way in ways:
            with contextlib.suppress(OSError):
                # Through a shell: setpriv itself can still exec what the user cannot reach.
                check = ["sh", "-c", "cargo --version && rustc --version"]
                if self.run(check, self.empty, way.search, way.mount)[0].returncode == 0:
                    return way, None
        return None, f"an unprivileged user cannot run cargo in `{sysroot}`"

    def crate(self, modules=24):
        """A crate without dependencies that takes a second or two to build."""
        with self.as_user():
            root = self.directory("home/crate")
            self.directory("home/crate/src")
            (root / "Cargo.toml").write_text(
                '[package]\nname = "small"\nversion = "0.1.0"\nedition = "2021"\n'
            )
            names = [f"module_{number}" for number in range(modules)]
            for number, name in enumerate(names):
                (root / f"src/{name}.rs").write_text(MODULE.replace("SEED", str(number + 1)))
            calls = "\n".join(f"    total = total.wrapping_add({name}::run(total));" for name in names)
            head = "".join(f"mod {name};\n" for name in names)
            (root / "src/main.rs").write_text(
                f'{head}\nfn main() {{\n    let mut total = 1u64;\n{calls}\n    println!("{{total}}");\n}}\n'
            )
        return root


MODULE = """use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    Number(u64),
    Text(String),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

impl Value {
    fn weight(&self) -> u64 {
        match self {
            Value::Number(number) => *number,
            Value::Text(text) => text.bytes().map(u64::from).fold(SEED, u64::wrapping_add),
            Value::List(values) => values.iter().map(Value::weight).fold(0, u64::wrapping_add),
            Value::Map(map) => map.iter().fold(0, |sum, (key, one)| sum ^ one.weight() ^ key.len() as u64),
        }
    }
}

pub fn run(start: u64) -> u64 {
    let mut seen: HashMap<Value, usize> = HashMap::new();
    let mut list = Vec::new();
    for number in 0..SEED {
        let value = Value::Text(format!("{start}-{number:?}"));
        *seen.entry(value.clone()).or_default() += 1;
        list.push(value);
    }
    list.sort();
    list.dedup_by_key(|value| value.weight());
    let map = list.iter().cloned().map(|value| (format!("{value:?}"), value)).collect();
    Value::List(vec![Value::Map(map), Value::List(list), Value::Number(seen.len() as u64)]).weight()
}
"""
