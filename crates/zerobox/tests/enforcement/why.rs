//! `zerobox why` and the kernel, asked the same questions.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome::{Outcome, Running};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

pub const CASES: &[Case] = cases![
    Everyone: files_agree_with_the_kernel, a_change_turns_the_answer_around, links_are_followed, variables_agree_with_the_command,
        networks_are_asked_about, requests_and_secrets_are_asked_about, credentials_are_never_proposed_without_a_warning,
        codes_and_bad_questions, answers_for_people_and_programs;
];

/// Flags of policies, with `@` for the root of the fixture.
const POLICIES: &[&[&str]] = &[
    &[],
    &["--allow-write=."],
    &["--allow-write=.", "--deny-write=sub"],
    &["--allow-write=.", "--deny-read=sub"],
    &["--allow-write=.", "--deny-read=sub/file.txt", "--allow-write=.git/hooks/pre-commit"],
    &["--deny-read=readme.txt", "--allow-write=sub"],
    &["--allow-read=@/outside"],
    &["--allow-write=@/outside"],
    &["--allow-write=@/outside/dir", "--deny-read=@/outside/secret.txt"],
    &["--allow-read=@/outside/link"],
    &["--allow-write=@/outside/secret.txt"],
    &["--allow-read"],
    &["--allow-write"],
    &["--allow-write", "--deny-read=@/outside", "--deny-write=@/home"],
    &["--allow-read=@/home"],
    &["--allow-write=@/home"],
    &["--allow-read=@/home/.config"],
    &["--allow-write=@/home/.config", "--allow-read=@/home/alias"],
    &["--share-tmp"],
    &["--allow-read=/etc"],
    &["--deny-read=/etc"],
    &["--allow-read=/sys"],
    &["--allow-read=pipe"],
    &["--allow-write=pipe"],
    &["--allow-read=@/outside/pipe"],
    &["--allow-write=@/outside/pipe"],
    &["--allow-read=/dev/fuse?"],
    &["--allow-write=/dev/fuse?"],
    &["--allow-socket=sock"],
    &["--allow-net=example.com"],
    &["--deny-write=/etc/hosts", "--allow-net=example.com"],
];

/// Paths of the fixture that exist, below its root.
const OWN: &[&str] = &[
    "project",
    "project/readme.txt",
    "project/sub",
    "project/sub/file.txt",
    "project/sub/dir/deep.txt",
    "project/.git",
    "project/.git/hooks",
    "project/.git/hooks/pre-commit",
    "project/.git/config",
    "project/.git/HEAD",
    "project/.bashrc",
    "project/link",
    "project/folder/secret.txt",
    "project/inner-link",
    "project/dangling",
    "project/pipe",
    "project/sock",
    "project/closed.txt",
    "project/unsearchable/file.txt",
    "project/script.sh",
    "project/a,b c",
    "outside",
    "outside/secret.txt",
    "outside/dir",
    "outside/pipe",
    "outside/dir/inner.txt",
    "outside/link",
    "home",
    "home/.ssh/id_ed25519",
    "home/.config",
    "home/.config/tool/settings.toml",
    "home/alias",
    "home/alias/readme.txt",
    "",
];

/// Those that do not.
const ABSENT: &[&str] = &[
    "project/new.txt",
    "project/newdir/new.txt",
    "project/.git/hooks/new",
    "project/.zshrc",
    "project/sub/new.txt",
    "outside/new.txt",
    "outside/dir/new.txt",
    "home/new.txt",
    "home/newdir/new.txt",
    "home/.config/new.txt",
    "new.txt",
];

/// Paths of the machine.
const MACHINE: &[&str] = &[
    "/",
    "/usr",
    "/usr/bin/env",
    "/bin/true",
    "/etc",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/hostname",
    "/etc/cron.d",
    "/etc/ssl",
    "/etc/ssl/private",
    "/etc/fstab",
    "/tmp",
    "/tmp/new.txt",
    "/var/tmp",
    "/var",
    "/var/log",
    "/dev",
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
    "/dev/shm",
    "/dev/shm/new",
    "/dev/pts",
    "/dev/kmsg",
    "/dev/vda",
    "/dev/fuse",
    "/proc",
    "/proc/self/status",
    "/proc/self/environ",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/1/environ",
    "/proc/keys",
    "/proc/kcore",
    "/proc/kallsyms",
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/hostname",
    "/proc/sys/vm/overcommit_memory",
    "/sys",
    "/sys/kernel",
    "/sys/kernel/mm",
    "/nothing/here",
    "/root",
    "/home",
    "/opt",
    "/srv",
];

fn furnish(f: &Fixture) {
    for name in
        ["sub/file.txt", "sub/dir/deep.txt", ".git/config", ".git/HEAD", ".bashrc", "closed.txt", "a,b c"]
    {
        f.write(&format!("project/{name}"), "text\n");
    }
    f.write_script("project/.git/hooks/pre-commit", "#!/bin/sh\n");
    f.write_script("project/script.sh", "#!/bin/sh\nexit 0\n");
    f.mkdir("project/.git/objects");
    f.write("project/unsearchable/file.txt", "text\n");
    f.write("home/.config/tool/settings.toml", "text\n");
    f.link(&f.path("outside/secret.txt"), "project/link");
    f.link("../outside", "project/folder");
    f.link("sub/file.txt", "project/inner-link");
    f.link("nothing", "project/dangling");
    f.link("../project", "home/alias");
    f.chmod("project/closed.txt", 0o000);
    f.chmod("project/unsearchable", 0o600);
    for pipe in ["project/pipe", "outside/pipe"] {
        f.outside(&["mkfifo", &f.path(pipe)]);
        assert!(f.exists(pipe), "a pipe was made");
    }
}

/// The lines of `command`, which is asked `questions`.
#[track_caller]
fn ask(mut command: Command, questions: &str) -> Outcome {
    use std::io::Write;
    let mut running = Running::start_with_input(&mut command, Stdio::piped());
    let mut stdin = running.child.stdin.take().expect("piped above");
    let questions = questions.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let outcome = running.finish(3 * LIMIT);
    let _ = writer.join();
    outcome
}

/// Answers of `why` under a policy: the verdict, and the whole.
#[track_caller]
fn why(f: &Fixture, flags: &[&str], questions: &str) -> Vec<serde_json::Value> {
    let mut command = f.command(f.tools.zerobox.to_str().expect("UTF-8"));
    command.arg("why").args(flags).arg("--batch");
    let outcome = ask(command, questions);
    let answers: Vec<_> =
        outcome.lines().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(answers.len() == questions.lines().count(), "an answer for each question\n{outcome}");
    answers
}

fn flags_of(f: &Fixture, policy: &[&str]) -> Vec<String> {
    policy.iter().map(|flag| flag.replace('@', f.root.to_str().expect("UTF-8"))).collect()
}

fn files_agree_with_the_kernel(f: &Fixture) -> Verdict {
    furnish(f);
    let _server = f.serve("stream", &f.path("project/sock"));
    let own = OWN.iter().chain(ABSENT).map(|name| f.path(name).trim_end_matches('/').to_owned());
    let own: Vec<String> = own.collect();
    let machine = MACHINE.iter().map(|path| (*path).to_owned());
    let paths: Vec<String> = own.iter().cloned().chain(machine).collect();
    let kinds = |path: &str| match path {
        _ if path.ends_with("script.sh") || path.ends_with("readme.txt") || path.ends_with("/sub") => {
            &["read", "write", "exec"][..]
        }
        _ => &["read", "write"],
    };
    let cases: Vec<(&str, &String)> =
        paths.iter().flat_map(|path| kinds(path).iter().map(move |kind| (*kind, path))).collect();
    let questions: String = cases.iter().map(|(kind, path)| format!("{kind} {path}\n")).collect();
    let mut probe = f.command(&f.path("project/probe"));
    probe.arg("answers");
    let bare = ask(probe, &questions).lines();
    let (mut allowed, mut kept_from, mut wrong) = (0, 0, Vec::new());
    for policy in POLICIES {
        let flags = flags_of(f, policy);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let answers = why(f, &flags, &questions);
        let probe = f.path("project/probe");
        let outcome = ask(f.zerobox(&flags, &[&probe, "answers"]), &questions);
        let kernel = outcome.lines();
        assert!(kernel.len() == cases.len(), "the probe answers everything under {flags:?}\n{outcome}");
        for (((kind, path), answer), (kernel, bare)) in
            cases.iter().zip(&answers).zip(kernel.iter().zip(&bare))
        {
            let says = answer["allowed"].as_bool().expect("a verdict");
            let is_there = *kind == "write" || Path::new(path).exists();
            let expected = if !says {
                kernel != "ok"
            } else if is_there {
                kernel == "ok"
            } else {
                kernel == "ENOENT"
            };
            if !expected {
                wrong.push(format!("{flags:?}: {kind} {path}: the kernel says {kernel}, and why: {answer}"));
            }
            allowed += usize::from(says);
            kept_from += usize::from(!says && bare == "ok" && own.contains(path));
        }
    }
    assert!(wrong.is_empty(), "{} disagreements\n{}", wrong.len(), wrong.join("\n"));
    assert!(allowed > 500 && kept_from > 500, "{allowed} allowed, {kept_from} that work without the sandbox");
    Ok(())
}

/// What is proposed, given as a flag, allows what was asked about.
fn a_change_turns_the_answer_around(f: &Fixture) -> Verdict {
    furnish(f);
    let names = OWN.iter().chain(ABSENT).map(|name| f.path(name));
    let paths: Vec<String> =
        names.chain(["/etc/fstab", "/etc/shadow", "/var/log"].map(str::to_owned)).collect();
    let questions: Vec<String> =
        paths.iter().flat_map(|path| ["read", "write"].map(|kind| format!("{kind} {path}"))).collect();
    let mut turned = BTreeSet::new();
    for policy in [&POLICIES[0], &POLICIES[1], &POLICIES[7]] {
        let flags = flags_of(f, policy);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let answers = why(f, &flags, &(questions.join("\n") + "\n"));
        for (question, answer) in
            questions.iter().zip(&answers).filter(|(_, answer)| answer["allowed"] == false)
        {
            let Some(flag) = answer["change"]["flag"].as_str() else { continue };
            assert!(answer["change"]["how"] == "add", "{answer}");
            // It is for a shell.
            let script = format!("\"$ZEROBOX\" why --batch {} {flag}", flags.join(" "));
            let outcome = ask(f.host_sh(&script), &format!("{question}\n"));
            let then: serde_json::Value =
                serde_json::from_str(&outcome.text()).unwrap_or_else(|_| panic!("{answer}\n{outcome}"));
            assert!(then["allowed"] == true, "{question}: {answer}, and then {then}");
            turned.insert(flag.to_owned());
        }
    }
    assert!(turned.len() > 20, "{turned:?}");
    Ok(())
}

fn links_are_followed(f: &Fixture) -> Verdict {
    furnish(f);
    let answers = why(f, &[], &format!("read folder/secret.txt\nread {}\n", f.path("home/alias/readme.txt")));
    assert_eq!(answers[0]["subject"], f.path("outside/secret.txt"));
    assert_eq!(answers[0]["change"]["flag"], format!("--allow-read={}", f.path("outside/secret.txt")));
    let because = answers[1]["because"].as_str().expect("text");
    assert!(because.contains("home/alias` is not there"), "{because}");
    Ok(())
}

fn variables_agree_with_the_command(f: &Fixture) -> Verdict {
    let names = [
        "PATH",
        "HOME",
        "PWD",
        "ZEROBOX",
        "AWS_SECRET",
        "CI_JOB",
        "LD_PRELOAD_X",
        "NODE_OPTIONS",
        "LC_ALL",
        "UNSET",
    ];
    let questions: String = names.iter().map(|name| format!("env {name}\n")).collect();
    let policies: &[&[&str]] = &[
        &[],
        &["--allow-env"],
        &["--allow-env=AWS_*,NODE_OPTIONS"],
        &["--allow-env", "--deny-env=CI_*"],
        &["--env", "CI_JOB=1", "--deny-env=P*"],
        &["--no-sandbox"],
    ];
    let mut verdicts = BTreeSet::new();
    for flags in policies {
        let set = |command: &mut Command| {
            command.envs(
                names
                    .iter()
                    .filter(|name| !["PATH", "HOME", "UNSET", "PWD", "ZEROBOX"].contains(*name))
                    .map(|name| (*name, "")),
            );
        };
        let mut command = f.command(f.tools.zerobox.to_str().expect("UTF-8"));
        set(command.arg("why").args(*flags).arg("--batch"));
        let answers = ask(command, &questions).lines();
        let mut command = f.zerobox(flags, &["/usr/bin/env"]);
        set(&mut command);
        let inside = ask(command, "").lines();
        for (name, answer) in names.iter().zip(&answers).filter(|(name, _)| **name != "UNSET") {
            let answer: serde_json::Value = serde_json::from_str(answer).expect("JSON");
            let has = inside.iter().any(|line| line.starts_with(&format!("{name}=")));
            let is_own = *name == "ZEROBOX" && flags == &["--no-sandbox"];
            assert!(is_own || answer["allowed"] == has, "{flags:?}: {name}: {answer} and {inside:?}");
            verdicts.insert((*name, has));
        }
    }
    for name in ["AWS_SECRET", "CI_JOB", "NODE_OPTIONS", "PATH"] {
        assert!(
            verdicts.contains(&(name, true)) && verdicts.contains(&(name, false)),
            "{name}: {verdicts:?}"
        );
    }
    Ok(())
}

#[track_caller]
fn expect(f: &Fixture, flags: &[&str], question: &str, allowed: bool, flag: &str) {
    let answer = &why(f, flags, &format!("{question}\n"))[0];
    let change = answer["change"]["flag"].as_str().unwrap_or_default();
    assert!(answer["allowed"] == allowed && change == flag, "{flags:?}: {question}: {answer}");
}

fn networks_are_asked_about(f: &Fixture) -> Verdict {
    expect(f, &[], "net github.com:22", false, "--allow-net=github.com:22");
    expect(f, &["--allow-net=github.com:443"], "net github.com:22", false, "--allow-net=github.com:22");
    expect(f, &["--allow-net=*.github.com"], "net api.GitHub.com:22", true, "--deny-net=api.github.com:22");
    expect(f, &["--allow-net"], "net localhost:5432", false, "--allow-net=localhost:5432");
    expect(f, &["--allow-net"], "net 93.184.216.34:80", false, "--allow-net=93.184.216.34:80");
    expect(f, &["--allow-net=0.0.0.0/0"], "net 93.184.216.34:80", true, "--deny-net=93.184.216.34:80");
    expect(f, &["--allow-net=0.0.0.0/0"], "net 169.254.169.254:80", false, "--allow-net=169.254.169.254:80");
    expect(f, &["--allow-net", "--deny-net=a.test"], "net a.test:80", false, "--deny-net=a.test");
    expect(f, &["--allow-net=a.test"], "net udp://a.test:123", false, "--allow-net=udp://a.test:123");
    let pinned = ["--allow-net=a.test", "--resolve=a.test:80:10.0.0.1", "--deny-net=10.0.0.0/8"];
    expect(f, &pinned, "net a.test:80", false, "--deny-net=10.0.0.0/8");
    expect(f, &["--net=host"], "net a.test:80", true, "--net=host");
    // A connection says the same.
    let server = f.serve("tcp", "-");
    let host = format!("localhost:{}", server.port);
    let rule = format!("--allow-net={host}");
    expect(f, &[&rule], &format!("net {host}"), true, &format!("--deny-net={host}"));
    assert_eq!(f.inside(&[&rule], &["tcp-connect", "127.0.0.1", &server.port]).verdict(), "ok");
    expect(f, &[], &format!("net {host}"), false, &rule);
    assert_ne!(f.inside(&[], &["tcp-connect", "127.0.0.1", &server.port]).verdict(), "ok");
    Ok(())
}

fn requests_and_secrets_are_asked_about(f: &Fixture) -> Verdict {
    let rule = "--allow-http=GET https://a.test/open/**";
    expect(f, &[rule], "http GET https://a.test/open/x", true, "--deny-http='GET https://a.test/open/x'");
    expect(f, &[rule], "http POST https://a.test/open/x", false, "--allow-http='POST https://a.test/open/x'");
    expect(f, &[], "http GET https://a.test/", false, "--allow-http='GET https://a.test/'");
    let deny = "--deny-http=GET **/secret";
    expect(f, &[rule, deny], "http GET https://a.test/open/secret", false, "--deny-http='GET **/secret'");
    expect(
        f,
        &["--allow-net=a.test"],
        "http GET https://a.test/x",
        true,
        "--deny-http='GET https://a.test/x'",
    );
    let secret = ["--secret", "KEY", "--secret-host", "KEY=a.test"];
    expect(f, &secret, "secret KEY a.test", true, "--secret-host=KEY=a.test");
    expect(f, &secret, "secret KEY b.test", false, "--secret-host KEY=b.test");
    expect(f, &secret, "secret OTHER b.test:8443", false, "--secret OTHER --secret-host OTHER=b.test:8443");
    expect(f, &secret, "env KEY", true, "");
    Ok(())
}

fn credentials_are_never_proposed_without_a_warning(f: &Fixture) -> Verdict {
    for name in [".aws/credentials", ".gnupg/key", ".config/gh/hosts.yml", ".netrc"] {
        f.write(&format!("home/{name}"), "secret\n");
    }
    f.write("home/notes.txt", "text\n");
    for name in [
        ".ssh/id_ed25519",
        ".ssh",
        ".aws/credentials",
        ".gnupg",
        ".config/gh/hosts.yml",
        ".netrc",
        "",
        "notes.txt",
    ] {
        let path = f.path(&format!("home/{name}"));
        for kind in ["read", "write"] {
            let answer =
                &why(f, &[&format!("--deny-read={}", f.path("outside"))], &format!("{kind} {path}\n"))[0];
            let change = &answer["change"];
            assert!(change.is_null() || change["warning"].is_string() != (name == "notes.txt"), "{answer}");
            assert!(!change.is_null() || kind == "write" || name.is_empty(), "{answer}");
        }
    }
    Ok(())
}

fn codes_and_bad_questions(f: &Fixture) -> Verdict {
    let code = |arguments: &[&str]| {
        let mut command = f.command(f.tools.zerobox.to_str().expect("UTF-8"));
        ask(
            {
                command.arg("why").args(arguments);
                command
            },
            "",
        )
    };
    code(&["read", "readme.txt"]).assert_code(0);
    code(&["write", "readme.txt", "--allow-write=."]).assert_code(0);
    code(&["write", "readme.txt"]).assert_code(1);
    for bad in [
        &["list", "."][..],
        &[],
        &["read"],
        &["net", "a.test"],
        &["net", "a..b:1"],
        &["read", "a", "b"],
        &["read", "x", "--unknown"],
    ] {
        let outcome = code(bad);
        outcome.assert_code(2).assert_stdout("").assert_stderr_has("hint: ");
    }
    code(&["read", "readme.txt", "--allow-read=missing"])
        .assert_code(125)
        .assert_stdout("")
        .assert_stderr_has("missing");
    // A command of that name is one behind `--`.
    f.run(&[], &["why"]).assert_code(127);
    Ok(())
}

fn answers_for_people_and_programs(f: &Fixture) -> Verdict {
    let mut command = f.command(f.tools.zerobox.to_str().expect("UTF-8"));
    command.args(["why", "write", "a\u{1b}[31m", "--json"]);
    let json = ask(command, "");
    let answer: serde_json::Value = serde_json::from_str(&json.text()).expect("one value");
    assert_eq!(answer["version"], 1);
    assert!(answer["allowed"] == false && answer["question"] == "write a\u{1b}[31m", "{answer}");
    let mut command = f.command(f.tools.zerobox.to_str().expect("UTF-8"));
    command.args(["why", "write", "a\u{1b}[31m", "--allow-write=."]);
    let text = ask(command, "");
    text.assert_code(0);
    assert!(!text.text().contains('\u{1b}'), "nothing that a terminal obeys\n{text}");
    assert!(text.text().starts_with("allowed  write a\\u{1b}[31m\n"), "{text}");
    assert!(text.text().contains("(--allow-write=.)"), "{text}");
    Ok(())
}
