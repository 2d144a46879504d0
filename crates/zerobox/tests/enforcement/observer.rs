//! What is reported of files, programs, sockets and system calls that were refused (`--report`).

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::outcome::Outcome;
use serde_json::Value;

pub const CASES: &[Case] = cases![
    Everyone: a_read_of_a_private_file_is_told, a_credential_is_told_with_a_warning, writes_to_a_read_only_tree_are_told, a_deny_names_its_rule_and_no_flag,
        a_program_that_is_not_there_is_told, a_refused_call_is_told, a_socket_of_the_host_is_told,
        what_does_not_exist_is_not_told, everything_is_told_of_if_asked, relative_paths_are_told_whole,
        nothing_is_told_unless_asked, calls_do_the_same, a_flood_is_counted;
    User: what_is_closed_outside_too_is_not_told;
];

/// What was told of one run, in lines and in events.
struct Told {
    outcome: Outcome,
    events: Vec<Value>,
}

impl Told {
    fn of(f: &Fixture, flags: &[&str], command: &[&str]) -> Self {
        let sink = format!("--events={}", f.path("outside/events"));
        let outcome = f.run(&[flags, &[sink.as_str()]].concat(), command);
        let text = f.read("outside/events");
        let events = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        Self { events: events.collect(), outcome }
    }

    fn by_probe(f: &Fixture, flags: &[&str], attempt: &[&str]) -> Self {
        Self::of(f, flags, &[&["./probe"], attempt].concat())
    }

    /// The events of files, sockets and calls that have all of these.
    fn find(&self, wanted: &[(&str, &str)]) -> Vec<&Value> {
        let has = |event: &&Value| wanted.iter().all(|(key, value)| event[*key] == *value);
        self.events.iter().filter(has).collect()
    }

    /// One event has all of these and the flag, and one line says the same.
    #[track_caller]
    fn assert(&self, wanted: &[(&str, &str)], hint: Option<&str>, line: &str) {
        let found = self.find(wanted);
        assert_eq!(found.len(), 1, "{wanted:?} in {:?}\n{}", self.events, self.outcome);
        assert!(found[0]["allowed"] == false && found[0]["hint"].as_str() == hint, "{}", found[0]);
        let mut lines = self.outcome.stderr.lines().skip_while(|own| !own.starts_with(line));
        assert!(lines.next().is_some(), "`{line}`\n{}", self.outcome);
        let next = lines.next().and_then(|next| next.strip_prefix("hint: "));
        assert_eq!(next, hint, "\n{}", self.outcome);
    }

    /// Nothing of files, sockets and calls that has `text`.
    #[track_caller]
    fn assert_silent(&self, text: &str) {
        let is_told = |event: &&Value| ["file", "socket", "call"].iter().any(|kind| event["event"] == *kind);
        let told: Vec<_> =
            self.events.iter().filter(is_told).filter(|event| event.to_string().contains(text)).collect();
        assert!(told.is_empty(), "{told:?}");
        assert!(!self.outcome.stderr.contains("zerobox: blocked: "), "\n{}", self.outcome);
    }
}

const DENIALS: &str = "--report=denials";

fn a_read_of_a_private_file_is_told(f: &Fixture) -> Verdict {
    f.write("home/notes", "notes\n");
    let path = f.path("home/notes");
    let told = Told::of(f, &[DENIALS], &["/bin/sh", "-c", "for i in 1 2 3; do cat ~/notes; done; exit 7"]);
    told.outcome.assert_code(7).assert_stdout("");
    let hint = format!("--allow-read={path}");
    let wanted = [("event", "file"), ("use", "read"), ("path", &path), ("program", "cat")];
    let line = format!("zerobox: blocked: read of `{path}` (cat): the home directory is private, 3 times");
    told.assert(&wanted, Some(&hint), &line);
    // The flag is the remedy, and then there is nothing to tell.
    let told = Told::of(f, &[DENIALS, &hint], &["/bin/cat", &path]);
    told.outcome.assert_code(0).assert_stdout("notes\n");
    told.assert_silent(&path);
    assert_eq!(f.outside(&["read", &path]).verdict(), "ok");
    Ok(())
}

/// The flag for a key is not one to be pasted without a thought.
fn a_credential_is_told_with_a_warning(f: &Fixture) -> Verdict {
    let path = f.path("home/.ssh/id_ed25519");
    let told = Told::by_probe(f, &[DENIALS], &["read", &path]);
    let hint = format!("think twice: keys of ssh would be open with `--allow-read={path}`");
    let line = format!("zerobox: blocked: read of `{path}` (probe): the home directory is private");
    told.assert(&[("use", "read"), ("path", &path)], Some(&hint), &line);
    assert_eq!(f.outside(&["read", &path]).verdict(), "ok");
    Ok(())
}

fn writes_to_a_read_only_tree_are_told(f: &Fixture) -> Verdict {
    let (file, new, project) = (f.path("project/readme.txt"), f.path("project/new"), f.path("project"));
    let attempts: &[(&[&str], &str, &str)] = &[
        (&["open-write", &file], &file, &file),
        (&["truncate", &file], &file, &file),
        (&["chmod", &file, "0600"], &file, &file),
        (&["create", &new], &new, &project),
        (&["mkdir", &new], &new, &project),
        (&["symlink", "target", &new], &new, &project),
    ];
    for (attempt, path, opened) in attempts {
        let told = Told::by_probe(f, &[DENIALS], attempt);
        assert_eq!(told.outcome.verdict(), "EROFS", "{attempt:?}\n{}", told.outcome);
        let hint = format!("--allow-write={opened}");
        let wanted = [("event", "file"), ("use", "write"), ("path", path), ("program", "probe")];
        let line = format!(
            "zerobox: blocked: write to `{path}` (probe): nothing of the host is writable by default"
        );
        told.assert(&wanted, Some(&hint), &line);
    }
    for (attempt, _, opened) in attempts {
        let told = Told::by_probe(f, &[DENIALS, &format!("--allow-write={opened}")], attempt);
        assert_eq!(told.outcome.verdict(), "ok", "{attempt:?}\n{}", told.outcome);
        told.assert_silent(&project);
        let _ = std::fs::remove_dir(&new).or_else(|_| std::fs::remove_file(&new));
    }
    Ok(())
}

/// No flag opens what a deny closes.
fn a_deny_names_its_rule_and_no_flag(f: &Fixture) -> Verdict {
    let path = f.path("project/readme.txt");
    let told = Told::by_probe(f, &[DENIALS, "--deny-read=./readme.txt"], &["read", &path]);
    assert_ne!(told.outcome.verdict(), "ok", "\n{}", told.outcome);
    let wanted = [("use", "read"), ("path", &*path), ("rule", "--deny-read=./readme.txt")];
    let line = format!("zerobox: blocked: read of `{path}` (probe): denied (`--deny-read=./readme.txt`)");
    told.assert(&wanted, None, &line);
    Ok(())
}

fn a_program_that_is_not_there_is_told(f: &Fixture) -> Verdict {
    f.write_script("outside/tool", "#!/bin/sh\necho ran\n");
    let path = f.path("outside/tool");
    let told = Told::by_probe(f, &[DENIALS], &["exec", &path]);
    assert_eq!(told.outcome.verdict(), "ENOENT", "\n{}", told.outcome);
    let hint = format!("--allow-read={path}");
    let line = format!("zerobox: blocked: execution of `{path}` (probe): ");
    told.assert(&[("use", "execute"), ("path", &path), ("program", "probe")], Some(&hint), &line);
    Told::by_probe(f, &[DENIALS, &hint], &["exec", &path]).outcome.assert_stdout("ran\n");
    Ok(())
}

fn a_refused_call_is_told(f: &Fixture) -> Verdict {
    let told = Told::by_probe(f, &[DENIALS], &["keyctl"]);
    assert_eq!(told.outcome.verdict(), "EPERM", "\n{}", told.outcome);
    let wanted = [("event", "call"), ("name", "keyctl"), ("program", "probe")];
    told.assert(&wanted, None, "zerobox: blocked: system call `keyctl` (probe): the filter refuses it");
    Ok(())
}

fn a_socket_of_the_host_is_told(f: &Fixture) -> Verdict {
    let path = f.path("project/host.sock");
    let server = f.serve("stream", &path);
    let told = Told::by_probe(f, &[DENIALS], &["unix-connect", &path]);
    assert_eq!(told.outcome.verdict(), "ECONNREFUSED", "\n{}", told.outcome);
    assert_eq!(server.contacts(), 0);
    let hint = format!("--allow-socket={path}");
    let line = format!("zerobox: blocked: connection to the socket `{path}` (probe): it was made outside");
    told.assert(&[("event", "socket"), ("path", &path), ("program", "probe")], Some(&hint), &line);
    let told = Told::by_probe(f, &[DENIALS, &hint], &["unix-connect", &path]);
    assert_eq!(told.outcome.verdict(), "ok", "\n{}", told.outcome);
    assert_eq!(server.contacts(), 1);
    told.assert_silent(&path);
    Ok(())
}

/// A search along PATH or for settings asks for many names that nobody has.
fn what_does_not_exist_is_not_told(f: &Fixture) -> Verdict {
    for name in ["home/nothing", "outside/nothing", "project/nothing", "outside/nothing/below"] {
        let path = f.path(name);
        for attempt in [&["read", &path][..], &["access", &path], &["exec", &path], &["unix-connect", &path]]
        {
            let told = Told::by_probe(f, &[DENIALS], attempt);
            assert_ne!(told.outcome.verdict(), "ok", "{attempt:?}\n{}", told.outcome);
            told.assert_silent("nothing");
        }
    }
    Ok(())
}

/// Also as an owner one has no right to a file whose mode says so; root has.
fn what_is_closed_outside_too_is_not_told(f: &Fixture) -> Verdict {
    f.chmod("outside/secret.txt", 0);
    let (closed, open) = (f.path("outside/secret.txt"), f.path("outside/dir/inner.txt"));
    assert_eq!(f.outside(&["read", &closed]).verdict(), "EACCES");
    Told::by_probe(f, &[DENIALS], &["read", &closed]).assert_silent("secret.txt");
    assert_eq!(Told::by_probe(f, &[DENIALS], &["read", &open]).find(&[("path", &*open)]).len(), 1);
    let own = "/etc/hostname";
    assert_eq!(f.outside(&["open-write", own]).verdict(), "EACCES");
    Told::by_probe(f, &[DENIALS], &["open-write", own]).assert_silent(own);
    Ok(())
}

fn everything_is_told_of_if_asked(f: &Fixture) -> Verdict {
    let (file, private) = (f.path("project/readme.txt"), f.path("home/.ssh/id_ed25519"));
    let script = format!("cat {file} {private}");
    let all = Told::of(f, &["--report=all"], &["/bin/sh", "-c", &script]);
    let read = all.find(&[("use", "read"), ("path", &file), ("program", "cat")]);
    assert_eq!(read.len(), 1, "{:?}", all.events);
    assert!(read[0]["allowed"] == true && read[0]["rule"].is_string(), "{}", read[0]);
    let refused = all.find(&[("use", "read"), ("path", &private)]);
    assert!(refused.len() == 1 && refused[0]["allowed"] == false, "{refused:?}");
    // For people it is what was refused, as ever.
    assert!(!all.outcome.stderr.contains(&*file), "\n{}", all.outcome);
    let denials = Told::of(f, &[DENIALS], &["/bin/sh", "-c", &script]);
    assert!(denials.find(&[("path", &file)]).is_empty(), "{:?}", denials.events);
    assert_eq!(denials.find(&[("path", &private)]).len(), 1, "{:?}", denials.events);
    Ok(())
}

/// The program that asked may have ended before anybody looks.
fn relative_paths_are_told_whole(f: &Fixture) -> Verdict {
    let path = f.path("project/sub/new");
    f.mkdir("project/sub");
    for report in [DENIALS, "--report=all"] {
        for _ in 0..10 {
            let told = Told::of(
                f,
                &[report],
                &["/bin/sh", "-c", "cd sub; (: > new); ./../probe exec ../../outside/dir/inner.txt; true"],
            );
            let wanted = [("use", "write"), ("path", &*path), ("program", "sh")];
            assert_eq!(told.find(&wanted).len(), 1, "{:?}\n{}", told.events, told.outcome);
        }
    }
    Ok(())
}

fn nothing_is_told_unless_asked(f: &Fixture) -> Verdict {
    let script = "cat ~/.ssh/id_ed25519; (: > new); ./probe keyctl; echo ran";
    for flags in [&["--report=off"][..], &["--report=off", "--debug"]] {
        let told = Told::of(f, flags, &["/bin/sh", "-c", script]);
        assert!(told.outcome.text().ends_with("ran\n"), "\n{}", told.outcome);
        told.assert_silent("");
    }
    // Without a terminal and without events nobody may be there to read it.
    let outcome = f.sh(&[], script);
    assert!(!outcome.stderr.contains("blocked"), "\n{outcome}");
    let outcome = f.sh(&[DENIALS, "--quiet"], script);
    assert!(!outcome.stderr.contains("zerobox: "), "\n{outcome}");
    let outcome = f.sh(&[DENIALS], script);
    assert_eq!(outcome.stderr.matches("zerobox: blocked: ").count(), 3, "\n{outcome}");
    Ok(())
}

/// To watch holds nothing, lets nothing through and changes no result.
fn calls_do_the_same(f: &Fixture) -> Verdict {
    let (secret, readme) = (f.path("outside/secret.txt"), f.path("project/readme.txt"));
    f.mkdir("project/out");
    f.write("project/out/file", "text\n");
    let attempts: &[&[&str]] = &[
        &["read", &secret],
        &["read", &readme],
        &["read-at", ".", "readme.txt"],
        &["stat", &secret],
        &["access", &readme],
        &["list", "."],
        &["chdir", "/nowhere"],
        &["open-write", &readme],
        &["open-write", "out/file"],
        &["truncate", "out/file"],
        &["create", "out/new"],
        &["mkdir", "out/directory"],
        &["rmdir", "out/directory"],
        &["rename", "out/new", "out/newer"],
        &["rename", "out/newer", "newer"],
        &["link", "out/newer", "out/linked"],
        &["link", &secret, "out/secret"],
        &["symlink", &secret, "out/link"],
        &["read", "out/link"],
        &["unlink", "out/link"],
        &["unlink", &readme],
        &["chmod", "out/file", "0640"],
        &["utimes", "out/file"],
        &["exec", "/bin/true"],
        &["exec", &secret],
        &["openat2", &secret],
        &["keyctl"],
        &["call", "9999"],
    ];
    let verdicts = |report: &str| {
        let verdict = |attempt: &&[&str]| f.inside(&[report, "--allow-write=./out"], attempt).verdict();
        let verdicts: Vec<_> = attempts.iter().map(verdict).collect();
        for name in ["out/newer", "out/linked"] {
            std::fs::remove_file(f.project.join(name)).expect("it was made");
        }
        verdicts
    };
    let unwatched = verdicts("--report=off");
    assert!(
        unwatched.contains(&"ok".to_owned()) && unwatched.contains(&"ENOENT".to_owned()),
        "{unwatched:?}"
    );
    for report in [DENIALS, "--report=all"] {
        let watched = verdicts(report);
        for ((attempt, unwatched), watched) in attempts.iter().zip(&unwatched).zip(&watched) {
            assert_eq!(unwatched, watched, "{attempt:?} with {report}");
        }
    }
    Ok(())
}

/// Each thing is one event, however often it is tried.
fn a_flood_is_counted(f: &Fixture) -> Verdict {
    f.write("home/notes", "notes\n");
    let path = f.path("home/notes");
    let script = "import os\nfor i in range(2000):\n try: os.open(os.path.expanduser('~/notes'), 0)\n except OSError: pass";
    let told = Told::of(f, &[DENIALS], &["/usr/bin/python3", "-c", script]);
    told.outcome.assert_code(0);
    let line =
        format!("zerobox: blocked: read of `{path}` (python3): the home directory is private, 2000 times");
    let hint = format!("--allow-read={path}");
    told.assert(&[("path", &path)], Some(&hint), &line);
    Ok(())
}
