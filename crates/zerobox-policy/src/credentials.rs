//! Where programs keep credentials. A proposal of ours never opens one of these without a warning.
//!
//! The list is not what protects them: nothing in a home directory is readable by default.

use crate::tree::is_within;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What is kept at `path`, in it or around it, if that is credentials. `home` is the user's home directory.
pub fn credentials_in(path: &Path, home: Option<&Path>) -> Option<&'static str> {
    let touches = |store: &Path| is_within(path, store) || is_within(store, path);
    let of_home = |(name, kept): &(&str, &'static str)| touches(&home?.join(name)).then_some(*kept);
    let of_system = |(store, kept): &(&str, &'static str)| touches(Path::new(store)).then_some(*kept);
    HOME.iter()
        .find_map(of_home)
        .or_else(|| SYSTEM.iter().find_map(of_system))
        .or_else(|| path.file_name().filter(|name| is_project_secret(name)).map(|_| "secrets of a project"))
}

/// Whether a file of this name in a project is likely to hold secrets.
pub fn is_project_secret(name: &OsStr) -> bool {
    name == ".env" || name.as_encoded_bytes().starts_with(b".env.")
}

/// Every place of that kind, whether it is there or not.
pub fn credential_stores(home: Option<&Path>) -> Vec<PathBuf> {
    let of_home = HOME.iter().filter_map(|(name, _)| Some(home?.join(name)));
    of_home.chain(SYSTEM.iter().map(|(store, _)| PathBuf::from(store))).collect()
}

/// Whether a variable is likely to hold a secret, by its name.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_WORDS.iter().any(|word| name.split('_').any(|part| part == *word) || name.ends_with(word))
}

/// Below the home directory.
const HOME: &[(&str, &str)] = &[
    (".ssh", "keys of ssh"),
    (".gnupg", "keys of gpg"),
    (".aws", "credentials of AWS"),
    (".azure", "credentials of Azure"),
    (".config/gcloud", "credentials of Google Cloud"),
    (".kube", "credentials of Kubernetes"),
    (".docker/config.json", "credentials of Docker"),
    (".config/containers/auth.json", "credentials of container registries"),
    (".netrc", "passwords of netrc"),
    (".git-credentials", "passwords of git"),
    (".config/git/credentials", "passwords of git"),
    (".config/gh", "the token of GitHub"),
    (".config/glab-cli", "the token of GitLab"),
    (".npmrc", "the token of npm"),
    (".yarnrc.yml", "the token of yarn"),
    (".pypirc", "the token of PyPI"),
    (".cargo/credentials", "the token of cargo"),
    (".cargo/credentials.toml", "the token of cargo"),
    (".gem/credentials", "the token of gem"),
    (".m2/settings.xml", "passwords of Maven"),
    (".gradle/gradle.properties", "passwords of Gradle"),
    (".pgpass", "passwords of PostgreSQL"),
    (".my.cnf", "passwords of MySQL"),
    (".password-store", "passwords of pass"),
    (".local/share/keyrings", "the keyring"),
    (".local/share/kwalletd", "the wallet"),
    (".vault-token", "the token of Vault"),
    (".terraform.d/credentials.tfrc.json", "the token of Terraform"),
    (".config/op", "the session of 1Password"),
    (".config/rclone", "credentials of rclone"),
    (".mozilla", "sessions of the browser"),
    (".config/google-chrome", "sessions of the browser"),
    (".config/chromium", "sessions of the browser"),
    (".claude", "the login of an agent"),
    (".claude.json", "the login of an agent"),
    (".codex", "the login of an agent"),
    (".gemini", "the login of an agent"),
];

/// Of the machine.
const SYSTEM: &[(&str, &str)] = &[
    ("/etc/shadow", "password hashes"),
    ("/etc/gshadow", "password hashes"),
    ("/etc/sudoers", "rules of sudo"),
    ("/etc/ssl/private", "keys of this machine"),
    ("/etc/ssh", "keys of this machine"),
    ("/etc/netplan", "passwords of networks"),
    ("/etc/NetworkManager/system-connections", "passwords of networks"),
    ("/var/run/secrets", "secrets of this container"),
    ("/run/secrets", "secrets of this container"),
    ("/run/docker.sock", "the rights of root, through Docker"),
    ("/var/run/docker.sock", "the rights of root, through Docker"),
    ("/run/containerd", "the rights of root, through containerd"),
    ("/run/podman", "the rights of root, through Podman"),
];

const SECRET_WORDS: &[&str] = &[
    "KEY",
    "APIKEY",
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "CREDENTIALS",
    "PAT",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_around_and_beside() {
        let kept = |path: &str| credentials_in(Path::new(path), Some(Path::new("/home/u")));
        assert_eq!(kept("/home/u/.ssh/id_ed25519"), Some("keys of ssh"));
        assert_eq!(kept("/home/u/.ssh"), Some("keys of ssh"));
        assert_eq!(kept("/home/u"), Some("keys of ssh"));
        assert_eq!(kept("/"), Some("keys of ssh"));
        assert_eq!(kept("/home/u/.sshd"), None);
        assert_eq!(kept("/home/u/src"), None);
        assert_eq!(kept("/w/.env"), Some("secrets of a project"));
        assert_eq!(kept("/etc/shadow"), Some("password hashes"));
        assert_eq!(kept("/etc/hostname"), None);
    }

    #[test]
    fn names_of_variables() {
        for name in
            ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PGPASSWORD", "DB_PASSWORD", "GH_PAT", "openai_api_key"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["AWS_PROFILE", "PATH", "KEYBOARD", "CI"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
