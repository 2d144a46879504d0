//! File rules and the one place that decides about a path.

use crate::origin::Origin;
use crate::surroundings::{Node, NodeKind};
use crate::tree::{PathIndex, and_above, is_within};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What a rule is about. Reading includes listing and executing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read, list, execute.
    Read,
    /// Also create, change and remove.
    Write,
}

/// Which way a rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The rule grants.
    Allow,
    /// The rule withholds.
    Deny,
}

/// Who wrote a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleSource {
    /// The default policy. Its denies are cut-outs of its own grants, lifted by naming the path.
    BuiltIn,
    /// The caller. A deny of the caller beats every allow.
    User,
}

/// What was at the path of a rule when the policy was resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PathState {
    /// A directory: the rule is about everything below it.
    Directory,
    /// A regular file.
    File,
    /// A socket, device or pipe.
    Special,
    /// Nothing.
    Absent,
}

impl From<&Option<Node>> for PathState {
    fn from(node: &Option<Node>) -> Self {
        match node.as_ref().map(|node| node.kind) {
            Some(NodeKind::Directory) => Self::Directory,
            Some(NodeKind::File) => Self::File,
            Some(NodeKind::Symlink | NodeKind::Socket | NodeKind::Special) => Self::Special,
            None => Self::Absent,
        }
    }
}

/// One rule about a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileRule {
    /// The root of the tree: absolute, without symbolic links.
    pub path: PathBuf,
    /// Allow or deny.
    pub effect: Effect,
    /// The access that is granted or withheld. Denying to read also denies to write.
    pub access: Access,
    /// Who wrote it.
    pub source: RuleSource,
    /// Where it was written.
    pub origin: Origin,
    /// What was there.
    pub state: PathState,
}

impl FileRule {
    /// Whether this takes something out of a grant of the default policy.
    pub fn is_cut_out(&self) -> bool {
        self.source == RuleSource::BuiltIn && self.effect == Effect::Deny
    }
}

/// An answer about one path, with the rule that gave it; no rule means that nothing grants it.
#[derive(Debug, Clone, Copy)]
pub struct Verdict<'a> {
    /// Whether the access is granted.
    pub allowed: bool,
    /// The rule that decided.
    pub rule: Option<&'a FileRule>,
}

/// All file rules of a policy, found by their path: a decision costs the depth of the path, not the number of rules.
#[derive(Debug, Clone, Default)]
pub struct FileRules {
    rules: Vec<FileRule>,
    by_path: PathIndex,
}

impl FileRules {
    /// Puts rules together; the order does not matter. Cut-outs that the caller named are dropped.
    pub fn new(rules: Vec<FileRule>) -> Self {
        let by_path = PathIndex::new(rules.len(), |index| &rules[index].path);
        let all = Self { rules, by_path };
        let is_lifted =
            |rule: &FileRule| rule.is_cut_out() && all.at(&rule.path).any(|other| lifts(other, rule));
        if !all.rules.iter().any(is_lifted) {
            return all;
        }
        Self::new(all.rules.iter().filter(|rule| !is_lifted(rule)).cloned().collect())
    }

    /// The rules, in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &FileRule> {
        self.rules.iter()
    }

    /// The rules whose tree begins at `path`.
    pub fn at<'a>(&'a self, path: &Path) -> impl Iterator<Item = &'a FileRule> + use<'a> {
        self.by_path.at(path, |index| &self.rules[index].path).map(|index| &self.rules[index])
    }

    /// The rules about `path` or a tree that it is in, the nearest first.
    pub fn covering<'a, 'p>(&'a self, path: &'p Path) -> impl Iterator<Item = &'a FileRule> + use<'a, 'p> {
        and_above(path).flat_map(|path| self.at(path))
    }

    /// Decides about `path`, which must be canonical.
    pub fn decide(&self, path: &Path, access: Access) -> Verdict<'_> {
        Self::decide_by(&self.covering(path).collect::<Vec<_>>(), access)
    }

    fn decide_by<'a>(covering: &[&'a FileRule], access: Access) -> Verdict<'a> {
        // The caller's denies come first, since they are the ones that cannot be lifted.
        let applies = |rule: &&&FileRule| {
            rule.effect == Effect::Deny
                && rule.access <= access
                && (rule.source == RuleSource::User || !covering.iter().any(|other| lifts(other, rule)))
        };
        let deny =
            covering.iter().filter(applies).min_by_key(|rule| (rule.source != RuleSource::User, rule.access));
        if let Some(rule) = deny {
            return Verdict { allowed: false, rule: Some(rule) };
        }
        let rule =
            covering.iter().find(|rule| rule.effect == Effect::Allow && rule.access >= access).copied();
        Verdict { allowed: rule.is_some(), rule }
    }

    /// The most that is granted at `path`; `None` if it may not even be read. As [`Self::decide`] says, in one look at each
    /// directory: it is asked for every rule several times.
    pub fn granted(&self, path: &Path) -> Option<Access> {
        let (mut allowed, mut lifted) = (None, None);
        // All are denied that are at least this.
        let mut denied: Option<Access> = None;
        let mut deny = |access: Access| denied = Some(denied.map_or(access, |other| other.min(access)));
        for path in and_above(path) {
            let mut cut = [None, None];
            for rule in self.at(path) {
                match (rule.effect, rule.source) {
                    (Effect::Allow, source) => {
                        allowed = allowed.max(Some(rule.access));
                        // It is within every cut-out here and above, which is what lifts them.
                        if source == RuleSource::User {
                            lifted = lifted.max(Some(rule.access));
                        }
                    }
                    (Effect::Deny, RuleSource::User) => deny(rule.access),
                    (Effect::Deny, RuleSource::BuiltIn) => cut[rule.access as usize] = Some(rule.access),
                }
            }
            cut.into_iter().flatten().filter(|access| lifted < Some(*access)).for_each(&mut deny);
        }
        match denied {
            Some(Access::Read) => None,
            Some(Access::Write) => allowed.min(Some(Access::Read)),
            None => allowed,
        }
    }
}

impl Serialize for FileRules {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.rules.serialize(serializer)
    }
}

/// Whether `rule` names `cut` or something in it.
fn lifts(rule: &FileRule, cut: &FileRule) -> bool {
    rule.source == RuleSource::User
        && rule.effect == Effect::Allow
        && rule.access >= cut.access
        && is_within(&rule.path, &cut.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(path: &str, effect: Effect, access: Access, source: RuleSource) -> FileRule {
        let origin = Origin::default_policy("test");
        FileRule { path: path.into(), effect, access, source, origin, state: PathState::Directory }
    }

    fn allow(path: &str, access: Access) -> FileRule {
        rule(path, Effect::Allow, access, RuleSource::User)
    }

    fn deny(path: &str, access: Access) -> FileRule {
        rule(path, Effect::Deny, access, RuleSource::User)
    }

    #[test]
    fn nothing_is_granted_by_nothing() {
        assert_eq!(FileRules::default().granted(Path::new("/")), None);
    }

    #[test]
    fn deny_beats_a_more_specific_allow() {
        let rules =
            FileRules::new(vec![deny("/p/secret", Access::Read), allow("/p/secret/pub", Access::Write)]);
        assert_eq!(rules.granted(Path::new("/p/secret/pub/x")), None);
    }

    #[test]
    fn denying_to_write_grants_nothing() {
        let rules = FileRules::new(vec![deny("/p", Access::Write)]);
        assert_eq!(rules.granted(Path::new("/p")), None);
        let rules = FileRules::new(vec![allow("/p", Access::Write), deny("/p/x", Access::Write)]);
        assert_eq!(rules.granted(Path::new("/p/x")), Some(Access::Read));
        assert_eq!(rules.granted(Path::new("/p/xy")), Some(Access::Write));
    }

    #[test]
    fn a_cut_out_is_lifted_by_its_name_only() {
        let cut = rule("/h/.cargo/credentials", Effect::Deny, Access::Read, RuleSource::BuiltIn);
        let granted = |extra: FileRule| {
            FileRules::new(vec![cut.clone(), extra]).granted(Path::new("/h/.cargo/credentials"))
        };
        assert_eq!(granted(allow("/h/.cargo", Access::Write)), None);
        assert_eq!(granted(allow("/h/.cargo/credentials", Access::Read)), Some(Access::Read));
        let hooks = rule("/p/.git/hooks", Effect::Deny, Access::Write, RuleSource::BuiltIn);
        let below =
            FileRules::new(vec![hooks, allow("/p", Access::Write), allow("/p/.git/hooks/x", Access::Write)]);
        assert_eq!(below.granted(Path::new("/p/.git/hooks/x")), Some(Access::Write));
        assert_eq!(below.granted(Path::new("/p/.git/hooks/y")), Some(Access::Read));
    }

    prop_compose! {
        fn any_rule()(path in "(/[ab]){0,3}", denies in any::<bool>(), writes in any::<bool>()) -> FileRule {
            let access = if writes { Access::Write } else { Access::Read };
            rule(&format!("/{path}"), if denies { Effect::Deny } else { Effect::Allow }, access, RuleSource::User)
        }
    }

    proptest! {
        #[test]
        fn what_is_granted_is_what_is_decided(
            rules in prop::collection::vec((any_rule(), any::<bool>()), 0..8),
            path in "(/[ab]){0,4}",
        ) {
            let of = |own| if own { RuleSource::BuiltIn } else { RuleSource::User };
            let rules = rules.into_iter().map(|(rule, own)| FileRule { source: of(own), ..rule }).collect();
            let (rules, path) = (FileRules::new(rules), PathBuf::from(format!("/{path}")));
            let decided = [Access::Write, Access::Read].into_iter().find(|access| rules.decide(&path, *access).allowed);
            prop_assert_eq!(rules.granted(&path), decided);
        }

        #[test]
        fn order_never_matters(rules in prop::collection::vec(any_rule(), 0..8), path in "(/[ab]){0,4}") {
            let path = PathBuf::from(format!("/{path}"));
            let reversed: Vec<_> = rules.iter().rev().cloned().collect();
            prop_assert_eq!(FileRules::new(rules).granted(&path), FileRules::new(reversed).granted(&path));
        }

        #[test]
        fn a_further_deny_never_grants(rules in prop::collection::vec(any_rule(), 0..8), path in "(/[ab]){0,4}", extra in any_rule()) {
            let path = PathBuf::from(format!("/{path}"));
            let before = FileRules::new(rules.clone()).granted(&path);
            let with = rules.into_iter().chain([FileRule { effect: Effect::Deny, ..extra }]).collect();
            prop_assert!(FileRules::new(with).granted(&path) <= before);
        }
    }
}
