//! The supervisor has the values, and nobody else looks into it: not from inside, and not as the same user from outside.

use crate::case::{Case, Skip, Verdict, cases};
use crate::fixture::{Fixture, LIMIT, eventually};
use crate::outcome::{self, Running};
use std::fs;

pub const CASES: &[Case] = cases![
    Everyone: only_the_supervisor_has_it, a_value_in_an_argument_is_wiped, it_leaves_no_core, nothing_listens_outside;
    User: the_same_user_does_not_look_in;
];

const TOKEN: &str = "sk-proj-Qm8Zr2Lx7Tn4Wk9Yb3Vd6Hs";
const WAIT: &str = "echo ready; sleep 15";

/// The processes of a run, the supervisor first.
fn family(pid: &str) -> Vec<String> {
    let mut all = vec![pid.to_owned()];
    let mut at = 0;
    while let Some(pid) = all.get(at).cloned() {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        all.extend(children.split_whitespace().map(str::to_owned));
        at += 1;
    }
    all
}

/// What `/proc` says of a process, and its memory as far as it can be read.
fn everything(pid: &str) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut all = Vec::new();
    for file in ["cmdline", "environ"] {
        all.extend(fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default());
    }
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let Ok(memory) = fs::File::open(format!("/proc/{pid}/mem")) else { return all };
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let span = line.split(' ').next().unwrap_or_default().split_once('-');
        let Some((Ok(start), Ok(end))) =
            span.map(|(start, end)| (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)))
        else {
            continue;
        };
        let mut part = vec![0; usize::try_from((end - start).min(1 << 27)).expect("small")];
        if memory.read_exact_at(&mut part, start).is_ok() {
            all.extend(part);
        }
    }
    all
}

fn has(bytes: &[u8]) -> bool {
    bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes())
}

fn started(f: &Fixture, flags: &[String]) -> (Running, String) {
    let world = f.secret_world_with(TOKEN);
    let flags = [world.bound(), flags.to_vec()].concat();
    let mut running = Running::start(&mut f.secret_command(&world, &flags, &["/bin/sh", "-c", WAIT]));
    running.expect("ready");
    let pid = running.pid().to_string();
    (running, pid)
}

/// Root looks into each process of the run.
fn only_the_supervisor_has_it(f: &Fixture) -> Verdict {
    if !rustix::process::geteuid().is_root() {
        return Err(Skip::because("to look into all processes takes root's rights"));
    }
    let (_running, pid) = started(f, &[]);
    let family = family(&pid);
    assert!(family.len() >= 3, "{family:?}");
    assert!(has(&everything(&pid)), "the supervisor holds it, and it can be found");
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("root may");
    assert!(!has(&environment), "the variable is wiped");
    for pid in &family[1..] {
        let all = everything(pid);
        assert!(all.len() > 4096 && !has(&all), "process {pid} of {family:?} has it");
    }
    Ok(())
}

fn a_value_in_an_argument_is_wiped(f: &Fixture) -> Verdict {
    let world = f.secret_world_with(TOKEN);
    for words in [vec![format!("--secret=KEY={TOKEN}")], vec!["--secret".to_owned(), format!("KEY={TOKEN}")]]
    {
        let mut flags = world.reach(&["a.test"]);
        flags.extend(words);
        flags.push(format!("--secret-host=KEY=a.test:{}", world.tls));
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let script = format!("cat /proc/*/cmdline | tr '\\0' ' '; echo $KEY; {WAIT}");
        let mut running = Running::start(&mut f.zerobox(&flags, &["/bin/sh", "-c", &script]));
        running.expect("ready");
        let pid = running.pid().to_string();
        for pid in family(&pid) {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            assert!(!has(&words), "{}", String::from_utf8_lossy(&words));
        }
        assert!(!running.seen().contains(TOKEN), "{}", running.seen());
        running.signal(rustix::process::Signal::TERM);
        let outcome = running.finish(LIMIT);
        assert!(!outcome.stderr.contains(TOKEN) && outcome.stderr.contains("KEY"), "{outcome}");
    }
    let outcome = f.run(
        &[
            "--dry-run",
            &format!("--secret=KEY={TOKEN}"),
            "--secret-host=KEY=a.test",
            "--resolve=a.test:443:127.0.0.1",
        ],
        &["/bin/true"],
    );
    assert!(!outcome.text().contains(TOKEN) && !outcome.stderr.contains(TOKEN), "{outcome}");
    Ok(())
}

/// By `/proc`, by ptrace and by process_vm_readv; a process of the same user that has no secret can be looked into.
fn the_same_user_does_not_look_in(f: &Fixture) -> Verdict {
    let (_running, pid) = started(f, &[]);
    let script = r#"
import ctypes, os, sys
libc, pid = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
def tell(name, f):
    try: print(name, 'ok' if f() else 'refused')
    except OSError: print(name, 'refused')
tell('environ', lambda: open(f'/proc/{pid}/environ', 'rb').read())
tell('maps', lambda: open(f'/proc/{pid}/maps').read())
tell('mem', lambda: open(f'/proc/{pid}/mem', 'rb'))
tell('fd', lambda: os.listdir(f'/proc/{pid}/fd'))
tell('ptrace', lambda: libc.ptrace(16, pid, 0, 0) == 0)
class Vec(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('size', ctypes.c_size_t)]
buffer = ctypes.create_string_buffer(8)
own, other = Vec(ctypes.addressof(buffer), 8), Vec(int(sys.argv[2], 16), 8)
tell('readv', lambda: libc.process_vm_readv(pid, ctypes.byref(own), 1, ctypes.byref(other), 1, 0) == 8)
"#;
    let look = |pid: &str, address: &str| {
        let mut python = f.command("/usr/bin/python3");
        outcome::run(python.args(["-c", script, pid, address]), LIMIT).text()
    };
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let address = maps.split('-').next().unwrap_or("0").to_owned();
    let said = look(&pid, if address.is_empty() { "1000" } else { &address });
    assert!(said.lines().count() == 6 && !said.contains("ok"), "{said}");
    let mut sleeper = f.command("/bin/sleep").arg("20").spawn().expect("it runs");
    let said = look(&sleeper.id().to_string(), "0");
    sleeper.kill().and_then(|()| sleeper.wait()).expect("our own child");
    assert!(said.contains("environ ok") && said.contains("maps ok"), "{said}");
    Ok(())
}

fn it_leaves_no_core(f: &Fixture) -> Verdict {
    for signal in [rustix::process::Signal::QUIT, rustix::process::Signal::SEGV] {
        let world = f.secret_world_with(TOKEN);
        let flags: Vec<_> = world.bound();
        let mut command = f.secret_command(&world, &flags, &["/bin/sh", "-c", WAIT]);
        let mut running = Running::start(&mut command);
        running.expect("ready");
        let pid = running.pid().to_string();
        let family = family(&pid);
        running.signal(signal);
        let outcome = running.finish(LIMIT);
        assert!(outcome.code.is_some_and(|code| code >= 128 || code == 125), "{outcome}");
        let is_gone = |pid: &String| !fs::exists(format!("/proc/{pid}")).unwrap_or(true);
        assert!(eventually(LIMIT, || family.iter().all(is_gone)), "{family:?}");
        let names = f.names("project");
        assert!(names.iter().all(|name| !name.starts_with("core")), "{names:?}");
    }
    Ok(())
}

/// Other programs of the host have no socket to talk to.
fn nothing_listens_outside(f: &Fixture) -> Verdict {
    let listening = || {
        let files = ["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/unix"];
        let inodes = |file: &&str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        files.iter().flat_map(inodes).collect::<Vec<_>>()
    };
    let (_running, pid) = started(f, &[]);
    let sockets: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .map_err(|_| Skip::because("to see the sockets of the supervisor takes root's rights"))?
        .filter_map(|entry| {
            fs::read_link(entry.ok()?.path())
                .ok()?
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')
                .map(str::to_owned)
        })
        .collect();
    assert!(!sockets.is_empty(), "those of the sandbox's network");
    let listening = listening();
    let of_ours = |line: &&String| {
        let state = line.split_whitespace().nth(3).unwrap_or_default();
        sockets.iter().any(|inode| line.split_whitespace().any(|word| word == inode))
            && (state == "0A" || state == "07")
    };
    let ours: Vec<_> = listening.iter().filter(of_ours).collect();
    assert!(ours.is_empty(), "{ours:?}");
    Ok(())
}
