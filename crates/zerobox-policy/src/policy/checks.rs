//! What a request must not be, and which denies could not be held.

use super::Policy;
use super::resolver::Denied;
use crate::error::PolicyError;
use crate::files::{Access, Effect, FileRules, RuleSource};
use crate::origin::Origin;
use crate::request::Request;
use crate::surroundings::{NodeKind, Surroundings};
use crate::system;
use crate::tree::and_above;
use std::path::Path;

pub(super) fn check_conflicts(request: &Request) -> Result<(), PolicyError> {
    let named = |flag: &'static str| match flag {
        "--net=host" if request.origins.of("--net", 0).is_some() => {
            request.origins.written("--net", 0).name()
        }
        flag => request.origins.written(flag, 0).name(),
    };
    let conflict = |first: &'static str, second: &'static str| {
        Err(PolicyError::Conflict { first: named(first), second: named(second) })
    };
    let network = [
        ("--deny-net", !request.deny_net.is_empty()),
        ("--resolve", !request.resolve.is_empty()),
        ("--publish", !request.publish.is_empty()),
        ("--secret", !request.secrets.is_empty()),
        ("--secret-file", !request.secret_files.is_empty()),
        ("--allow-http", !request.allow_http.is_empty()),
        ("--deny-http", !request.deny_http.is_empty()),
        ("--no-tls-inspect", !request.no_tls_inspect.is_empty()),
    ];
    let mut of_network = network.into_iter().chain([("--allow-net", !request.allow_net.is_empty())]);
    if request.net_host
        && let Some((flag, _)) = of_network.find(|(_, given)| *given)
    {
        return conflict("--net=host", flag);
    }
    let open = match (request.allow_all, request.no_sandbox) {
        (true, true) => return conflict("--allow-all", "--no-sandbox"),
        (true, false) => "--allow-all",
        (false, true) => "--no-sandbox",
        (false, false) => return Ok(()),
    };
    let closing = [
        ("--deny-read", !request.deny_read.is_empty()),
        ("--deny-write", !request.deny_write.is_empty()),
        ("--deny-env", !request.deny_env.is_empty()),
        ("--strict-sandbox", request.strict),
        ("--scratch-size", request.scratch_size.is_some()),
        ("--memory", request.memory.is_some()),
        ("--cpus", request.cpus.is_some()),
        ("--pids", request.pids.is_some()),
    ];
    match closing.into_iter().chain(network).find(|(_, given)| *given) {
        Some((flag, _)) => conflict(open, flag),
        None => Ok(()),
    }
}

pub(super) fn check_keep_fds(fds: &[i32]) -> Result<(), PolicyError> {
    match fds.iter().find(|fd| **fd < 3) {
        Some(fd) => Err(PolicyError::KeepFd { fd: *fd, reason: "0, 1 and 2 are always kept" }),
        None => Ok(()),
    }
}

/// Refuses a deny that the mounts could not hold, by its name.
pub(super) fn check_denies(
    policy: &Policy,
    denied: &[Denied],
    surroundings: &Surroundings<'_>,
) -> Result<(), PolicyError> {
    for deny in denied {
        check_deny(policy, deny, surroundings).map_err(|error| match &deny.origin {
            Origin::Profile(place) => {
                PolicyError::InProfile { place: place.clone(), source: Box::new(error) }
            }
            _ => error,
        })?;
    }
    Ok(())
}

fn check_deny(
    policy: &Policy,
    Denied { flag, spelled, resolved, .. }: &Denied,
    surroundings: &Surroundings<'_>,
) -> Result<(), PolicyError> {
    let rules = &policy.files;
    let path = &resolved.path;
    // The nearest existing directory above: what would be granted here if this rule were not.
    let is_there = |parent: &&Path| resolved.node.is_some() || surroundings.files.node(parent).is_ok();
    let parent = || and_above(path).skip(1).find(is_there).unwrap_or(Path::new("/"));
    match &resolved.node {
        None => {
            let parent = parent().to_owned();
            let around = rules.granted(&parent);
            if system::SPECIAL.iter().any(|own| path.starts_with(own)) {
                return Err(PolicyError::AbsentInSpecial { flag, path: path.clone(), parent });
            }
            let is_private = policy.is_scratch(&parent);
            if around == Some(Access::Write) && !is_private {
                return Err(PolicyError::AbsentInWritable { flag, path: path.clone(), parent });
            }
            // Landlock, which would hold it, grants by tree: all of a scratch directory, and what is shown in it.
            let scratch =
                and_above(path).find(|path| policy.scratch.iter().any(|scratch| scratch.path == *path));
            if let Some(scratch) = scratch.filter(|_| around.is_some() && !is_private) {
                return Err(PolicyError::AbsentBelowScratch {
                    flag,
                    path: path.clone(),
                    scratch: scratch.to_owned(),
                });
            }
        }
        Some(node) if node.kind == NodeKind::File && node.links > 1 && rules.granted(parent()).is_some() => {
            return Err(PolicyError::HardLinked { flag, path: path.clone(), links: node.links });
        }
        Some(_) => {}
    }
    let link = resolved.links.last().filter(|_| resolved.ends_in_link(spelled));
    let link_directory = link.and_then(|link| link.path.parent());
    if link_directory.is_some_and(|directory| rules.granted(directory) == Some(Access::Write)) {
        return Err(PolicyError::ReplaceableLink { flag, path: spelled.clone(), target: path.clone() });
    }
    Ok(())
}

/// A cut-out that hides is a cover over a whole file or directory; it has no window.
pub(super) fn check_cut_outs(rules: &FileRules) -> Result<(), PolicyError> {
    let allows = rules.iter().filter(|rule| rule.source == RuleSource::User && rule.effect == Effect::Allow);
    for rule in allows {
        let cut = rules.covering(&rule.path).find(|other| other.is_cut_out() && other.access == Access::Read);
        if let Some(cut) = cut {
            let flag = if rule.access == Access::Write { "--allow-write" } else { "--allow-read" };
            return Err(PolicyError::InsideCutOut { flag, path: rule.path.clone(), cut: cut.path.clone() });
        }
    }
    Ok(())
}
