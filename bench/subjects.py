"""What is measured: the commands that are compared, and the proof that each does what it is measured for."""

import dataclasses
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess

from measure import Failed
from workspace import SYSTEM_PATH

ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass
class Subject:
    """A way to run a command: `argv` and then the command, in the directory `cwd`."""

    name: str
    argv: list
    cwd: pathlib.Path
    path: str = SYSTEM_PATH
    slow: float = 0.0  # seconds of one run, as the probe saw it
    version: str = ""
    said: str = ""  # the first line on stderr that the probe saw
    command: tuple = ("/bin/true",)  # whose start-up is timed

    def within(self, cwd, name):
        return dataclasses.replace(self, cwd=cwd, name=name)


def bare(ws):
    return Subject("bare", [], ws.empty)


def zerobox(ws, flags=(), name="zerobox"):
    return Subject(name, [str(ws.zerobox), *flags, "--"], ws.empty)


def bwrap(ws, rules=(), name="bwrap"):
    """bubblewrap with the view that zerobox gives by default, in the cheapest form it has for that.

    | zerobox grants by default              | given to bubblewrap as                                  |
    |----------------------------------------|---------------------------------------------------------|
    | /usr /opt /nix/store, read             | --ro-bind                                               |
    | /bin /sbin /lib*: links, or read       | --symlink where the host has a link, else --ro-bind     |
    | /etc without keys and password hashes  | --ro-bind of all of /etc: fewer mounts, to its advantage |
    | the current directory, read            | --ro-bind                                               |
    | a private home, /tmp, /var/tmp         | --tmpfs each                                            |
    | minimal /dev with /dev/shm, own /proc  | --dev, --proc                                           |
    | user, mount, pid, ipc, uts, net and cgroup namespaces | --unshare-all                            |
    | dies with its starter                  | --die-with-parent                                       |

    Landlock, seccomp, limits and the environment filter have no counterpart here: zerobox does that work
    on top.
    """
    argv = ["bwrap", "--unshare-all", "--die-with-parent"]
    top = sorted(
        entry for entry in os.listdir("/") if re.fullmatch(r"usr|opt|etc|bin|sbin|lib[a-z0-9]*", entry)
    )
    for entry in [f"/{name}" for name in top] + ["/nix/store"]:
        if os.path.islink(entry):
            argv += ["--symlink", os.readlink(entry), entry]
        elif os.path.isdir(entry):
            argv += ["--ro-bind", entry, entry]
    argv += ["--dev", "/dev", "--proc", "/proc"]
    for scratch in ("/tmp", "/var/tmp", str(ws.home)):
        argv += ["--tmpfs", scratch]
    for kind, path in rules:
        argv += {
            "allow-read": ["--ro-bind", path, path],
            "allow-write": ["--bind", path, path],
            "deny-read": ["--tmpfs", path],
            "deny-write": ["--ro-bind", path, path],
        }[kind]
    argv += ["--ro-bind", str(ws.empty), str(ws.empty), "--chdir", str(ws.empty)]
    return Subject(name, argv, ws.empty)


def peers(ws):
    """The other sandboxes found on PATH: pairs of a subject and why it cannot be measured (None: it can).

    Their command lines change between versions, so several are tried and the first that runs a command
    is measured.
    """
    system = [d for d in ("/usr", "/bin", "/lib", "/lib64", "/etc") if os.path.exists(d)]
    variants = {
        "firejail": [
            ["--quiet", "--noprofile", "--private", "--net=none", "--caps.drop=all", "--seccomp", "--"]
        ],
        "srt": [[], ["--"]],
        "codex": [["sandbox", "linux", "--"], ["sandbox", "--"]],
        "nono": [
            ["run", "--silent", "--allow-cwd", "--block-net", "--"],
            ["run", "--allow-cwd", "--net-block", "--"],
            ["run", "--allow-cwd", "--"],
        ],
        "sandlock": [["run", *(arg for d in [*system, str(ws.empty)] for arg in ("-r", d)), "--"]],
        "hakoniwa": [["run", "--"]],
    }
    for name in variants:
        # Not only the system's folders: an npm or pip package may have put it elsewhere.
        program = shutil.which(name)
        if program is None:
            continue
        path = os.pathsep.join([os.path.dirname(program), SYSTEM_PATH])
        for arguments in variants[name]:
            subject = Subject(name, [program, *arguments], ws.empty, path)
            reason = probe(ws, subject)
            if reason is None:
                subject.version = version(ws, name, [program, "--version"], path)
                break
        yield subject, reason


def require(ws, subject):
    reason = probe(ws, subject)
    if reason:
        raise Failed(f"`{subject.name}` does not run a command: {reason}")


def probe(ws, subject):
    """Runs a command that answers with a word, so that nothing is measured that only seems to run.

    Returns why the subject cannot be measured, or None, and notes how long a run takes.
    """
    try:
        done, subject.slow = ws.run(
            [*subject.argv, "/bin/echo", "inside"], subject.cwd, path=subject.path, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    subject.said = lines[0] if lines else ""
    if done.returncode == 0 and done.stdout == b"inside\n":
        return None
    return subject.said or f"exit status {done.returncode}, nothing said"


def view_notes(ws, bare, zerobox, bwrap):
    """Proves that both sandboxes hide a file that is there, and counts what each had to mount."""
    hidden = ws.home / "hidden"
    mounts = []
    for subject in (bare, zerobox, bwrap):
        done, _ = ws.run([*subject.argv, "/bin/cat", str(hidden)], subject.cwd)
        seen = done.returncode == 0
        if seen and subject is not bare:
            raise Failed(f"`{subject.name}` shows `{hidden}`: it holds nothing, so its speed means nothing")
        if not seen and subject is bare:
            raise Failed(f"`{hidden}` cannot be read even without a sandbox")
        done, _ = ws.run([*subject.argv, "/bin/cat", "/proc/self/mountinfo"], subject.cwd)
        mounts.append(f"{subject.name} {len(done.stdout.splitlines())}")
    return ["mounts: " + ", ".join(mounts)]


def cpu_loop():
    """A second or so of arithmetic that makes no system calls."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python:
        code = "x = 1\nfor _ in range(9_000_000): x = (x * 1103515245 + 12345) & 0x7FFFFFFF"
        return [python, "-I", "-S", "-c", code]
    return ["/usr/bin/awk", "BEGIN { for (i = 0; i < 15000000; i++) x = (x * 69069 + 1) % 65536 }"]


def find_zerobox(given):
    """The binary to measure: the one given, or what cargo builds from this checkout."""
    if given:
        return pathlib.Path(given).resolve(strict=False)
    if shutil.which("cargo"):
        command = [
            "cargo",
            "build",
            "--release",
            "--package=zerobox",
            "--bin=zerobox",
            "--message-format=json-render-diagnostics",
        ]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
        if done.returncode:
            raise Failed("`cargo build --release` failed")
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
        built = [message["executable"] for message in messages if message.get("executable")]
    else:
        built = sorted(ROOT.glob("target/**/release/zerobox"), key=os.path.getmtime)
    if not built:
        raise Failed("no zerobox binary: build it with `cargo build --release`, or name one with --zerobox")
    return pathlib.Path(built[-1])


def on_system_path(tool):
    return shutil.which(tool, path=SYSTEM_PATH)


def versions(ws, others=("bwrap", "hyperfine")):
    """The machine and the programs that the figures belong to."""
    kernel = re.match(r"[0-9.]*[0-9]", platform.release())
    full = {"bwrap": "bubblewrap"}
    programs = {"zerobox": str(ws.zerobox)} | {full.get(other, other): other for other in others}
    return [f"Linux {kernel[0]}", f"{os.cpu_count()} cores"] + [
        version(ws, name, [program, "--version"]) for name, program in programs.items()
    ]


def version(ws, name, command, path=SYSTEM_PATH):
    """`name` and the number that the program gives as its version."""
    try:
        done, _ = ws.run(command, ws.empty, path=path, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return name
    number = re.search(rb"\d+(\.\d+)+", done.stdout + done.stderr)
    return f"{name} {number[0].decode()}" if number else name
