//! Adding what profiles say to a request.

use super::expand::{expand, item};
use super::narrow::narrows;
use super::{Fault, Given, ProfileError, Setting};
use crate::origin::Place;
use crate::request::{EnvList, NetList, Origins, PathList, Request};
use crate::secret::{SecretName, SecretText};
use crate::secret_file::{Format, matching_parts, secret_parts};
use crate::surroundings::Surroundings;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What became of the settings.
#[derive(Debug, Default)]
pub struct Applied<'a> {
    /// Those that were left out, since they would have given the command more.
    pub held_back: Vec<&'a Setting>,
}

/// Adds settings to `request`, in order of growing weight: what a flag says stands, and a later setting takes the place of
/// an earlier one that only one can be of. Those of a file that is not `trusted` are added as far as they narrow.
///
/// # Errors
/// A path that has no meaning here.
pub fn apply<'a>(
    settings: impl IntoIterator<Item = &'a Setting>,
    trusted: bool,
    request: &mut Request,
    surroundings: &Surroundings<'_>,
) -> Result<Applied<'a>, ProfileError> {
    let mut applied = Applied::default();
    let taken: Vec<&Setting> = settings
        .into_iter()
        .filter(|setting| {
            let is_taken = trusted || narrows(setting, request, surroundings);
            if !is_taken {
                applied.held_back.push(setting);
            }
            is_taken
        })
        .collect();
    let cwd = match &request.cwd {
        Some(cwd) => surroundings.cwd.join(cwd),
        None => surroundings.cwd.to_owned(),
    };
    let mut adding = Adding { request, surroundings, cwd, absent: BTreeSet::new() };
    adding.find_absent(&taken);
    let mut faults = Vec::new();
    for setting in &taken {
        if let Err(message) = adding.add(setting) {
            let message = format!("in `{}`: {message}", setting.key.name);
            faults.push(Fault { place: Some(setting.place.clone()), message, hint: None });
        }
    }
    match faults.is_empty() {
        true => Ok(applied),
        false => Err(ProfileError { faults }),
    }
}

struct Adding<'r, 's> {
    request: &'r mut Request,
    surroundings: &'s Surroundings<'s>,
    cwd: PathBuf,
    /// Names of secrets that are optional and not here.
    absent: BTreeSet<OsString>,
}

impl Adding<'_, '_> {
    fn add(&mut self, setting: &Setting) -> Result<(), String> {
        let Setting { key, value, place, .. } = setting;
        match value {
            Given::Text(text) => self.add_text(setting, text)?,
            Given::All => {
                let Request { origins, allow_read, allow_write, allow_net, allow_env, .. } =
                    &mut *self.request;
                match key.name {
                    "allow-read" => push(allow_read, origins, setting, PathList::All),
                    "allow-write" => push(allow_write, origins, setting, PathList::All),
                    "allow-net" => push(allow_net, origins, setting, NetList::All),
                    _ => push(allow_env, origins, setting, EnvList::All),
                }
            }
            Given::Switch(on) => {
                let Request { origins, share_tmp, strict, .. } = &mut *self.request;
                match key.name {
                    "share-tmp" => set(share_tmp, origins, key.flag, place, *on),
                    _ if *strict && origins.of(key.flag, 0).is_none() => {}
                    _ => {
                        *strict = *on;
                        origins.note(key.flag, 0, place.clone());
                    }
                }
            }
            Given::Number(count) => {
                let Request { origins, pids, open_files, .. } = &mut *self.request;
                let limit = if key.name == "pids" { pids } else { open_files };
                set(limit, origins, key.flag, place, *count);
            }
            Given::Size(size) => {
                let Request { origins, memory, scratch_size, file_size, .. } = &mut *self.request;
                let limit = match key.name {
                    "memory" => memory,
                    "scratch-size" => scratch_size,
                    _ => file_size,
                };
                set(limit, origins, key.flag, place, *size);
            }
            Given::Time(time) => {
                set(&mut self.request.timeout, &mut self.request.origins, key.flag, place, *time);
            }
            Given::Cpus(cpus) => {
                set(&mut self.request.cpus, &mut self.request.origins, key.flag, place, *cpus)
            }
        }
        Ok(())
    }

    fn add_text(&mut self, setting: &Setting, text: &str) -> Result<(), String> {
        let (key, place) = (setting.key, &setting.place);
        let path = |own: &Self| own.path(setting, text);
        let about = |own: &Self| own.about_secret(setting, text);
        match key.name {
            "allow-read" | "allow-write" => {
                let Some(path) = path(self)? else { return Ok(()) };
                let Request { origins, allow_read, allow_write, .. } = &mut *self.request;
                let list = if key.name == "allow-read" { allow_read } else { allow_write };
                push(list, origins, setting, PathList::Listed(item(path)));
            }
            "deny-read" | "deny-write" | "allow-socket" | "upstream-ca" => {
                let Some(path) = path(self)? else { return Ok(()) };
                let Request { origins, deny_read, deny_write, allow_socket, upstream_ca, .. } =
                    &mut *self.request;
                match key.name {
                    "deny-read" => push(deny_read, origins, setting, item(path)),
                    "deny-write" => push(deny_write, origins, setting, item(path)),
                    "allow-socket" => push(allow_socket, origins, setting, item(path)),
                    _ => push(upstream_ca, origins, setting, path.into_os_string()),
                }
            }
            "cwd" => {
                let Some(path) = path(self)? else { return Ok(()) };
                set(&mut self.request.cwd, &mut self.request.origins, key.flag, place, path);
            }
            "net" => {
                if !self.request.net_host {
                    self.request.net_host = true;
                    self.request.origins.note(key.flag, 0, place.clone());
                }
            }
            "secret" => {
                let Some(secret) = self.secret(setting, text)? else { return Ok(()) };
                let Request { origins, secrets, .. } = &mut *self.request;
                let name = secret.name().to_owned();
                replace(secrets, origins, setting, secret, |other| other.name() == name);
            }
            "secret-file" => {
                let Some(file) = self.secret_file(setting, text)? else { return Ok(()) };
                let Request { origins, secret_files, .. } = &mut *self.request;
                replace(secret_files, origins, setting, file.clone(), |other| {
                    name_of(other, b':') == name_of(&file, b':')
                });
            }
            "secret-host" => {
                let Some(text) = about(self)? else { return Ok(()) };
                push(&mut self.request.secret_hosts, &mut self.request.origins, setting, text);
            }
            "secret-in" | "secret-limit" => {
                let Some(text) = about(self)? else { return Ok(()) };
                let Request { origins, secret_in, secret_limits, .. } = &mut *self.request;
                let list = if key.name == "secret-in" { secret_in } else { secret_limits };
                replace(list, origins, setting, text.clone(), |other| {
                    name_of(other, b'=') == name_of(&text, b'=')
                });
            }
            "secret-plaintext" => {
                if !self.absent.contains(OsStr::new(text)) {
                    push(&mut self.request.secret_plaintext, &mut self.request.origins, setting, text.into());
                }
            }
            "env" => {
                let Request { origins, env, .. } = &mut *self.request;
                replace(env, origins, setting, text.into(), |other| {
                    name_of(other, b'=') == name_of(OsStr::new(text), b'=')
                });
            }
            _ => self.add_word(setting, text.to_owned()),
        }
        Ok(())
    }

    fn add_word(&mut self, setting: &Setting, text: String) {
        let request = &mut *self.request;
        let origins = &mut request.origins;
        match setting.key.name {
            "allow-net" => push(&mut request.allow_net, origins, setting, NetList::Listed(text)),
            "allow-env" => push(&mut request.allow_env, origins, setting, EnvList::Listed(text)),
            "allow-net-from" => push(&mut request.allow_net_from, origins, setting, text),
            "deny-net" => push(&mut request.deny_net, origins, setting, text),
            "deny-env" => push(&mut request.deny_env, origins, setting, text),
            "resolve" => push(&mut request.resolve, origins, setting, text),
            "publish" => push(&mut request.publish, origins, setting, text),
            "allow-http" => push(&mut request.allow_http, origins, setting, text),
            "deny-http" => push(&mut request.deny_http, origins, setting, text),
            _ => push(&mut request.no_tls_inspect, origins, setting, text),
        }
    }

    fn path(&self, setting: &Setting, text: &str) -> Result<Option<PathBuf>, String> {
        expand(text, setting.directory.as_deref().map(PathBuf::as_path), &self.cwd, self.surroundings)
    }

    /// `NAME[?][=SOURCE]`; none if its variable may be missing and is.
    fn secret(&self, setting: &Setting, text: &str) -> Result<Option<SecretText>, String> {
        let (name, source) = text.split_once('=').map_or((text, None), |(name, source)| (name, Some(source)));
        let plain = name.strip_suffix('?').unwrap_or(name);
        if self.absent.contains(OsStr::new(plain)) && plain.len() < name.len() {
            return Ok(None);
        }
        let source = match source.and_then(|source| source.strip_prefix("file:")) {
            Some(file) => {
                self.path(setting, file)?.map(|path| [b"file:", path.as_os_str().as_bytes()].concat())
            }
            None => source.map(|source| source.as_bytes().to_vec()),
        };
        let text = match source {
            Some(source) => [plain.as_bytes(), b"=", &source].concat(),
            None => plain.as_bytes().to_vec(),
        };
        Ok(Some(SecretText::new(Zeroizing::new(text))))
    }

    /// `PATH[?][:REGEX]`; none if the file may be missing, and it or a secret in it is.
    fn secret_file(&self, setting: &Setting, text: &str) -> Result<Option<OsString>, String> {
        let (path, pattern) =
            text.split_once(':').map_or((text, None), |(path, pattern)| (path, Some(pattern)));
        let is_optional = path.ends_with('?');
        let Some(file) = self.path(setting, path)? else { return Ok(None) };
        let mut file = if is_optional { without_mark(&file) } else { file.into_os_string() };
        let files = self.surroundings.files;
        if is_optional && files.node(Path::new(&file)).is_err() {
            return Ok(None);
        }
        let text = files.text(Path::new(&file)).filter(|_| is_optional);
        if text.is_some_and(|text| has_no_secret(Path::new(&file), pattern, &text)) {
            return Ok(None);
        }
        if let Some(pattern) = pattern {
            file.push(":");
            file.push(pattern);
        }
        Ok(Some(file))
    }

    /// `NAME=..` of a secret that there is, with the path that it has if it is a file.
    fn about_secret(&self, setting: &Setting, text: &str) -> Result<Option<OsString>, String> {
        let parts = if text.contains('/') { text.rsplit_once('=') } else { text.split_once('=') };
        let (name, rest) = parts.ok_or("a name and a `=` are wanted")?;
        let plain = name.strip_suffix('?').unwrap_or(name);
        let mut name = match SecretName::parse(plain) {
            Some(_) => OsString::from(plain),
            None => match self.path(setting, plain)? {
                Some(path) => path.into_os_string(),
                None => return Ok(None),
            },
        };
        if self.absent.contains(&name) {
            return Ok(None);
        }
        name.push("=");
        name.push(rest);
        Ok(Some(name))
    }

    /// Finds the secrets that may be missing and are, unless somebody else says where they are.
    fn find_absent(&mut self, settings: &[&Setting]) {
        let mut given: BTreeSet<OsString> =
            self.request.secrets.iter().map(|secret| OsString::from_vec(secret.name().to_vec())).collect();
        given.extend(self.request.secret_files.iter().map(|file| name_of(file, b':').to_owned()));
        for setting in settings {
            let Given::Text(text) = &setting.value else { continue };
            match setting.key.name {
                "secret" => {
                    let (name, source) = text.split_once('=').unwrap_or((text, ""));
                    let plain = name.strip_suffix('?').unwrap_or(name);
                    let variable = source.strip_prefix("env:").unwrap_or(plain);
                    let is_set = self.surroundings.var(variable).is_some_and(|value| !value.is_empty());
                    let is_here = plain.len() == name.len() || is_set;
                    let set = if is_here { &mut given } else { &mut self.absent };
                    set.insert(plain.into());
                }
                "secret-file" => {
                    let path = text.split_once(':').map_or(text.as_str(), |(path, _)| path);
                    if let Ok(Some(file)) = self.path(setting, path) {
                        let is_here = self.secret_file(setting, text).is_ok_and(|file| file.is_some());
                        let set = if is_here { &mut given } else { &mut self.absent };
                        set.insert(if path.ends_with('?') {
                            without_mark(&file)
                        } else {
                            file.into_os_string()
                        });
                    }
                }
                _ => {}
            }
        }
        self.absent.retain(|name| !given.contains(name));
    }
}

/// Whether a file that may have a secret in it has none now: the token is kept elsewhere. Of a large file only the beginning
/// is known, which says nothing.
fn has_no_secret(path: &Path, pattern: Option<&str>, text: &str) -> bool {
    if text.len() >= SMALL {
        return false;
    }
    match (pattern, Format::of(path)) {
        (Some(pattern), _) => matching_parts(pattern, text).is_some_and(|parts| parts.is_empty()),
        (None, Some(format)) => secret_parts(format, text).is_empty(),
        (None, None) => false,
    }
}

/// Sets what only one value can be of, unless a flag did.
fn set<T>(field: &mut Option<T>, origins: &mut Origins, flag: &'static str, place: &Place, value: T) {
    if field.is_some() && origins.of(flag, 0).is_none() {
        return;
    }
    *field = Some(value);
    origins.note(flag, 0, place.clone());
}

fn push<T>(list: &mut Vec<T>, origins: &mut Origins, setting: &Setting, value: T) {
    origins.note(setting.key.flag, list.len(), setting.place.clone());
    list.push(value);
}

/// Adds `value`, in the place of the one that it is the same as, unless that is of a flag.
fn replace<T>(
    list: &mut Vec<T>,
    origins: &mut Origins,
    setting: &Setting,
    value: T,
    is_same: impl Fn(&T) -> bool,
) {
    match list.iter().position(is_same) {
        Some(at) if origins.of(setting.key.flag, at).is_none() => {}
        Some(at) => {
            list[at] = value;
            origins.note(setting.key.flag, at, setting.place.clone());
        }
        None => push(list, origins, setting, value),
    }
}

fn name_of(text: &OsStr, end: u8) -> &OsStr {
    let bytes = text.as_bytes();
    OsStr::from_bytes(bytes.iter().position(|byte| *byte == end).map_or(bytes, |at| &bytes[..at]))
}

fn without_mark(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_bytes();
    OsStr::from_bytes(bytes.strip_suffix(b"?").unwrap_or(bytes)).to_owned()
}

/// Less than [`Files::text`](crate::Files::text) reads.
const SMALL: usize = 4 << 10;
