//! Questions about variables.

use super::{Answer, Change, Rule, Why};
use std::ffi::{OsStr, OsString};
use zerobox_policy::{
    Confinement, EnvList, Request, Surroundings, Variable, build_environment, is_secret_name, quote,
};

impl Why {
    pub(super) fn variable(&self, answer: &mut Answer, name: &OsStr) {
        let policy = &self.session.policy;
        if let Some(text) = own_variable(name).filter(|_| policy.confinement == Confinement::Sandbox) {
            answer.allow(text);
            answer.rule =
                Some(Rule { text: "own variable".to_owned(), origin: "default: environment".to_owned() });
            return;
        }
        let secret = policy.network.secrets.iter().find(|secret| name == secret.name.as_ref());
        if let Some(secret) = secret.filter(|secret| secret.file().is_none()) {
            answer.allow("it holds a placeholder; the value stays outside");
            answer.rule =
                Some(Rule { text: format!("secret {}", secret.name), origin: secret.origin.to_string() });
            return;
        }
        let passed = |request: &Request| self.passed(request, name);
        match passed(&self.request) {
            Some(variable) => {
                answer.allow("it is passed on, or set");
                answer.rule = Some(Rule {
                    text: format!("variable {}", name.display()),
                    origin: variable.origin.to_string(),
                });
                answer.change = Some(Change::add(format!("--deny-env={}", quote::word(name))));
            }
            None if passed(&Request { deny_env: Vec::new(), ..self.request.clone() }).is_some() => {
                answer.deny("a rule holds it back, which beats every allow");
                // One flag may be a list.
                let denies = |flag: &&String| {
                    let others =
                        self.request.deny_env.iter().filter(|other| other != flag).cloned().collect();
                    passed(&Request { deny_env: others, ..self.request.clone() }).is_some()
                };
                if let Some(list) = self.request.deny_env.iter().find(denies) {
                    let flag = format!("--deny-env={list}");
                    answer.rule = Some(Rule { text: format!("hold back {list}"), origin: flag.clone() });
                    answer.change = Some(Change { how: super::How::Remove, flag, warning: None });
                }
            }
            None => self.propose_variable(answer, name),
        }
        if self.session.surroundings().var(name.to_str().unwrap_or_default()).is_none() && !self.is_set(name)
        {
            answer.note("it is not set outside, so that the command has none in any case");
        }
    }

    fn propose_variable(&self, answer: &mut Answer, name: &OsStr) {
        let all = Request { allow_env: vec![EnvList::All], ..self.request.clone() };
        answer.deny(if self.passed(&all, name).is_some() {
            "nothing passes it on"
        } else {
            "it can make programs run code, and is passed on only when it is named exactly"
        });
        let Some(name) = name.to_str() else { return };
        let exact = Request { allow_env: vec![EnvList::Listed(name.to_owned())], ..self.request.clone() };
        if self.passed(&exact, OsStr::new(name)).is_none() {
            return;
        }
        let warning = is_secret_name(name).then(|| {
            format!("it looks like a secret, which the command then has; a placeholder: `--secret {name} --secret-host {name}=HOST`")
        });
        answer.change = Some(Change::add(format!("--allow-env={}", quote::word(name))).with_warning(warning));
    }

    /// What the command would have of this variable, if the caller had it.
    fn passed(&self, request: &Request, name: &OsStr) -> Option<Variable> {
        let surroundings = self.session.surroundings();
        let is_it = |(own, _): &(OsString, OsString)| own == name;
        let own = surroundings.env.iter().find(|entry| is_it(entry)).cloned();
        let env = [own.unwrap_or_else(|| (name.to_owned(), OsString::new()))];
        let built = build_environment(request, &Surroundings { env: &env, ..surroundings }).ok()?;
        built.into_iter().find(|variable| variable.name == name)
    }

    fn is_set(&self, name: &OsStr) -> bool {
        self.session.policy.environment.iter().any(|variable| variable.name == name)
    }
}

/// The variables that every run has.
fn own_variable(name: &OsStr) -> Option<&'static str> {
    match name.to_str()? {
        "PWD" => Some("it is the directory that the command runs in"),
        "ZEROBOX" => Some("it is `1`, so that a program can know that it is in a sandbox"),
        _ => None,
    }
}
