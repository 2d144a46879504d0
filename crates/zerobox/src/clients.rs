//! The hosts that clients of package registries are set to use.
//!
//! No registry is written down here: a company has its own, and a client knows best. What the user and the machine have
//! set is read; a client without settings is asked for what it uses then. The settings of a project are not heard, since
//! they come from whoever made the project.

use crate::host::Host;
use crate::profiles::read;
use crate::programs::Programs;
use crate::secrets::ask;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use zerobox_policy::profile::{config_home, state_directory, toolchain_directory};
use zerobox_policy::{NetList, Note, PathList, Request, Surroundings, rule_of_url, split_list};

/// What a client is set to use.
#[derive(Debug, Default)]
struct Settings {
    urls: Vec<String>,
    /// Variables that say the same inside, where the files that said it are not to be seen.
    variables: Vec<(&'static str, String)>,
}

/// Adds the hosts of the clients that `request` names to those that it allows.
pub(crate) fn add_hosts(request: &mut Request, host: &Host, notes: &mut Vec<Note>) {
    let surroundings = host.surroundings();
    let programs = programs_beside(request, &surroundings);
    for (index, client) in request.allow_net_from.clone().iter().enumerate() {
        let Settings { urls, variables } = match client.as_str() {
            "npm" => npm(&programs, &surroundings),
            "pip" => pip(&programs, &surroundings),
            "cargo" => cargo(&programs, &surroundings),
            "go" => go(&programs, &surroundings),
            _ => Settings::default(),
        };
        let mut rules: Vec<String> = urls.iter().filter_map(|url| rule_of_url(url)).collect();
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
        let place = request.origins.of("--allow-net-from", index).cloned();
        let mut note =
            |flag, at| place.iter().for_each(|place| request.origins.note(flag, at, place.clone()));
        for rule in rules {
            note("--allow-net", request.allow_net.len());
            request.allow_net.push(NetList::Listed(rule));
        }
        for (name, value) in variables {
            let text = OsString::from(format!("{name}={}", without_credentials(&value)));
            let is_set = |other: &OsString| other.as_bytes().starts_with(format!("{name}=").as_bytes());
            if !request.env.iter().any(is_set) {
                note("--env", request.env.len());
                request.env.push(text);
            }
        }
    }
}

/// npm-config(1): variables, then the user's file.
fn npm(programs: &Programs, surroundings: &Surroundings<'_>) -> Settings {
    let user = variable(&["npm_config_userconfig", "NPM_CONFIG_USERCONFIG"], surroundings).map(PathBuf::from);
    let user = user.or_else(|| Some(surroundings.home?.join(".npmrc")));
    let text = user.and_then(|path| read(&path).ok()).unwrap_or_default();
    let set = |is_wanted: fn(&str) -> bool| values(settings(&text, is_wanted));
    let registry = variable(&["npm_config_registry", "NPM_CONFIG_REGISTRY"], surroundings)
        .or_else(|| set(|key| key == "registry").pop());
    let mut urls = set(|key| key.starts_with('@') && key.ends_with(":registry"));
    let variables = registry.iter().map(|url| ("npm_config_registry", url.clone())).collect();
    urls.extend(registry.or_else(|| asked("npm", &["config", "get", "registry"], programs)));
    Settings { urls, variables }
}

/// pip's user guide, "Configuration": variables beat the files.
fn pip(programs: &Programs, surroundings: &Surroundings<'_>) -> Settings {
    let of = |name| variable(&[name], surroundings);
    let mut files = vec![PathBuf::from("/etc/pip.conf")];
    files.extend(surroundings.home.map(|home| home.join(".pip/pip.conf")));
    files.extend(config_home(surroundings).map(|directory| directory.join("pip/pip.conf")));
    files.extend(of("PIP_CONFIG_FILE").map(PathBuf::from));
    let texts: Vec<String> = files.iter().filter_map(|path| read(path).ok()).collect();
    let set =
        |name: &str| texts.iter().flat_map(|text| values(settings(text, |key| key == name))).next_back();
    let words = |text: &String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let index = of("PIP_INDEX_URL").or_else(|| set("index-url"));
    let extra = of("PIP_EXTRA_INDEX_URL").or_else(|| set("extra-index-url"));
    let mut found = Settings::default();
    for (name, value) in [("PIP_INDEX_URL", &index), ("PIP_EXTRA_INDEX_URL", &extra)] {
        found.urls.extend(value.iter().flat_map(words));
        found.variables.extend(value.iter().map(|value| (name, value.clone())));
    }
    if index.is_none() {
        // What pip itself takes without settings, and where its files are.
        let code = "from pip._internal.models.index import PyPI as i; print(i.simple_url, 'https://' + i.file_storage_domain)";
        found.urls.extend(asked("python3", &["-I", "-c", code], programs).iter().flat_map(words));
    }
    found
}

/// The Cargo book, "Source Replacement" and "Registries".
fn cargo(programs: &Programs, surroundings: &Surroundings<'_>) -> Settings {
    let Some(home) = toolchain_directory("CARGO_HOME", surroundings) else { return Settings::default() };
    let names = ["config.toml", "config"].map(|name| home.join(name));
    let text = names.iter().find_map(|path| read(path).ok()).unwrap_or_default();
    let is_url = |(section, key, _): &(String, String, String)| {
        (section.starts_with("source.") && key == "registry")
            || (section.starts_with("registries.") && key == "index")
    };
    let found = sections(&text);
    let is_replaced =
        found.iter().any(|(section, key, _)| section == "source.crates-io" && key == "replace-with");
    let plain = |url: &str| url.trim_start_matches("sparse+").trim_start_matches("registry+").to_owned();
    let mut urls: Vec<String> =
        found.iter().filter(|row| is_url(row)).map(|(_, _, url)| plain(url)).collect();
    if !is_replaced {
        urls.extend(cargo_default(programs, surroundings).unwrap_or_default());
    }
    Settings { urls, variables: Vec::new() }
}

/// Cargo has no word for its own default, and where the files are only its registry knows: it looks up a package, outside
/// and in a directory of ours, in which it leaves the name of the one and the answer of the other.
fn cargo_default(programs: &Programs, surroundings: &Surroundings<'_>) -> Option<Vec<String>> {
    use std::os::unix::fs::DirBuilderExt;
    let mut command = programs.command("cargo")?;
    // Its settings name programs that it runs. So they are where no sandbox can write, which may have `/tmp`.
    let own = state_directory(surroundings)?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&own).ok()?;
    let directory = own.join(format!("cargo-{}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&directory).ok()?;
    let settings = [("CARGO_NET_RETRY", "0"), ("CARGO_HTTP_TIMEOUT", "5")];
    command.args(["info", "zerobox"]).env("CARGO_HOME", &directory).envs(settings).current_dir("/");
    // That there is no such package is an answer as well.
    let _ = ask(&mut command);
    let mut urls = Vec::new();
    for entry in std::fs::read_dir(directory.join("registry/index")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        urls.extend(name.rsplit_once('-').map(|(host, _)| format!("https://{host}")));
        let answer = read(&entry.path().join("config.json")).unwrap_or_default();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
        urls.extend(answer["dl"].as_str().map(str::to_owned));
    }
    let _ = std::fs::remove_dir_all(&directory);
    Some(urls)
}

/// `go help environment`; go knows its own defaults.
fn go(programs: &Programs, surroundings: &Surroundings<'_>) -> Settings {
    let set = |name| variable(&[name], surroundings);
    let of = |name| set(name).or_else(|| asked("go", &["env", name], programs));
    let proxies = of("GOPROXY").unwrap_or_default();
    let mut urls: Vec<String> = proxies
        .split([',', '|'])
        .filter(|url| url.contains("://"))
        .map(|url| url.trim().to_owned())
        .collect();
    // `NAME`, `NAME+KEY` or `NAME+KEY URL`.
    if let Some(database) = of("GOSUMDB").filter(|name| name != "off") {
        let url = database.split_once(' ').map(|(_, url)| url.to_owned());
        let name = database.split(['+', ' ']).next().unwrap_or_default();
        urls.push(url.unwrap_or_else(|| format!("https://{name}")));
    }
    let variables = ["GOPROXY", "GOSUMDB"].into_iter().filter_map(|name| Some((name, set(name)?))).collect();
    Settings { urls, variables }
}

/// URLs without the user and the password that may be in them.
fn without_credentials(text: &str) -> String {
    let plain = |word: &str| match word.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let start = rest[..end].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[start..])
        }
        None => word.to_owned(),
    };
    text.split(' ').map(plain).collect::<Vec<_>>().join(" ")
}

fn variable(names: &[&str], surroundings: &Surroundings<'_>) -> Option<String> {
    let value =
        |name: &&str| surroundings.var(name)?.to_str().filter(|value| !value.is_empty()).map(str::to_owned);
    names.iter().find_map(value)
}

/// What a client prints, asked in a directory in which there are no settings of a project.
fn asked(name: &str, arguments: &[&str], programs: &Programs) -> Option<String> {
    let answer = ask(programs.command(name)?.args(arguments).current_dir("/"))?;
    Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty() && answer != "undefined")
}

/// The programs that the command of `request` cannot have written.
fn programs_beside(request: &Request, surroundings: &Surroundings<'_>) -> Programs {
    let cwd = request.cwd.as_deref().unwrap_or(surroundings.cwd);
    let real = |path: PathBuf| std::fs::canonicalize(&path).unwrap_or(path);
    let listed = request.allow_write.iter().flat_map(|list| match list {
        PathList::All => vec![OsString::from("/")],
        PathList::Listed(paths) => split_list(paths),
    });
    let writable: Vec<PathBuf> = listed.map(|path| real(surroundings.cwd.join(path))).collect();
    Programs::new(cwd, |path| writable.iter().any(|granted| path.starts_with(granted)), surroundings)
}

/// The `key = value` lines of a text whose keys are wanted.
fn settings(text: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<(&str, &str)> {
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
