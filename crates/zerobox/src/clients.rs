//! The hosts that clients of package registries are set to use.
//!
//! No registry is written down here: a company has its own, and a client knows best. What the user and the machine have
//! set is read; a client without settings is asked for what it uses then. The settings of a project are not heard, since
//! they come from whoever made the project.

use crate::host::Host;
use crate::profiles::read;
use crate::secrets::{ask, find};
use std::path::{Path, PathBuf};
use std::process::Command;
use zerobox_policy::profile::{config_home, toolchain_directory};
use zerobox_policy::{NetList, Note, Request, Surroundings, rule_of_url};

/// Adds the hosts of the clients that `request` names to those that it allows.
pub(crate) fn add_hosts(request: &mut Request, host: &Host, notes: &mut Vec<Note>) {
    let surroundings = host.surroundings();
    for (index, client) in request.allow_net_from.clone().iter().enumerate() {
        let mut rules: Vec<String> =
            urls(client, &surroundings).iter().filter_map(|url| rule_of_url(url)).collect();
        rules.sort();
        rules.dedup();
        if rules.is_empty() {
            notes.push(Note {
                text: format!(
                    "`{client}` did not say which hosts it is set to use, so none is allowed for it"
                ),
                hint: "allow them yourself, `--allow-net=HOST`: what it was refused is said at the end"
                    .to_owned(),
            });
        }
        for rule in rules {
            if let Some(place) = request.origins.of("--allow-net-from", index).cloned() {
                request.origins.note("--allow-net", request.allow_net.len(), place);
            }
            request.allow_net.push(NetList::Listed(rule));
        }
    }
}

fn urls(client: &str, surroundings: &Surroundings<'_>) -> Vec<String> {
    match client {
        "npm" => npm(surroundings),
        "pip" => pip(surroundings),
        "cargo" => cargo(surroundings),
        "go" => go(surroundings),
        _ => Vec::new(),
    }
}

/// npm-config(1): variables, the user's file, the machine's.
fn npm(surroundings: &Surroundings<'_>) -> Vec<String> {
    if let Some(url) = variable(&["npm_config_registry", "NPM_CONFIG_REGISTRY"], surroundings) {
        return vec![url];
    }
    let user = variable(&["npm_config_userconfig", "NPM_CONFIG_USERCONFIG"], surroundings).map(PathBuf::from);
    let user = user.or_else(|| Some(surroundings.home?.join(".npmrc")));
    let text = user.and_then(|path| read(&path).ok()).unwrap_or_default();
    // `registry` and `@scope:registry`.
    let set =
        settings(&text, |key| key == "registry" || (key.starts_with('@') && key.ends_with(":registry")));
    if set.iter().any(|(key, _)| *key == "registry") {
        return values(set);
    }
    let asked = asked("npm", &["config", "get", "registry"], surroundings).into_iter();
    asked.chain(values(set)).collect()
}

/// pip's user guide, "Configuration": variables add to the files.
fn pip(surroundings: &Surroundings<'_>) -> Vec<String> {
    let of = |name| variable(&[name], surroundings);
    let mut files = vec![PathBuf::from("/etc/pip.conf")];
    files.extend(surroundings.home.map(|home| home.join(".pip/pip.conf")));
    files.extend(config_home(surroundings).map(|directory| directory.join("pip/pip.conf")));
    files.extend(of("PIP_CONFIG_FILE").map(PathBuf::from));
    let texts: Vec<String> = files.iter().filter_map(|path| read(path).ok()).collect();
    let set = |name| texts.iter().flat_map(move |text| values(settings(text, |key| key == name)));
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut urls: Vec<String> =
        set("extra-index-url").chain(of("PIP_EXTRA_INDEX_URL")).flat_map(words).collect();
    match of("PIP_INDEX_URL").or_else(|| set("index-url").last()) {
        Some(index) => urls.push(index),
        // What pip itself takes without settings, and where its files are.
        None => {
            let code = "from pip._internal.models.index import PyPI as i; print(i.simple_url, 'https://' + i.file_storage_domain)";
            urls.extend(asked("python3", &["-I", "-c", code], surroundings).map(words).unwrap_or_default());
        }
    }
    urls
}

/// The Cargo book, "Source Replacement" and "Registries".
fn cargo(surroundings: &Surroundings<'_>) -> Vec<String> {
    let Some(home) = toolchain_directory("CARGO_HOME", surroundings) else { return Vec::new() };
    let names = ["config.toml", "config"].map(|name| home.join(name));
    let text = names.iter().find_map(|path| read(path).ok()).unwrap_or_default();
    let urls = sections(&text).into_iter().filter(|(section, key, _)| {
        (section.starts_with("source.") && key == "registry")
            || (section.starts_with("registries.") && key == "index")
    });
    urls.map(|(_, _, url)| url.trim_start_matches("sparse+").trim_start_matches("registry+").to_owned())
        .collect()
}

/// `go help environment`; go knows its own defaults.
fn go(surroundings: &Surroundings<'_>) -> Vec<String> {
    let of = |name| variable(&[name], surroundings).or_else(|| asked("go", &["env", name], surroundings));
    let proxies = of("GOPROXY").unwrap_or_default();
    let mut urls: Vec<String> = proxies
        .split([',', '|'])
        .filter(|url| url.contains("://"))
        .map(|url| url.trim().to_owned())
        .collect();
    // `NAME`, `NAME+KEY` or `NAME+KEY URL`.
    if let Some(database) = of("GOSUMDB").filter(|name| !name.is_empty() && name != "off") {
        let url = database.split_once(' ').map(|(_, url)| url.to_owned());
        let name = database.split(['+', ' ']).next().unwrap_or_default();
        urls.push(url.unwrap_or_else(|| format!("https://{name}")));
    }
    urls
}

fn variable(names: &[&str], surroundings: &Surroundings<'_>) -> Option<String> {
    let value =
        |name: &&str| surroundings.var(name)?.to_str().filter(|value| !value.is_empty()).map(str::to_owned);
    names.iter().find_map(value)
}

/// What a client prints, asked in a directory in which there are no settings of a project. The program itself is none of
/// the project either.
fn asked(name: &str, arguments: &[&str], surroundings: &Surroundings<'_>) -> Option<String> {
    let program = find(name, surroundings).filter(|program| !is_of_project(program, surroundings.cwd))?;
    let answer = ask(Command::new(program).args(arguments).current_dir("/"))?;
    Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty() && answer != "undefined")
}

fn is_of_project(program: &Path, cwd: &Path) -> bool {
    cwd.parent().is_some() && program.starts_with(cwd)
}

/// The `key = value` lines of a text whose keys are wanted.
fn settings<'a>(text: &'a str, is_wanted: impl Fn(&str) -> bool) -> Vec<(&'a str, &'a str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';', '[']));
    let pairs = lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim(), value.trim()));
    pairs.filter(|(key, _)| is_wanted(key)).collect()
}

fn values(pairs: Vec<(&str, &str)>) -> Vec<String> {
    pairs.into_iter().map(|(_, value)| value.trim_matches('"').to_owned()).collect()
}

/// The strings of a TOML file by the table that they are in, as far as cargo's settings need it.
fn sections(text: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            section = name.0.replace(['"', '\''], "");
        } else if let Some((key, value)) = line.split_once('=') {
            let value = value.trim().trim_start_matches(['"', '\'']);
            let value = value.split(['"', '\'']).next().unwrap_or_default();
            let (table, key) = key.trim().rsplit_once('.').unwrap_or(("", key.trim()));
            let dot = if table.is_empty() || section.is_empty() { "" } else { "." };
            found.push((format!("{section}{dot}{table}"), key.to_owned(), value.to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests;
