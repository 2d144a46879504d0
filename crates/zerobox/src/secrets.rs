//! The values of secrets: read once, before the run, from where the policy says.
//!
//! A value goes into memory that no clone of this process has, so that neither init nor the process which becomes the
//! command ever holds it. What the caller's environment and arguments had of it is overwritten.

mod source;

pub(crate) use source::ask;

use crate::error::Error;
use crate::host::Host;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zerobox_linux::SecretMemory;
use zerobox_policy::{
    Format, Hidden, Policy, Secret, SecretName, SecretSource, SecretText, matching_parts, placeholder,
    random_bytes, secret_parts, with_placeholders,
};
use zeroize::Zeroizing;

/// What `--secret NAME=VALUE` gave, by name.
#[derive(Debug, Default)]
pub(crate) struct Given(Vec<(Vec<u8>, SecretMemory)>);

impl Given {
    /// Sets the values aside.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub(crate) fn of(texts: &[SecretText]) -> std::io::Result<Self> {
        let given = texts.iter().filter_map(|text| Some((text.name().to_owned(), text.value()?)));
        given.map(|(name, value)| Ok((name, enclosed(value)?))).collect::<Result<_, _>>().map(Self)
    }

    fn take(&mut self, name: &SecretName) -> Option<SecretMemory> {
        let at = self.0.iter().position(|(own, _)| own == name.as_ref().as_bytes())?;
        Some(self.0.swap_remove(at).1)
    }
}

/// The name of a secret, its placeholder and its value.
pub(crate) type Value = (SecretName, String, Zeroizing<Vec<u8>>);

/// The secrets of a run.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    held: Vec<Held>,
    files: Vec<(PathBuf, String)>,
}

#[derive(Debug)]
struct Held {
    name: SecretName,
    placeholder: String,
    value: SecretMemory,
}

impl Secrets {
    /// Reads every secret of `policy`. From then on no other process looks into this one.
    ///
    /// # Errors
    /// The first secret that cannot be read, or is none.
    pub(crate) fn read(policy: &Policy, mut given: Given, host: &mut Host) -> Result<Self, Error> {
        let mut secrets = Self::default();
        if policy.network.secrets.is_empty() {
            return Ok(secrets);
        }
        zerobox_linux::forbid_inspection().map_err(Error::Inspection)?;
        for secret in &policy.network.secrets {
            secrets.add(secret, policy, &mut given, host).map_err(|reason| Error::Secret {
                name: secret.name.to_string(),
                place: secret.source.to_string(),
                reason,
            })?;
        }
        // Not before all are read: two may be of one variable.
        for secret in &policy.network.secrets {
            if let SecretSource::Environment(name) = &secret.source {
                host.forget(name);
                zerobox_linux::overwrite_variable(name.as_bytes());
            }
        }
        Ok(secrets)
    }

    fn add(
        &mut self,
        secret: &Secret,
        policy: &Policy,
        given: &mut Given,
        host: &Host,
    ) -> Result<(), String> {
        if let SecretSource::Parts { path, pattern } = &secret.source {
            let shown = self.add_file(&secret.name, path, pattern.as_deref())?;
            return self.show(policy, path, shown);
        }
        let value = match &secret.source {
            SecretSource::Value => given.take(&secret.name).ok_or("the request has no value")?,
            source => source::read(source, policy, &host.surroundings())?,
        };
        let placeholder = self.hold(&secret.name, value)?;
        match &secret.source {
            SecretSource::File(path) => self.cover(policy, path, &placeholder),
            _ => Ok(()),
        }
    }

    /// Shows `placeholder` in the stead of a file that is a secret, where a grant would show the file.
    fn cover(&mut self, policy: &Policy, path: &Path, placeholder: &str) -> Result<(), String> {
        let real = path.canonicalize().map_err(|error| error.to_string())?;
        match real.is_file() && policy.granted(&real).is_some() && !policy.is_scratch(&real) {
            true => self.show(policy, &real, format!("{placeholder}\n")),
            false => Ok(()),
        }
    }

    /// Shows `text` in the stead of a file, by each of its names that may lead to it inside.
    fn show(&mut self, policy: &Policy, path: &Path, text: String) -> Result<(), String> {
        let real = path.canonicalize().map_err(|error| error.to_string())?;
        let names = real.metadata().map_err(|error| error.to_string())?.nlink();
        if names > 1 {
            return Err(format!("it has {names} hard links, and only one can be hidden"));
        }
        // A link that is shown leads to what is shown in the stead of the file.
        let directory = path.parent().unwrap_or(path);
        let has_link = policy.granted(directory).is_some() && !policy.is_scratch(directory);
        if real != path && !has_link {
            self.files.push((path.to_owned(), text.clone()));
        }
        self.files.push((real, text));
        Ok(())
    }

    /// Reads the secret parts of a file, and gives what is to be shown in its stead.
    fn add_file(&mut self, name: &SecretName, path: &Path, pattern: Option<&str>) -> Result<String, String> {
        let file = source::read_file(path, MAX_FILE)?;
        let text = std::str::from_utf8(&file).map_err(|_| "it is not UTF-8")?;
        let parts = match (pattern, Format::of(path)) {
            (Some(pattern), _) => matching_parts(pattern, text).unwrap_or_default(),
            (None, Some(format)) => secret_parts(format, text),
            (None, None) => Vec::new(),
        };
        if parts.is_empty() {
            return Err("there is no secret part in it".to_owned());
        }
        let mut placeholders = Vec::new();
        for part in &parts {
            let value = part.value(text).ok_or("a secret part of it is malformed")?;
            let known = self.held.iter().find(|held| held.name == *name && *held.value == **value);
            let placeholder = match known {
                Some(held) => held.placeholder.clone(),
                None => self.hold(name, enclosed(&value).map_err(|error| error.to_string())?)?,
            };
            placeholders.push(placeholder);
        }
        let shown = with_placeholders(text, parts.iter().zip(placeholders.iter().map(String::as_str)));
        let mut shown = shown.ok_or("a secret part of it is malformed")?;
        // It may be in a comment as well.
        for held in self.held.iter().filter(|held| held.name == *name) {
            if let Ok(value) = std::str::from_utf8(&held.value) {
                shown = shown.replace(value, &held.placeholder);
            }
        }
        Ok(shown)
    }

    fn hold(&mut self, name: &SecretName, value: SecretMemory) -> Result<String, String> {
        match value.len() {
            0 => return Err("it is empty".to_owned()),
            1..SHORTEST => {
                return Err(format!("it has less than {SHORTEST} bytes, and would be found everywhere"));
            }
            _ => {}
        }
        let mut random = Zeroizing::new(vec![0; random_bytes(&value)]);
        fill(&mut random).map_err(|error| error.to_string())?;
        let placeholder = placeholder(&value, &random);
        self.held.push(Held { name: name.clone(), placeholder: placeholder.clone(), value });
        Ok(placeholder)
    }

    /// Gives the command placeholders.
    ///
    /// # Errors
    /// When an argument of the command has a value in it.
    pub(crate) fn hide(&self, policy: &mut Policy) -> Result<(), Error> {
        let hidden = self.held.iter().map(|held| Hidden {
            name: &held.name,
            placeholder: &held.placeholder,
            value: &held.value,
        });
        let hidden: Vec<_> = hidden.collect();
        Ok(policy.hide(&hidden)?)
    }

    /// What is shown in the stead of files, by their paths.
    pub(crate) fn files(&self) -> &[(PathBuf, String)] {
        &self.files
    }

    /// Each value with its name and its placeholder; one name may have several. To be called when every clone has been
    /// made: these are copies in ordinary memory.
    pub(crate) fn values(&self) -> Vec<Value> {
        let copy =
            |held: &Held| (held.name.clone(), held.placeholder.clone(), Zeroizing::new(held.value.to_vec()));
        self.held.iter().map(copy).collect()
    }
}

fn enclosed(value: &[u8]) -> std::io::Result<SecretMemory> {
    let mut memory = SecretMemory::new(value.len())?;
    memory.room()[..value.len()].copy_from_slice(value);
    memory.set_length(value.len());
    Ok(memory)
}

/// Random bytes of the kernel, getrandom(2).
pub(crate) fn fill(mut bytes: &mut [u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let flags = rustix::rand::GetRandomFlags::empty();
        let count = rustix::io::retry_on_intr(|| rustix::rand::getrandom(&mut *bytes, flags))?;
        bytes = &mut bytes[count..];
    }
    Ok(())
}

/// What is shorter is a part of many words, and would be replaced in all of them.
const SHORTEST: usize = 6;
/// A file with secret parts is written by hand or by a tool of one.
const MAX_FILE: usize = 1 << 20;

#[cfg(test)]
mod tests;
