use super::*;
use crate::paths::fake::FakeFiles;
use crate::request::{NetList, PathList, Request};
use crate::secret::SecretText;
use crate::surroundings::Surroundings;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

/// A machine with these files, at which the caller stands in `/home/u/p`.
struct World {
    texts: BTreeMap<PathBuf, String>,
    files: FakeFiles,
    env: Vec<(OsString, OsString)>,
}

impl World {
    fn new(texts: &[(&str, &str)]) -> Self {
        let paths: Vec<&str> =
            texts.iter().map(|(path, _)| *path).chain(["/home/u/p/.git/", "/home/u/p/src/"]).collect();
        let texts = texts.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
        Self { texts, files: FakeFiles::new(&paths), env: vec![("TOKEN".into(), "value".into())] }
    }

    fn surroundings(&self) -> Surroundings<'_> {
        let (cwd, home) = (Path::new("/home/u/p"), Some(Path::new("/home/u")));
        Surroundings { cwd, env: &self.env, home, memory: 1 << 30, files: &self.files }
    }

    fn load(&self, names: &[&str]) -> Result<Loaded, ProfileError> {
        let read = |path: &Path| self.texts.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into());
        let surroundings = self.surroundings();
        let library = Library { surroundings: &surroundings, read: &read };
        let names: Vec<OsString> = names.iter().map(OsString::from).collect();
        library.load(&names, &Loaded::default())
    }

    fn applied(&self, names: &[&str], mut request: Request) -> Request {
        let loaded = self.load(names).unwrap();
        apply(loaded.settings(), true, &mut request, &self.surroundings()).unwrap();
        request
    }

    fn faults(&self, names: &[&str]) -> Vec<String> {
        let faults = self.load(names).map(|_| Vec::new()).unwrap_or_else(|error| error.faults);
        faults
            .iter()
            .map(|fault| [fault.to_string(), fault.hint.clone().unwrap_or_default()].join(" | "))
            .collect()
    }
}

fn shown(request: &Request) -> Vec<String> {
    effective(request)
        .into_iter()
        .map(|value| format!("{} {} ({})", value.key, value.value, value.origin))
        .collect()
}

#[test]
fn every_value_keeps_its_place() {
    let text = "allow-read = [\n  \"src\",\n  \"~/.npm?\",\n]\ntimeout = \"30s\"\nallow-net = true\n";
    let world = World::new(&[("/home/u/p/ci.toml", text)]);
    let request = world.applied(&["./ci.toml"], Request::default());
    assert_eq!(
        shown(&request),
        [
            "allow-read /home/u/p/src (ci.toml:2)",
            "allow-read /home/u/.npm? (ci.toml:3)",
            "allow-net true (ci.toml:6)",
            "timeout 30s (ci.toml:5)",
        ]
    );
    assert_eq!(request.allow_net, [NetList::All]);
}

#[test]
fn paths_begin_at_the_profile_or_at_a_variable() {
    let text = r#"allow-read = ["x,y", "$GIT_ROOT/a", "$CWD", "${TMPDIR}/b", "$XDG_CACHE_HOME/c", "/abs", "../up", "~"]"#;
    let world = World::new(&[("/home/u/p/conf/ci.toml", text)]);
    let request = world.applied(&["conf/ci.toml"], Request::default());
    let paths = [
        "/home/u/p/conf/x,,y",
        "/home/u/p/a",
        "/home/u/p",
        "/tmp/b",
        "/home/u/.cache/c",
        "/abs",
        "/home/u/p/conf/../up",
        "/home/u",
    ];
    assert_eq!(request.allow_read, paths.map(|path| PathList::Listed(path.into())));
}

#[test]
fn a_variable_that_means_nothing_is_an_error() {
    let world = World::new(&[("/home/u/p/a.toml", "allow-read = [\"$FOO/x\"]")]);
    let loaded = world.load(&["a.toml"]).unwrap();
    let error = apply(loaded.settings(), true, &mut Request::default(), &world.surroundings()).unwrap_err();
    assert_eq!(error.to_string(), "a.toml:1:15: in `allow-read`: `$FOO` is no variable of profiles");
}

#[test]
fn a_flag_beats_a_child_and_a_child_its_parent() {
    let world = World::new(&[
        ("/home/u/p/a.toml", "timeout = 1\nmemory = \"1M\"\nenv = [\"A=parent\", \"B=parent\"]"),
        ("/home/u/p/b.toml", "extends = [\"a.toml\"]\ntimeout = 2\nmemory = \"2M\"\nenv = [\"A=child\"]"),
    ]);
    let flags =
        Request { timeout: Some("3".parse().unwrap()), env: vec!["B=flag".into()], ..Request::default() };
    assert_eq!(
        shown(&world.applied(&["./b.toml"], flags)),
        [
            "env B=flag (--env=B=flag)",
            "env A=child (b.toml:4)",
            "timeout 3s (--timeout=3s)",
            "memory 2M (b.toml:3)"
        ]
    );
}

#[test]
fn parents_come_once_and_depth_first() {
    let world = World::new(&[
        ("/home/u/p/a.toml", "extends = [\"b.toml\", \"c.toml\"]\nallow-env = [\"A\"]"),
        ("/home/u/p/b.toml", "extends = [\"c.toml\"]\nallow-env = [\"B\"]"),
        ("/home/u/p/c.toml", "allow-env = [\"C\"]"),
    ]);
    let request = world.applied(&["a.toml", "c.toml"], Request::default());
    let names: Vec<_> = effective(&request).into_iter().map(|value| value.value).collect();
    assert_eq!(names, ["C", "B", "A"]);
}

#[test]
fn the_users_profile_comes_before_the_systems_and_may_extend_it() {
    let user = "/home/u/.config/zerobox/profiles/node.toml";
    let world = World::new(&[
        (user, "extends = [\"node\"]\nallow-env = [\"USER_OWN\"]"),
        ("/etc/zerobox/profiles/node.toml", "allow-env = [\"SYSTEM_OWN\"]"),
    ]);
    let loaded = world.load(&["node"]).unwrap();
    let sources: Vec<_> = loaded.paths().map(|path| path.display().to_string()).collect();
    assert_eq!(sources, ["/etc/zerobox/profiles/node.toml", user]);
}

#[test]
fn faults_have_places_and_suggestions() {
    let text = "alow-read = []\nallow-write = \"src\"\n[linux]\nmemry = 3\nmemory = \"3X\"\n[windows]\n";
    let world = World::new(&[("/home/u/p/a.toml", text)]);
    assert_eq!(
        world.faults(&["a.toml"]),
        [
            "a.toml:1:1: unknown key `alow-read` | did you mean `allow-read`?",
            "a.toml:2:15: `allow-write` wants a list of paths, or `true`, and this is a string | ",
            "a.toml:4:1: unknown key `memry` | did you mean `memory`?",
            "a.toml:5:10: in `memory`: malformed size `3X` | write a whole number with K, M, G or T: `512M`",
            "a.toml:6:2: unknown key `windows` | ",
        ]
    );
}

#[test]
fn duplicates_are_refused_in_both_formats() {
    let world = World::new(&[
        ("/home/u/p/a.toml", "timeout = 1\ntimeout = 2\n"),
        ("/home/u/p/b.json", "{\"timeout\": 1,\n \"timeout\": 2}"),
        ("/home/u/p/c.json", "{\"timeout\": 1,\n \"pids\" 2}"),
    ]);
    assert!(world.faults(&["a.toml"])[0].starts_with("a.toml:2:1: duplicate key"));
    assert_eq!(world.faults(&["./b.json"]), ["b.json:2:13: duplicate key `timeout` | "]);
    assert!(world.faults(&["c.json"])[0].starts_with("c.json:2:"), "{:?}", world.faults(&["c.json"]));
}

#[test]
fn cycles_and_missing_parents() {
    let world = World::new(&[
        ("/home/u/p/a.toml", "extends = [\"b.toml\"]"),
        ("/home/u/p/b.toml", "extends = [\n\"./a.toml\"]"),
        ("/home/u/p/c.toml", "extends = [\"gone.toml\", \"nodee\", \"a b\"]"),
    ]);
    assert_eq!(world.faults(&["a.toml"]), ["b.toml:2:1: `./a.toml` extends itself: a.toml -> b.toml | "]);
    let faults = world.faults(&["c.toml"]);
    assert_eq!(faults[0], "c.toml:1:12: there is no profile `gone.toml` | ");
    assert_eq!(faults[1], "c.toml:1:25: there is no profile `nodee` | did you mean `node`?");
    assert!(faults[2].contains("`a b` is no name of a profile"));
}

#[test]
fn a_secret_is_a_reference() {
    let world = World::new(&[
        ("/home/u/p/a.toml", "secret = [\"K=hunter2\"]"),
        (
            "/home/u/p/b.toml",
            "secret = [\"TOKEN?=env:TOKEN\", \"GONE?\"]\nsecret-host = [\"TOKEN=a.test\", \"GONE=b.test\"]",
        ),
    ]);
    let faults = world.faults(&["a.toml"]);
    assert!(
        faults[0].contains("the value of the secret `K` has no place in a file")
            && !faults[0].contains("hunter2")
    );
    let keys = |request: &Request| {
        effective(request)
            .into_iter()
            .map(|value| format!("{} {}", value.key, value.value))
            .collect::<Vec<_>>()
    };
    let request = world.applied(&["b.toml"], Request::default());
    assert_eq!(keys(&request), ["secret TOKEN=env:TOKEN", "secret-host TOKEN=a.test"]);
    let given = SecretText::new(Zeroizing::new(b"GONE=file:/x".to_vec()));
    let request = world.applied(&["b.toml"], Request { secrets: vec![given], ..Request::default() });
    assert_eq!(keys(&request).len(), 4, "a flag says where it is");
}

#[test]
fn what_is_not_trusted_only_narrows() {
    let text = "allow-write = true\nnet = \"host\"\ndeny-read = [\"src\"]\ntimeout = \"5s\"\nmemory = \"9G\"\nscratch-size = \"900M\"\n\
                strict-sandbox = true\nshare-tmp = true\nsecret = [\"TOKEN\"]\nenv = [\"A=b\"]\nextends = [\"./more.toml\"]\n";
    let world = World::new(&[
        ("/home/u/p/zerobox.toml", text),
        ("/home/u/p/more.toml", "allow-net = true\npids = 3"),
    ]);
    let loaded = world.load(&["./zerobox.toml"]).unwrap();
    let mut request = Request { memory: Some("1G".parse().unwrap()), ..Request::default() };
    let applied = apply(loaded.settings(), false, &mut request, &world.surroundings()).unwrap();
    let left: Vec<_> = applied.held_back.iter().map(|setting| setting.key.name).collect();
    assert_eq!(
        left,
        ["allow-net", "allow-write", "net", "memory", "scratch-size", "share-tmp", "secret", "env"]
    );
    assert_eq!(
        shown(&request),
        [
            "deny-read /home/u/p/src (zerobox.toml:3)",
            "timeout 5s (zerobox.toml:4)",
            "memory 1G (--memory=1G)",
            "pids 3 (more.toml:2)",
            "strict-sandbox true (zerobox.toml:7)",
        ]
    );
}

#[test]
fn every_key_is_applied() {
    for key in KEYS {
        let value = match key.kind {
            keys::Kind::Paths { .. } | keys::Kind::Words { .. } | keys::Kind::Named => match key.name {
                "resolve" => "[\"a.test:1:192.0.2.1\"]",
                "publish" => "[\"3000\"]",
                "allow-net-from" => "[\"npm\"]",
                "allow-http" | "deny-http" => "[\"GET https://a.test/x\"]",
                "secret" | "secret-plaintext" => "[\"TOKEN\"]",
                "secret-host" => "[\"TOKEN=a.test\"]",
                "secret-in" => "[\"TOKEN=header\"]",
                "secret-limit" => "[\"TOKEN=5\"]",
                "env" => "[\"A=b\"]",
                "allow-env" | "deny-env" => "[\"A\"]",
                _ => "[\"a.test\"]",
            },
            keys::Kind::Switch => "true",
            keys::Kind::Net => "\"host\"",
            keys::Kind::Path => "\"src\"",
            keys::Kind::Size | keys::Kind::Time => "\"5\"",
            keys::Kind::Cpus | keys::Kind::Count(_) => "3",
        };
        let world = World::new(&[("/home/u/p/a.toml", &format!("\n{} = {value}", key.name))]);
        let values = effective(&world.applied(&["a.toml"], Request::default()));
        let origins: Vec<_> = values.iter().map(|value| (value.key, value.origin.to_string())).collect();
        assert_eq!(origins, [(key.name, "a.toml:2".to_owned())]);
    }
}

#[test]
fn the_project_file_is_that_of_the_repository() {
    let found = |entries: &[&str], cwd: &str| {
        let (files, env) = (FakeFiles::new(entries), Vec::new());
        let (cwd, home) = (Path::new(cwd), Some(Path::new("/home/u")));
        let surroundings = Surroundings { cwd, env: &env, home, memory: 0, files: &files };
        find_project(cwd, &surroundings).map(|path| path.display().to_string())
    };
    let at = |path: &str| Some(path.to_owned());
    assert_eq!(found(&["/srv/p/zerobox.toml"], "/srv/p"), at("/srv/p/zerobox.toml"));
    assert_eq!(found(&["/srv/p/zerobox.toml", "/srv/p/.git/"], "/srv/p/a/b"), at("/srv/p/zerobox.toml"));
    assert_eq!(found(&["/srv/zerobox.toml", "/srv/p/.git/"], "/srv/p/a"), None, "above the repository");
    assert_eq!(found(&["/srv/zerobox.toml"], "/srv/p"), None, "above, and no repository");
    assert_eq!(found(&["/home/u/w/zerobox.toml"], "/home/u/w/p"), at("/home/u/w/zerobox.toml"));
    assert_eq!(
        found(&["/home/u/zerobox.toml"], "/home/u/p"),
        None,
        "that of the home directory is of no project"
    );
    assert_eq!(found(&["/srv/p/zerobox.toml/"], "/srv/p"), None, "a directory");
}

#[test]
fn every_built_in_profile_is_good() {
    let world = World::new(&[]);
    for (name, _) in BUILT_IN {
        let loaded = world.load(&[name]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let profile = loaded.profiles.last().unwrap();
        assert!(profile.description.as_ref().is_some_and(|text| !text.is_empty()), "{name}");
        apply(loaded.settings(), true, &mut Request::default(), &world.surroundings()).unwrap();
    }
}

/// Ten parents take less than a millisecond, even without optimising.
#[test]
fn ten_parents_are_loaded_in_a_millisecond() {
    let texts: Vec<(String, String)> = (0..11)
        .map(|index| {
            let parent =
                if index < 10 { format!("extends = [\"p{}.toml\"]\n", index + 1) } else { String::new() };
            let body =
                "allow-read = [\"src\", \"~/.npm?\"]\nallow-net = [\"example.com:443\"]\ntimeout = \"30s\"\n";
            (format!("/home/u/p/p{index}.toml"), parent + body)
        })
        .collect();
    let texts: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let world = World::new(&texts);
    let load = || {
        let start = std::time::Instant::now();
        assert_eq!(world.applied(&["p0.toml"], Request::default()).allow_read.len(), 22);
        start.elapsed()
    };
    let best = (0..50).map(|_| load()).min().unwrap();
    assert!(best < std::time::Duration::from_millis(1), "{best:?}");
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,80}", json in any::<bool>()) {
        let path = if json { "/p/a.json" } else { "/p/a.toml" };
        let _ = Profile::read(&text, Source::File(path.into()), "a");
    }

    #[test]
    fn nothing_like_a_profile_panics(
        lines in prop::collection::vec("(allow-read|timeout|secret|extends|linux|\\[linux\\]|net|x)( = )?(\\[?\"[a-z=:/$~?]{0,8}\"\\]?|[0-9.]{1,4}|true|\\{)?\n", 0..8)
    ) {
        let text = lines.concat();
        if let Err(error) = Profile::read(&text, Source::File("/p/a.toml".into()), "a") {
            let lines = u32::try_from(text.lines().count()).unwrap();
            for fault in &error.faults {
                prop_assert!(fault.place.as_ref().unwrap().line <= lines + 1);
            }
        }
        let _ = Profile::read(&text, Source::File("/p/a.json".into()), "a");
    }

    #[test]
    fn what_is_not_trusted_never_grants(
        name in prop::sample::select(KEYS.iter().filter(|key| key.reach == keys::Reach::Widens).map(|key| key.name).collect::<Vec<_>>()),
        all in any::<bool>(),
    ) {
        let text = format!("{name} = {}", if all { "true" } else { "[\"/x\"]" });
        if let Ok(profile) = Profile::read(&text, Source::File("/p/a.toml".into()), "a") {
            let world = World::new(&[]);
            let mut request = Request::default();
            apply(&profile.settings, false, &mut request, &world.surroundings()).unwrap();
            prop_assert_eq!(effective(&request), Vec::new());
        }
    }
}

#[test]
fn deep_nesting_is_refused_and_not_obeyed() {
    for (path, open) in [("/p/a.toml", "allow-read = "), ("/p/a.json", "{\"allow-read\": ")] {
        let text = format!("{open}{}", "[".repeat(100_000));
        assert!(Profile::read(&text, Source::File(path.into()), "a").is_err());
    }
}

/// `zerobox profile schema > schema/profile.schema.json` mends it.
#[test]
fn the_schema_is_the_one_that_is_checked_in() {
    let written: serde_json::Value =
        serde_json::from_str(include_str!("../../../../schema/profile.schema.json")).unwrap();
    assert_eq!(written, schema());
}

#[test]
fn the_home_directory_is_no_project() {
    let world = World::new(&[("/home/u/p/a.toml", "allow-write = [\"$CWD?\"]\nallow-read = [\"$CWD\"]")]);
    let loaded = world.load(&["a.toml"]).unwrap();
    let at_home = Surroundings { cwd: Path::new("/home/u"), ..world.surroundings() };
    let error = apply(loaded.settings(), true, &mut Request::default(), &at_home).unwrap_err();
    assert_eq!(error.faults.len(), 1, "{error}");
    assert!(
        error.to_string().starts_with("a.toml:2:15: in `allow-read`: `$CWD` has your home directory in it")
    );
}
