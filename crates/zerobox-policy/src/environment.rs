//! The environment of the command, which is built and not filtered.

mod names;

use crate::error::PolicyError;
use crate::origin::Origin;
use crate::request::{EnvList, Request};
use crate::surroundings::Surroundings;
use names::{HARMLESS, LOADS_CODE};
use serde::Serialize;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// A variable that the command sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: OsString,
    /// Its value. `Policy` keeps values out of everything that is printed.
    pub value: OsString,
    /// The rule that lets it through.
    pub origin: Origin,
}

impl Serialize for Variable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Variable", 2)?;
        fields.serialize_field("name", &self.name.to_string_lossy())?;
        fields.serialize_field("origin", &self.origin)?;
        fields.end()
    }
}

/// A name of a variable, or a pattern in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// `NamePattern` for an empty text or one with characters that a name cannot have.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_*.-".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_valid) {
            return Err(PolicyError::NamePattern { text: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether this is a plain name, without a `*`.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether `name` fits.
    pub fn matches(&self, name: &OsStr) -> bool {
        fits(&self.0, name)
    }
}

fn fits(pattern: &str, name: &OsStr) -> bool {
    let mut pieces = pattern.split('*').map(str::as_bytes);
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.as_bytes().strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match find(rest, piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Builds the environment of the command.
///
/// # Errors
/// `Variable` and `NamePattern` for what cannot be read.
pub fn build(request: &Request, surroundings: &Surroundings<'_>) -> Result<Vec<Variable>, PolicyError> {
    if request.allow_all || request.no_sandbox {
        return with_set(request, inherited(surroundings, &Origin::Flag("--allow-all".into())), &[]);
    }
    let denied = patterns(request.deny_env.iter().map(String::as_str))?;
    let mut allowed: Vec<(NamePattern, Origin)> = Vec::new();
    for (written, list) in request.origins.each("--allow-env", &request.allow_env) {
        match list {
            EnvList::All => allowed.push((NamePattern("*".to_owned()), written.origin(None))),
            EnvList::Listed(names) => {
                let origin = written.origin(Some(OsStr::new(names)));
                let listed = patterns(std::iter::once(names.as_str()))?;
                allowed.extend(listed.into_iter().map(|pattern| (pattern, origin.clone())));
            }
        }
    }
    let homes: Vec<&str> = crate::toolchains::variables().collect();
    let passed =
        inherited(surroundings, &Origin::default_policy("environment")).into_iter().filter_map(|variable| {
            let name = variable.name.as_os_str();
            let may_pass = |pattern: &NamePattern| {
                pattern.is_exact() || !LOADS_CODE.iter().any(|other| fits(other, name))
            };
            match allowed.iter().find(|(pattern, _)| pattern.matches(name) && may_pass(pattern)) {
                Some((_, origin)) => Some(Variable { origin: origin.clone(), ..variable }),
                None => passes_by_default(name, &homes).then_some(variable),
            }
        });
    with_set(request, passed.collect(), &denied)
}

fn inherited(surroundings: &Surroundings<'_>, origin: &Origin) -> Vec<Variable> {
    let variable = |(name, value): &(OsString, OsString)| Variable {
        name: name.clone(),
        value: value.clone(),
        origin: origin.clone(),
    };
    surroundings.env.iter().map(variable).collect()
}

/// Adds what `--env` sets and takes away what `--deny-env` names: a deny holds on every route.
fn with_set(
    request: &Request,
    mut passed: Vec<Variable>,
    denied: &[NamePattern],
) -> Result<Vec<Variable>, PolicyError> {
    for (written, text) in request.origins.each("--env", &request.env) {
        let (name, value) =
            split_variable(text).ok_or_else(|| PolicyError::Variable { text: text.clone() })?;
        passed.retain(|variable| variable.name != name);
        let origin = written.origin_shown(|| format!("--env={}", name.display()));
        passed.push(Variable { name, value, origin });
    }
    passed.retain(|variable| !denied.iter().any(|pattern| pattern.matches(&variable.name)));
    Ok(passed)
}

fn split_variable(text: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    Some((OsStr::from_bytes(&bytes[..at]).to_owned(), OsStr::from_bytes(&bytes[at + 1..]).to_owned()))
}

fn patterns<'a>(lists: impl Iterator<Item = &'a str>) -> Result<Vec<NamePattern>, PolicyError> {
    lists.flat_map(|list| list.split(',')).filter(|text| !text.is_empty()).map(NamePattern::parse).collect()
}

fn passes_by_default(name: &OsStr, homes: &[&str]) -> bool {
    name.to_str()
        .is_some_and(|name| HARMLESS.contains(&name) || name.starts_with("LC_") || homes.contains(&name))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::fake::FakeFiles;
    use proptest::prelude::*;
    use std::path::Path;

    fn built(env: &[(&str, &str)], change: impl FnOnce(&mut Request)) -> Vec<String> {
        let env: Vec<_> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let files = FakeFiles::default();
        let cwd = Path::new("/w");
        let surroundings = Surroundings { cwd, env: &env, home: None, memory: 0, files: &files };
        let mut request = Request::default();
        change(&mut request);
        let variables = build(&request, &surroundings).unwrap();
        variables.iter().map(|v| format!("{}={}", v.name.display(), v.value.display())).collect()
    }

    fn listed(names: &str) -> Vec<EnvList> {
        vec![EnvList::Listed(names.to_owned())]
    }

    #[test]
    fn secrets_stay_out_by_default() {
        assert_eq!(
            built(&[("PATH", "/bin"), ("AWS_SECRET_ACCESS_KEY", "x"), ("LC_ALL", "C")], |_| ()),
            ["PATH=/bin", "LC_ALL=C"]
        );
    }

    #[test]
    fn code_loading_names_pass_only_when_named() {
        let env = [("LD_PRELOAD", "/x.so"), ("CI_JOB", "1")];
        assert_eq!(built(&env, |r| r.allow_env = vec![EnvList::All]), ["CI_JOB=1"]);
        assert_eq!(built(&env, |r| r.allow_env = listed("LD_*,CI_*")), ["CI_JOB=1"]);
        assert_eq!(built(&env, |r| r.allow_env = listed("LD_PRELOAD")), ["LD_PRELOAD=/x.so"]);
    }

    #[test]
    fn a_deny_holds_on_every_route() {
        let env = [("TOKEN", "x")];
        assert_eq!(
            built(&env, |r| {
                r.allow_env = listed("TOKEN");
                r.deny_env = vec!["TOK*".into()]
            }),
            [""; 0]
        );
        assert_eq!(
            built(&env, |r| {
                r.env = vec!["TOKEN=y".into()];
                r.deny_env = vec!["TOKEN".into()]
            }),
            [""; 0]
        );
    }

    #[test]
    fn nothing_that_loads_code_is_harmless() {
        let passing = HARMLESS.iter().copied().chain(crate::toolchains::variables());
        for name in passing {
            assert!(!LOADS_CODE.iter().any(|pattern| fits(pattern, OsStr::new(name))), "{name}");
        }
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        assert_eq!(built(&[("TOKEN", "x")], |r| r.allow_env = listed("")), [""; 0]);
    }

    proptest! {
        #[test]
        fn patterns_agree_with_a_slow_matcher(pattern in "[AB*]{1,6}", name in "[AB]{0,8}") {
            fn slow(p: &[u8], n: &[u8]) -> bool {
                match p.split_first() {
                    None => n.is_empty(),
                    Some((b'*', rest)) => (0..=n.len()).any(|at| slow(rest, &n[at..])),
                    Some((byte, rest)) => n.first() == Some(byte) && slow(rest, &n[1..]),
                }
            }
            let fast = NamePattern::parse(&pattern).unwrap().matches(OsStr::new(&name));
            prop_assert_eq!(fast, slow(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
