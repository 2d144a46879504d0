use super::*;
use zerobox_policy::{Files, Policy, Request, Surroundings};

fn read(source: SecretSource) -> Result<String, String> {
    let files: &dyn Files = &crate::host::RealFiles::new();
    let env = [("TOKEN".into(), "t0ken\n".into()), ("PATH".into(), "relative:/nonexistent".into())];
    let surroundings = Surroundings { cwd: Path::new("/"), env: &env, home: None, memory: 0, files };
    let request = Request { command: vec!["true".into()], ..Request::default() };
    let policy = Policy::resolve(&request, &surroundings).unwrap();
    source::read(&source, &policy, &surroundings).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn command(text: &str) -> Result<String, String> {
    read(SecretSource::Command(text.to_owned()))
}

#[test]
fn values_are_read_without_one_newline() {
    assert_eq!(read(SecretSource::Environment("TOKEN".to_owned())).unwrap(), "t0ken\n");
    assert_eq!(command("printf 'a\\nb\\n\\n'").unwrap(), "a\nb\n");
    assert_eq!(command("printf 'a\\r\\n'").unwrap(), "a");
    assert_eq!(command("printf a").unwrap(), "a");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "secret\n").unwrap();
    assert_eq!(read(SecretSource::File(path)).unwrap(), "secret");
}

#[test]
fn what_cannot_be_read_is_explained() {
    for (found, expected) in [
        (read(SecretSource::Environment("OTHER".to_owned())), "the variable `OTHER` is not set"),
        (command("echo secret; exit 3"), "it failed: exit status: 3"),
        (command("head -c 70000 /dev/zero"), "it has more than 65536 bytes"),
        (read(SecretSource::File("/nonexistent".into())), "No such file or directory (os error 2)"),
        (
            read(SecretSource::Keyring { service: "s".to_owned(), account: "a".to_owned() }),
            "neither `secret-tool` nor `pass` nor `op` is on PATH outside of projects",
        ),
    ] {
        assert_eq!(found.unwrap_err(), expected);
    }
}

#[test]
fn a_command_has_no_input() {
    assert_eq!(command("cat; echo end").unwrap(), "end");
}

#[test]
fn what_is_no_secret_is_refused() {
    let mut secrets = Secrets::default();
    let name = SecretName::parse("K").unwrap();
    secrets.hold(&name, enclosed(b"").unwrap()).unwrap_err();
    secrets.hold(&name, enclosed(b"12345").unwrap()).unwrap_err();
    let placeholder = secrets.hold(&name, enclosed(b"123456").unwrap()).unwrap();
    assert_ne!(placeholder, secrets.hold(&name, enclosed(b"123456").unwrap()).unwrap());
    assert!(!format!("{secrets:?}").contains("123456"));
}

#[test]
fn files_are_shown_with_placeholders() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".netrc");
    let text = "machine a.test login me password s3cret-1\nmachine b.test password s3cret-2 # and s3cret-1\n\
                machine c.test password s3cret-1\n";
    std::fs::write(&path, text).unwrap();
    let mut secrets = Secrets::default();
    let shown = secrets.add_file(&SecretName::parse("F").unwrap(), &path, None).unwrap();
    let values = secrets.held.iter().map(|held| (held.value.to_vec(), held.placeholder.clone()));
    let values: Vec<_> = values.collect();
    assert_eq!(values.len(), 2, "{shown}");
    assert!(shown.starts_with(&format!("machine a.test login me password {}\n", values[0].1)));
    assert!(shown.ends_with(&format!("machine c.test password {}\n", values[0].1)));
    assert!(!shown.contains("s3cret"), "also where it is no part: {shown}");
    secrets.add_file(&SecretName::parse("G").unwrap(), &path, Some("nothing")).unwrap_err();
}
