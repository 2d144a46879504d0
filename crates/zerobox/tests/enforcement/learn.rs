//! `zerobox learn`: what it finds suffices, what was written meanwhile is gone, and credentials are neither seen nor granted.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome::{self, Outcome, Running};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

pub const CASES: &[Case] = cases![
    Everyone: what_was_learned_suffices, what_was_written_is_gone, credentials_are_hidden_and_not_granted,
        credentials_with_a_second_name_are_hidden, listing_credentials_grants_nothing, neither_home_nor_root_is_granted,
        the_home_as_working_directory_is_not_learned, protected_names_stay_protected,
        a_path_through_a_link_grants_no_other, what_was_not_learned_stays, an_edited_profile_stays,
        a_forged_profile_is_not_obeyed, a_link_is_not_written_through, two_runs_merge, an_interrupted_run_is_kept,
        without_proof, a_profile_that_does_not_suffice, names_inject_nothing, a_profile_elsewhere_begins_at_cwd,
        exit_codes_are_the_commands, nothing_without_a_sandbox, the_layers_are_out_of_reach, marks_of_overlays_do_nothing,
        sockets_of_the_host_are_out_of_reach, hosts_are_learned_when_asked_for, changes_of_the_home_itself_grant_nothing;
    Root: a_tree_with_mounts_is_read_only;
];

fn learn(f: &Fixture, flags: &[&str], command: &[&str]) -> Command {
    let mut zerobox = f.command(f.tools.zerobox.to_str().expect("UTF-8"));
    zerobox.arg("learn").args(flags).arg("--").args(command);
    zerobox
}

fn learned(f: &Fixture, flags: &[&str], script: &str) -> Outcome {
    outcome::run(&mut learn(f, flags, &["/bin/sh", "-c", script]), LIMIT)
}

/// The lines of the profile that obey somebody.
fn rules(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with(['#', 'd']));
    lines.map(|line| line.split("   # ").next().unwrap_or(line).to_owned() + "\n").collect()
}

fn what_was_learned_suffices(f: &Fixture) -> Verdict {
    let script = "cat ../outside/secret.txt && echo new > out.txt";
    let bare = f.sh(&[], script);
    assert_ne!(bare.code, Some(0), "the default policy has none of it\n{bare}");
    let outcome = learned(f, &[], script);
    outcome.assert_code(0).assert_stdout("secret\n").assert_stderr_has("verified");
    assert!(!f.exists("project/out.txt"), "\n{outcome}");
    let text = f.read("project/zerobox.toml");
    let file = f.path("outside/secret.txt");
    assert!(rules(&text).contains(&format!("\"{file}\"")) && rules(&text).contains("\".\""), "{text}");
    f.sh(&["--profile=./zerobox.toml"], script).assert_code(0).assert_stdout("secret\n");
    assert_eq!(f.read("project/out.txt"), "new\n");
    Ok(())
}

fn what_was_written_is_gone(f: &Fixture) -> Verdict {
    for place in ["project", "home"] {
        f.write(&format!("{place}/old"), "old\n");
        f.write(&format!("{place}/gone"), "old\n");
        f.write(&format!("{place}/dir/x"), "x\n");
        f.write(&format!("{place}/mode"), "x\n");
        f.chmod(&format!("{place}/mode"), 0o640);
    }
    let script = "for d in . $HOME; do ( cd $d && echo new > new && echo more >> old && rm gone && mv dir moved && chmod 777 mode &&
        ln old linked && mkdir -p a/b && touch a/b/c && cat new old moved/x && ls dir gone ) || true; done";
    let outcome = learned(f, &["--no-verify"], script);
    assert_eq!(outcome.text(), "new\nold\nmore\nx\n".repeat(2), "it works inside\n{outcome}");
    for place in ["project", "home"] {
        assert_eq!(f.read(&format!("{place}/old")), "old\n");
        assert_eq!(f.read(&format!("{place}/gone")), "old\n");
        assert_eq!(f.read(&format!("{place}/dir/x")), "x\n");
        let mode = f.root.join(place).join("mode").metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        for name in ["new", "linked", "moved", "a"] {
            assert!(!f.exists(&format!("{place}/{name}")), "{place}/{name}\n{outcome}");
        }
    }
    f.host_sh(script).status().expect("a shell");
    assert!(f.exists("project/moved/x") && f.exists("home/a/b/c"), "it would be there");
    Ok(())
}

fn credentials_are_hidden_and_not_granted(f: &Fixture) -> Verdict {
    f.write("project/.env", "TOKEN=s3cr3t\n");
    f.write("project/.env.local", "TOKEN=s3cr3t\n");
    f.write("home/.netrc", "s3cr3t\n");
    let script =
        "cat $HOME/.ssh/id_ed25519 .env .env.local $HOME/.netrc; echo > $HOME/.netrc; ls $HOME/.ssh; true";
    let outcome = learned(f, &["--no-verify"], script);
    outcome.assert_code(0).assert_stdout("").assert_stderr_has("not granted");
    let text = f.read("project/zerobox.toml");
    for (name, kept) in [
        (".ssh/id_ed25519", "keys of ssh"),
        (".env\"", "secrets of a project"),
        (".env.local", "secrets of a project"),
        (".netrc", "passwords of netrc"),
    ] {
        assert!(
            text.lines().any(|line| line.starts_with("# ") && line.contains(name) && line.contains(kept)),
            "{text}"
        );
        assert!(!rules(&text).contains(name), "{text}");
    }
    let bare = outcome::run(&mut f.host_sh(script), LIMIT);
    assert!(bare.text().contains("private key") && bare.text().contains("s3cr3t"), "\n{bare}");
    Ok(())
}

/// A deny of a file with a second name is refused; this one is hidden by the name that programs know.
fn credentials_with_a_second_name_are_hidden(f: &Fixture) -> Verdict {
    f.write("home/.netrc", "s3cr3t\n");
    std::fs::hard_link(f.root.join("home/.netrc"), f.root.join("outside/second")).expect("one file system");
    let outcome = learned(f, &["--no-verify"], "cat $HOME/.netrc");
    assert!(outcome.code != Some(0) && outcome.text().is_empty(), "\n{outcome}");
    assert!(!rules(&f.read("project/zerobox.toml")).contains("netrc"));
    Ok(())
}

fn listing_credentials_grants_nothing(f: &Fixture) -> Verdict {
    let outcome =
        learned(f, &["--no-verify"], "ls $HOME/.ssh /etc/ssh /etc/ssl/private /run/secrets; ls /srv; true");
    outcome.assert_code(0);
    let text = f.read("project/zerobox.toml");
    for name in [".ssh", "/etc/ssh", "/etc/ssl/private", "/run"] {
        assert!(!rules(&text).contains(&format!("{name}\"")), "{text}");
    }
    Ok(())
}

fn neither_home_nor_root_is_granted(f: &Fixture) -> Verdict {
    for number in 0..20 {
        f.write(&format!("home/.file{number}"), "x\n");
        f.write(&format!("home/visible{number}"), "x\n");
    }
    let script = "ls -A $HOME / > /dev/null; cat $HOME/.file* $HOME/visible* > /dev/null; for f in $HOME/.file*; do echo y > $f; done";
    learned(f, &[], script).assert_code(0).assert_stderr_has("not verified");
    let text = f.read("project/zerobox.toml");
    let rules = rules(&text);
    assert!(rules.contains("~/visible7\"") && rules.contains("~/.file7\""), "{text}");
    for whole in ["\"~\"", "\"~/\"", "\"/\"", "\"..\"", &format!("\"{}\"", f.path("home"))] {
        assert!(!rules.contains(whole), "{whole}: {text}");
    }
    Ok(())
}

fn the_home_as_working_directory_is_not_learned(f: &Fixture) -> Verdict {
    for number in 0..20 {
        f.write(&format!("home/file{number}"), "x\n");
    }
    let mut command = learn(
        f,
        &["--no-verify"],
        &["/bin/sh", "-c", "ls > /dev/null; cat file*; for f in file*; do echo y > $f; done"],
    );
    outcome::run(command.current_dir(&f.home), LIMIT).assert_code(0);
    let rules = rules(&f.read("home/zerobox.toml"));
    assert!(rules.contains("./file7\"") || rules.contains("~/file7\""), "{rules}");
    for whole in ["\".\"", "\"~\"", "\"$CWD\"", "\"/\""] {
        assert!(!rules.contains(whole), "{rules}");
    }
    assert_eq!(f.read("home/file7"), "x\n");
    Ok(())
}

fn protected_names_stay_protected(f: &Fixture) -> Verdict {
    f.mkdir("project/.git/hooks");
    f.write("project/.git/config", "");
    f.write("home/.bashrc", "old\n");
    let script =
        "touch x; echo x > .git/hooks/post-commit; echo x > .git/config; echo x >> $HOME/.bashrc; true";
    learned(f, &["--no-verify"], script).assert_code(0);
    let text = f.read("project/zerobox.toml");
    for name in ["hooks", ".git/config", ".bashrc"] {
        assert!(!rules(&text).contains(name), "{text}");
        assert!(text.lines().any(|line| line.starts_with("# ") && line.contains(name)), "{text}");
    }
    f.sh(&["--profile=./zerobox.toml"], script);
    assert!(f.exists("project/x") && !f.exists("project/.git/hooks/post-commit"));
    Ok(())
}

fn changes_of_the_home_itself_grant_nothing(f: &Fixture) -> Verdict {
    let mode = f.home.metadata().expect("there").permissions().mode();
    learned(f, &["--no-verify"], "chmod 777 $HOME; touch $HOME; touch ..").assert_code(1);
    let text = f.read("project/zerobox.toml");
    assert!(!rules(&text).contains("allow-write"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("# allow-write") && line.contains("home\"")), "{text}");
    assert_eq!(f.home.metadata().expect("there").permissions().mode(), mode);
    Ok(())
}

/// No overlay goes over a tree with other file systems in it.
fn a_tree_with_mounts_is_read_only(f: &Fixture) -> Verdict {
    f.mkdir("project/mounted");
    let run = "mount -t tmpfs none mounted && echo inner > mounted/f && \"$ZEROBOX\" learn -- /bin/sh -c 'cat mounted/f; echo x > kept'";
    let outcome = outcome::run(f.host_sh("unshare -m /bin/sh -c \"$RUN\"").env("RUN", run), LIMIT);
    assert!(outcome.text().contains("inner"), "\n{outcome}");
    outcome.assert_stderr_has("was read-only meanwhile");
    assert!(
        !f.exists("project/kept") && rules(&f.read("project/zerobox.toml")).contains("\".\""),
        "\n{outcome}"
    );
    Ok(())
}

/// `link/../x` is beside what the link leads to, and not beside the link.
fn a_path_through_a_link_grants_no_other(f: &Fixture) -> Verdict {
    f.mkdir("project/a/b/c/d");
    f.mkdir("project/a/b/home/.ssh");
    f.write("home/.ssh/authorized_keys", "");
    f.link("a/b/c/d", "project/l");
    learned(f, &["--no-verify"], "echo x > l/../../home/.ssh/authorized_keys").assert_code(0);
    let text = f.read("project/zerobox.toml");
    assert!(!rules(&text).contains("~") && !rules(&text).contains(".ssh/authorized_keys"), "{text}");
    Ok(())
}

fn what_was_not_learned_stays(f: &Fixture) -> Verdict {
    let own = "# mine\nallow-write = [\"out?\"]\n";
    f.write("project/zerobox.toml", own);
    for flags in [&[][..], &["--output=zerobox.toml"], &["--output=./zerobox.toml"]] {
        let outcome = learned(f, flags, "echo ran");
        outcome.assert_refused(125, &["zerobox.toml", "not learned"]);
        assert_eq!(f.read("project/zerobox.toml"), own);
    }
    learned(f, &["--output=other.toml"], "echo ran").assert_code(0);
    Ok(())
}

fn an_edited_profile_stays(f: &Fixture) -> Verdict {
    learned(f, &["--no-verify"], "cat ../outside/secret.txt").assert_code(0);
    let edited = f.read("project/zerobox.toml") + "\ndeny-net = [\"evil.test\"]\n";
    f.write("project/zerobox.toml", &edited);
    learned(f, &["--output=zerobox.toml"], "true").assert_refused(125, &["deny-net"]);
    assert_eq!(f.read("project/zerobox.toml"), edited);
    Ok(())
}

/// Whoever made a project can write our first line as well.
fn a_forged_profile_is_not_obeyed(f: &Fixture) -> Verdict {
    let mark = "# Learned by `zerobox learn`. Read it before you trust it.\n";
    let (ran, key) = (f.path("outside/ran"), f.path("home/.ssh/id_ed25519"));
    let secret = format!("{mark}secret = [\"X=cmd:touch {ran}; echo x\"]\nsecret-host = [\"X=a.test\"]\n");
    f.write("project/zerobox.toml", &secret);
    for flags in [&[][..], &["--output=zerobox.toml"]] {
        learned(f, flags, "true").assert_code(125);
        assert!(!f.exists("outside/ran"));
    }
    let wide = format!("{mark}allow-read = [\"~/.ssh\"]\nallow-net = [\"evil.test\"]\n");
    f.write("project/zerobox.toml", &wide);
    learned(f, &[], &format!("cat {key}")).assert_refused(125, &["trust"]);
    assert_eq!(f.read("project/zerobox.toml"), wide);
    Ok(())
}

fn a_link_is_not_written_through(f: &Fixture) -> Verdict {
    for (number, target) in ["../home/.bash_login", "../outside/secret.txt"].into_iter().enumerate() {
        let name = format!("link{number}.toml");
        f.link(target, &format!("project/{name}"));
        let outcome = learned(f, &[&format!("--output={name}")], "true");
        outcome.assert_refused(125, &["symbolic link"]);
    }
    f.link("../home", "project/away");
    learned(f, &["--no-verify", "--output=away/x.toml"], "true").assert_code(125);
    assert!(!f.exists("home/.bash_login") && !f.exists("home/x.toml"));
    assert_eq!(f.read("outside/secret.txt"), "secret\n");
    Ok(())
}

fn two_runs_merge(f: &Fixture) -> Verdict {
    let flags = ["--output=learned.toml"];
    learned(f, &flags, "cat ../outside/secret.txt").assert_code(0);
    learned(f, &flags, "cat ../outside/dir/inner.txt").assert_code(0).assert_stderr_has("verified");
    let text = f.read("project/learned.toml");
    assert!(rules(&text).contains("secret.txt\"") && rules(&text).contains("inner.txt\""), "{text}");
    assert!(text.contains("learned before"), "{text}");
    let both = "cat ../outside/secret.txt ../outside/dir/inner.txt";
    f.sh(&["--profile=./learned.toml"], both).assert_code(0);
    assert_ne!(f.sh(&[], both).code, Some(0));
    Ok(())
}

fn an_interrupted_run_is_kept(f: &Fixture) -> Verdict {
    let script = "cat ../outside/secret.txt; echo started; exec sleep 30";
    let mut running = Running::start(&mut learn(f, &[], &["/bin/sh", "-c", script]));
    running.expect("started");
    let group = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process_group(group, Signal::INT).expect("it runs");
    let outcome = running.finish(LIMIT);
    outcome.assert_code(130).assert_stderr_has("not verified");
    assert!(rules(&f.read("project/zerobox.toml")).contains("secret.txt"), "\n{outcome}");
    Ok(())
}

fn without_proof(f: &Fixture) -> Verdict {
    let script = "cat /proc/sys/kernel/random/boot_id > /dev/null; echo ran";
    let outcome = learned(f, &["--no-verify"], script);
    outcome.assert_code(0).assert_stdout("ran\n");
    assert!(!outcome.stderr.contains("verified"), "\n{outcome}");
    learned(f, &["--output=zerobox.toml"], script).assert_stdout("ran\n").assert_stderr_has("verified");
    Ok(())
}

/// The proof can fail: this command needs what is not granted.
fn a_profile_that_does_not_suffice(f: &Fixture) -> Verdict {
    let outcome = learned(
        f,
        &[],
        "test -w $HOME/.ssh/.. && echo x > /dev/null; test \"$(ls -A $HOME | grep -c ssh)\" = 1",
    );
    assert_ne!(outcome.code, Some(0), "\n{outcome}");
    outcome.assert_stderr_has("not enough");
    Ok(())
}

fn names_inject_nothing(f: &Fixture) -> Verdict {
    let name = "x\"]\nallow-net = true #\u{202e}'\\,a";
    f.write(&format!("outside/{name}"), "strange\n");
    f.write("outside/w*ild?", "x\n");
    let program = "p\nallow-net = true\n#\"";
    std::fs::copy("/bin/cat", f.root.join("project").join(program)).expect("a copy");
    f.chmod(&format!("project/{program}"), 0o755);
    let script =
        r#""./$2" "../outside/$1" $HOME/.ssh/id_ed25519; cat "../outside/w*ild?"; cat "../outside/$1""#;
    let mut command = learn(f, &[], &["/bin/sh", "-c", script, "sh\nallow-net = true\n", name, program]);
    let outcome = outcome::run(&mut command, LIMIT);
    assert_eq!(outcome.text(), "strange\nx\nstrange\n", "\n{outcome}");
    let text = f.read("project/zerobox.toml");
    assert!(!text.lines().any(|line| line.starts_with("allow-net")), "{text}");
    assert!(!text.contains('\u{202e}') && !rules(&text).contains("ild?"), "{text}");
    let script = r#"cat "../outside/$1""#;
    let again = f.run(&["--profile=./zerobox.toml"], &["/bin/sh", "-c", script, "sh", name]);
    again.assert_code(0).assert_stdout("strange\n");
    Ok(())
}

fn a_profile_elsewhere_begins_at_cwd(f: &Fixture) -> Verdict {
    f.mkdir("outside/profiles");
    let output = format!("--output={}", f.path("outside/profiles/mine.toml"));
    learned(f, &[&output], "echo x > out").assert_code(0).assert_stderr_has("verified");
    let text = f.read("outside/profiles/mine.toml");
    assert!(rules(&text).contains("\"$CWD\"") && !f.exists("project/out"), "{text}");
    f.sh(&[&format!("--profile={}", f.path("outside/profiles/mine.toml"))], "echo x > out").assert_code(0);
    assert!(f.exists("project/out"));
    learned(f, &["--output=missing/x.toml"], "true").assert_code(125);
    Ok(())
}

fn exit_codes_are_the_commands(f: &Fixture) -> Verdict {
    learned(f, &["--output=a.toml"], "exit 7").assert_code(7).assert_stderr_has("verified");
    learned(f, &["--output=b.toml"], "kill -TERM $$").assert_code(143).assert_stderr_has("not verified");
    let missing = outcome::run(&mut learn(f, &[], &["no-such-program"]), LIMIT);
    missing.assert_code(127);
    assert!(!f.exists("project/zerobox.toml"), "\n{missing}");
    Ok(())
}

fn nothing_without_a_sandbox(f: &Fixture) -> Verdict {
    std::fs::remove_dir_all(f.root.join("home/.ssh")).expect("ours");
    for flag in ["--allow-all", "--no-sandbox"] {
        learned(f, &[flag], "echo x > kept").assert_code(125);
        assert!(!f.exists("project/kept") && !f.exists("project/zerobox.toml"));
    }
    Ok(())
}

fn the_layers_are_out_of_reach(f: &Fixture) -> Verdict {
    let probe = f.path("project/probe");
    for attempt in [["list", "/.layers"], ["list", "/proc/self/root/.layers"], ["create", "/.layers/x"]] {
        let outcome = outcome::run(
            &mut learn(f, &["--no-verify", "--output=x.toml"], &[&[&*probe], &attempt[..]].concat()),
            LIMIT,
        );
        assert!(
            ["EACCES", "EROFS", "ENOENT"].contains(&outcome.verdict().as_str()),
            "{attempt:?}\n{outcome}"
        );
    }
    let own = outcome::run(&mut learn(f, &["--no-verify", "--output=x.toml"], &[&probe, "list", "."]), LIMIT);
    assert_eq!(own.verdict(), "ok", "\n{own}");
    Ok(())
}

/// Overlays keep notes in attributes: one that leads to another directory below, or that hides what is below, is not for the
/// command to write. Nor does a hand-made whiteout or a rename of what is around a cover uncover anything.
fn marks_of_overlays_do_nothing(f: &Fixture) -> Verdict {
    f.write("home/.config/gh/hosts.yml", "s3cr3t\n");
    let script = r#"
import os
home = os.environ["HOME"]
def look(what, *names):
    for name in names:
        try: text = open(name).read()
        except OSError: continue
        if text: print(what, name, text)
def attempt(step):
    try: return step()
    except OSError: pass
key, hosts = home + "/.ssh/id_ed25519", home + "/.config/gh/hosts.yml"
for attribute in ("user.overlay.redirect", "user.overlay.overlay.redirect", "user.overlay.metacopy", "user.overlay.opaque"):
    for value in (b"/.ssh", b".ssh", b"/.config/gh", b"y"):
        for top in (home, "."):
            new = top + "/new"
            attempt(lambda: os.mkdir(new)); attempt(lambda: os.setxattr(new, attribute, value))
            look(attribute, new + "/id_ed25519", new + "/hosts.yml")
            attempt(lambda: os.setxattr(home + "/.config", attribute, value))
            attempt(lambda: os.setxattr(home, attribute, value))
            open(top + "/f", "w").close(); attempt(lambda: os.setxattr(top + "/f", attribute, b"/.ssh/id_ed25519"))
            look(attribute, top + "/f", key, hosts)
attempt(lambda: os.link(key, home + "/other")); look("link", home + "/other")
attempt(lambda: os.rename(home + "/.ssh", home + "/moved")); look("rename", home + "/moved/id_ed25519")
attempt(lambda: os.rename(home + "/.config", home + "/c")); look("rename around", home + "/c/gh/hosts.yml")
attempt(lambda: os.rename(home + "/new", home + "/.ssh")); look("over", key)
attempt(lambda: os.rmdir(home + "/.ssh")); look("rmdir", key)
attempt(lambda: os.mknod(home + "/.config/gh", 0o020000, os.makedev(0, 0))); look("whiteout", hosts)
attempt(lambda: os.chmod(home + "/.ssh", 0o777)); look("chmod", key)
print("tried")
"#;
    f.write("project/marks.py", script);
    let outcome = outcome::run(&mut learn(f, &["--no-verify"], &["/usr/bin/python3", "marks.py"]), LIMIT);
    outcome.assert_code(0).assert_stdout("tried\n");
    let bare = outcome::run(f.command("/usr/bin/python3").arg("marks.py"), LIMIT);
    assert!(bare.text().contains("private key") && bare.text().contains("s3cr3t"), "\n{bare}");
    Ok(())
}

/// A socket file in a layer leads to nobody outside; one of the command's own works.
fn sockets_of_the_host_are_out_of_reach(f: &Fixture) -> Verdict {
    let server = f.serve("stream", &f.path("project/outer"));
    let script = "
import socket, sys
def connect(name):
    client = socket.socket(socket.AF_UNIX)
    try: client.connect(name); return 'connected'
    except OSError: return 'refused'
own = socket.socket(socket.AF_UNIX); own.bind('own'); own.listen()
print(connect('outer'), connect('own'))
";
    f.write("project/sockets.py", script);
    let outcome = outcome::run(&mut learn(f, &["--no-verify"], &["/usr/bin/python3", "sockets.py"]), LIMIT);
    outcome.assert_stdout("refused connected\n");
    assert_eq!(server.contacts(), 0);
    let bare = outcome::run(f.command("/usr/bin/python3").arg("sockets.py"), LIMIT);
    bare.assert_stdout("connected connected\n");
    Ok(())
}

const ZONE: &str = r#"{"a.test": ["203.0.113.5"]}"#;

fn hosts_are_learned_when_asked_for(f: &Fixture) -> Verdict {
    let fetch = "curl -s -m 5 http://a.test/ > /dev/null; true";
    f.write("project/fetch.sh", fetch);
    let run = |flags: &str| format!("\"$ZEROBOX\" learn --no-verify {flags} -- /bin/sh fetch.sh");
    f.world(ZONE, &run("--output=without.toml"))?.outcome.assert_code(0);
    let text = f.read("project/without.toml");
    assert!(!rules(&text).contains("a.test"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("# allow-net") && line.contains("a.test")), "{text}");
    let told = f.world(ZONE, &run("--learn-net --output=with.toml"))?;
    let text = f.read("project/with.toml");
    assert!(rules(&text).contains("\"a.test:80\""), "{text}\n{}", told.outcome);
    Ok(())
}
