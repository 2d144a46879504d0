use super::*;
use crate::paths::fake::FakeFiles;
use crate::request::{EnvList, PathList};

const HOST: &[&str] = &[
    "/usr/bin/",
    "/bin -> usr/bin",
    "/etc/passwd",
    "/etc/shadow",
    "/tmp/",
    "/var/tmp/",
    "/dev/null",
    "/proc/",
    "/sys/",
    "/home/u/.ssh/id",
    "/home/u/p/.env",
    "/home/u/p/.git/config",
    "/home/u/p/.git/hooks/",
    "/home/u/p/src/",
    "/home/u/l -> p",
    "/srv/p/",
];

fn resolve_at(cwd: &str, change: impl FnOnce(&mut Request)) -> Result<Policy, PolicyError> {
    let files = FakeFiles::new(HOST);
    let env = [(OsString::from("PATH"), OsString::from("/usr/bin"))];
    let home = Path::new("/home/u");
    let surroundings =
        Surroundings { cwd: Path::new(cwd), env: &env, home: Some(home), memory: 1 << 40, files: &files };
    let mut request = Request { command: vec!["true".into()], ..Request::default() };
    change(&mut request);
    Policy::resolve(&request, &surroundings)
}

fn resolve(change: impl FnOnce(&mut Request)) -> Result<Policy, PolicyError> {
    resolve_at("/home/u/p", change)
}

fn listed(text: &str) -> Vec<PathList> {
    vec![PathList::Listed(text.into())]
}

fn granted(policy: &Policy, path: &str) -> Option<Access> {
    policy.granted(Path::new(path))
}

/// getcwd(2) names none, so that somebody has put it there since; what a flag names may be one.
#[test]
fn a_link_on_the_way_to_the_callers_directory() {
    let is_refused = |policy| matches!(policy, Err(PolicyError::LinkLeadsOut { .. }));
    assert!(is_refused(resolve_at("/home/u/l", |_| ())));
    assert!(is_refused(resolve_at("/home/u/l/src", |request| request.cwd = Some(".".into()))));
    assert!(is_refused(resolve_at("/home/u/l", |request| {
        request.cwd = Some("/srv/p".into());
        request.allow_write = listed("./src");
    })));
    resolve(|request| request.cwd = Some("/home/u/l".into())).unwrap();
    resolve(|request| request.allow_write = listed("/home/u/l/src")).unwrap();
}

#[test]
fn the_default_policy() {
    let policy = resolve(|_| ()).unwrap();
    assert_eq!(granted(&policy, "/usr/bin/env"), Some(Access::Read));
    assert_eq!(granted(&policy, "/etc/passwd"), Some(Access::Read));
    assert_eq!(granted(&policy, "/etc/shadow"), None);
    assert_eq!(granted(&policy, "/home/u/p/src"), Some(Access::Read));
    assert_eq!(granted(&policy, "/tmp/x"), Some(Access::Write));
    assert_eq!(granted(&policy, "/home/u/.npm"), Some(Access::Write), "the private home");
    assert_eq!(policy.files.granted(Path::new("/home/u/.ssh/id")), None);
    assert_eq!(granted(&policy, "/var/lib"), None);
    assert!(policy.links.iter().any(|link| link.path == Path::new("/bin")));
    assert!(policy.notes.is_empty());
}

#[test]
fn home_as_current_directory_is_not_granted_and_said() {
    for cwd in ["/home/u", "/home", "/"] {
        let policy = resolve_at(cwd, |_| ()).unwrap();
        assert_eq!(policy.files.granted(Path::new("/home/u/.ssh/id")), None, "{cwd}");
        assert_eq!(policy.notes.len(), 1, "{cwd}");
    }
}

#[test]
fn a_link_in_the_workspace_grants_nothing_outside() {
    let files = ["/usr/bin/", "/home/u/.ssh/id", "/home/u/p/out -> ../.ssh", "/home/u/p/bin -> ../.ssh"];
    let files = FakeFiles::new(&files);
    let home = Path::new("/home/u");
    let env = [(OsString::from("PATH"), OsString::from("/home/u/p/bin:/usr/bin"))];
    let cwd = Path::new("/home/u/p");
    let surroundings = Surroundings { cwd, env: &env, home: Some(home), memory: 1 << 40, files: &files };
    let mut request = Request { command: vec!["true".into()], ..Request::default() };
    let policy = Policy::resolve(&request, &surroundings).unwrap();
    assert_eq!(policy.files.granted(Path::new("/home/u/.ssh/id")), None, "by way of PATH");
    request.allow_write = listed("./out");
    assert!(matches!(Policy::resolve(&request, &surroundings), Err(PolicyError::LinkLeadsOut { .. })));
}

#[test]
fn a_link_in_any_writable_tree_grants_nothing_outside() {
    let files = ["/usr/bin/", "/w/out -> /home/u/.ssh", "/w/in -> d", "/w/d/", "/tmp/out -> /home/u/.ssh"];
    let files = FakeFiles::new(&[&files[..], &["/home/u/.ssh/id", "/home/u/p/", "/var/tmp/"]].concat());
    let (cwd, home) = (Path::new("/home/u/p"), Some(Path::new("/home/u")));
    let surroundings = Surroundings { cwd, env: &[], home, memory: 1 << 40, files: &files };
    let resolve = |read: &str, write: &str, share_tmp| {
        let (allow_read, allow_write) = (listed(read), listed(write));
        let command = vec!["true".into()];
        let request =
            Request { command, allow_read, allow_write, share_tmp: Some(share_tmp), ..Request::default() };
        Policy::resolve(&request, &surroundings)
    };
    assert!(matches!(resolve("/w/out", "/w", false), Err(PolicyError::LinkLeadsOut { .. })));
    assert!(matches!(resolve("", "/w,/w/out", false), Err(PolicyError::LinkLeadsOut { .. })));
    assert!(matches!(resolve("/tmp/out", "", true), Err(PolicyError::LinkLeadsOut { .. })));
    assert!(resolve("/w/out", "", false).is_ok(), "nothing says that a command could have made the link");
    assert!(resolve("/w/in", "/w", false).is_ok());
}

#[test]
fn links_are_judged_at_their_end() {
    let policy = resolve(|request| request.allow_write = listed("/home/u/l")).unwrap();
    assert_eq!(granted(&policy, "/home/u/p/src"), Some(Access::Write));
    assert!(policy.links.iter().any(|link| link.path == Path::new("/home/u/l")));
}

#[test]
fn files_that_others_run_stay_read_only_until_named() {
    let policy = resolve(|request| request.allow_write = listed(".")).unwrap();
    assert_eq!(granted(&policy, "/home/u/p/.git/hooks/x"), Some(Access::Read));
    assert_eq!(granted(&policy, "/home/u/p/.git/index"), Some(Access::Write));
    assert_eq!(policy.watched_trees[0].present, [Path::new(".git")]);
    let policy = resolve(|request| request.allow_write = listed(".,.git/hooks")).unwrap();
    assert_eq!(granted(&policy, "/home/u/p/.git/hooks/x"), Some(Access::Write));
    assert_eq!(granted(&policy, "/home/u/p/.git/config"), Some(Access::Read));
}

#[test]
fn what_cannot_be_held_is_refused_by_name() {
    let deny = |deny: &str, write: &str| {
        resolve(|request| {
            request.deny_read = vec![deny.into()];
            request.allow_write = listed(write);
        })
    };
    assert!(matches!(deny("./later", "."), Err(PolicyError::AbsentInWritable { .. })));
    assert!(deny("./later?", ".").is_ok());
    assert!(matches!(deny("./later", "./src"), Err(PolicyError::AbsentBelowScratch { .. })));
    let elsewhere = resolve_at("/srv/p", |request| request.deny_read = vec!["./later".into()]);
    assert!(elsewhere.is_ok(), "nobody inside can create it, and Landlock hides it should somebody outside");
    assert!(matches!(deny("**/.env", "."), Err(PolicyError::Glob { .. })));
    assert!(matches!(deny("", "."), Err(PolicyError::EmptyDeny { .. })));
    assert!(matches!(deny("/home/u/l", "/home/u"), Err(PolicyError::ReplaceableLink { .. })));
    assert!(matches!(resolve(|r| r.allow_read = listed("./none")), Err(PolicyError::Missing { .. })));
    assert!(resolve(|r| r.allow_read = listed("./none?")).is_ok());
    assert!(matches!(resolve(|r| r.allow_write = listed("/proc")), Err(PolicyError::Special { .. })));
    assert!(matches!(resolve(|r| r.allow_write = listed("/dev")), Err(PolicyError::Special { .. })));
}

#[test]
fn an_empty_list_is_not_all() {
    let policy = resolve(|request| request.allow_read = listed("")).unwrap();
    assert_eq!(policy.files.granted(Path::new("/home/u/.ssh/id")), None);
}

#[test]
fn allow_all_contradicts_a_deny_and_both_are_named() {
    let error = resolve(|request| {
        request.allow_all = true;
        request.deny_read = vec!["x".into()];
    });
    let text = error.unwrap_err().to_string();
    assert!(text.contains("--allow-all") && text.contains("--deny-read"), "{text}");
    assert!(resolve(|request| request.allow_env = vec![EnvList::All]).is_ok());
}

#[test]
fn a_grant_above_home_shows_the_real_home_but_not_the_real_tmp() {
    let policy = resolve(|request| request.allow_read = vec![PathList::All]).unwrap();
    assert_eq!(policy.files.granted(Path::new("/home/u/.ssh/id")), Some(Access::Read));
    assert!(policy.scratch.iter().all(|scratch| scratch.kind == ScratchKind::Temporary));
    assert!(policy.scratch.iter().any(|scratch| scratch.path == Path::new("/tmp")));
    assert_eq!(policy.files.granted(Path::new("/etc/shadow")), None, "a cut-out holds until it is named");
}

#[test]
fn contradicting_networks_are_refused() {
    let net = |text: &str| vec![crate::request::NetList::Listed(text.to_owned())];
    let conflict =
        |change: &dyn Fn(&mut Request)| resolve(|request| change(request)).unwrap_err().to_string();
    for (change, flag) in [
        (&(|r: &mut Request| r.deny_net = vec!["a.test".into()]) as &dyn Fn(&mut Request), "--deny-net"),
        (&|r| r.resolve = vec!["a.test:80:192.0.2.1".into()], "--resolve"),
        (&|r| r.publish = vec!["80".into()], "--publish"),
    ] {
        for open in ["--net=host", "--allow-all", "--no-sandbox"] {
            let message = conflict(&|request| {
                change(request);
                request.net_host = open == "--net=host";
                request.allow_all = open == "--allow-all";
                request.no_sandbox = open == "--no-sandbox";
            });
            assert_eq!(message, format!("`{open}` and `{flag}` contradict each other"));
        }
    }
    let message = conflict(&|request| {
        request.net_host = true;
        request.allow_net = net("a.test");
    });
    assert_eq!(message, "`--net=host` and `--allow-net` contradict each other");
    let open = resolve(|request| {
        request.allow_all = true;
        request.allow_net = net("a.test");
    });
    assert_eq!(open.unwrap().network.mode, crate::NetworkMode::Host(Origin::Flag("--allow-all".into())));
}

#[test]
fn the_network_is_printed_as_it_is_enforced() {
    let policy = resolve(|request| {
        request.allow_net = vec![crate::request::NetList::Listed("*.Example.com:443".into())];
        request.resolve = vec!["a.example.com:443:::1".into()];
    });
    let json = serde_json::to_value(policy.unwrap().network).unwrap();
    let expected = serde_json::json!({
        "mode": "captured",
        "rules": [{
            "effect": "allow", "transport": "tcp", "host": "*.example.com", "port": 443,
            "origin": "--allow-net=*.Example.com:443"
        }],
        "pins": [{
            "name": "a.example.com", "port": 443, "address": "::1", "origin": "--resolve=a.example.com:443:::1"
        }],
        "publish": [], "secrets": [], "http": [], "closed": [], "upstream_ca": [],
    });
    assert_eq!(json, expected);
}
