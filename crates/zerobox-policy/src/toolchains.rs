//! The toolchains that `PATH` may lead to: what each needs to read, and its credential files.

use crate::surroundings::Surroundings;
use std::path::{Path, PathBuf};

/// One toolchain manager.
struct Toolchain {
    name: &'static str,
    /// The variable that moves its directory, and where it is otherwise, below the home directory.
    root: Home,
    /// Further directories that it needs.
    also: &'static [Home],
    /// Credential files, below the root or one of the further directories.
    cut: &'static [&'static str],
}

struct Home {
    var: &'static str,
    below_home: &'static str,
}

/// A directory to make readable because of an entry of `PATH`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ToolchainGrant {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) cut: Vec<PathBuf>,
}

/// What the caller's `PATH` leads to, outside the system directories.
pub(crate) fn grants(surroundings: &Surroundings<'_>) -> Vec<ToolchainGrant> {
    let mut grants: Vec<ToolchainGrant> = Vec::new();
    let search = surroundings.var("PATH").unwrap_or_default();
    let roots: Vec<_> =
        TOOLCHAINS.iter().filter_map(|row| Some((row, place(&row.root, surroundings)?))).collect();
    let is_system = |path: &Path| {
        crate::system::READABLE.iter().chain(crate::system::SPECIAL).any(|root| path.starts_with(root))
    };
    for directory in std::env::split_paths(search).filter(|path| path.is_absolute() && !is_system(path)) {
        let mut found = match known(&directory, &roots, surroundings) {
            found if !found.is_empty() => found,
            _ => unknown(&directory, surroundings).into_iter().collect(),
        };
        found.retain(|grant| !grants.iter().any(|other| other.path == grant.path));
        grants.append(&mut found);
    }
    grants
}

fn place(home: &Home, surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    let moved = Some(home.var).filter(|var| !var.is_empty()).and_then(|var| surroundings.var(var));
    let moved = moved.map(PathBuf::from).filter(|path| path.is_absolute());
    moved.or_else(|| Some(surroundings.home?.join(home.below_home)))
}

fn known(
    directory: &Path,
    roots: &[(&'static Toolchain, PathBuf)],
    surroundings: &Surroundings<'_>,
) -> Vec<ToolchainGrant> {
    // The longest root wins: `~/.local/share/mise/shims` is mise's, not that of `~/.local`.
    let matching =
        roots.iter().filter(|(_, root)| directory.starts_with(root) && !is_above_home(root, surroundings));
    let Some((toolchain, root)) = matching.max_by_key(|(_, root)| root.as_os_str().len()) else {
        return Vec::new();
    };
    let also = toolchain.also.iter().filter_map(|home| place(home, surroundings));
    std::iter::once(root.clone())
        .chain(also.filter(|path| !is_above_home(path, surroundings)))
        .map(|path| {
            let cut = toolchain.cut.iter().map(|name| path.join(name)).collect();
            ToolchainGrant { name: toolchain.name, path, cut }
        })
        .collect()
}

/// A directory of `PATH` that no row names is readable itself, and so is the prefix of a `bin` that has a
/// `lib` or `libexec` beside it, as in a Node, Conda or virtual environment unpacked by hand.
fn unknown(directory: &Path, surroundings: &Surroundings<'_>) -> Option<ToolchainGrant> {
    if is_above_home(directory, surroundings) {
        return None;
    }
    let prefix = directory.parent().filter(|prefix| {
        let is_prefix =
            ["lib", "libexec"].iter().any(|name| surroundings.files.node(&prefix.join(name)).is_ok());
        directory.ends_with("bin")
            && is_prefix
            && prefix.parent().is_some()
            && !is_above_home(prefix, surroundings)
    });
    let path = prefix.unwrap_or(directory).to_owned();
    Some(ToolchainGrant { name: "PATH", path, cut: Vec::new() })
}

/// The home directory, or a directory that it is in, is never a toolchain.
fn is_above_home(path: &Path, surroundings: &Surroundings<'_>) -> bool {
    path.parent().is_none() || surroundings.home.is_some_and(|home| home.starts_with(path))
}

const fn at(var: &'static str, below_home: &'static str) -> Home {
    Home { var, below_home }
}

const fn row(name: &'static str, var: &'static str, below_home: &'static str) -> Toolchain {
    Toolchain { name, root: at(var, below_home), also: &[], cut: &[] }
}

const TOOLCHAINS: &[Toolchain] = &[
    Toolchain {
        also: &[at("RUSTUP_HOME", ".rustup")],
        cut: &["credentials", "credentials.toml"],
        ..row("cargo", "CARGO_HOME", ".cargo")
    },
    row("nvm", "NVM_DIR", ".nvm"),
    row("nvm", "", ".config/nvm"),
    row("fnm", "FNM_DIR", ".local/share/fnm"),
    row("fnm", "", ".fnm"),
    // fnm puts a link of each shell on PATH, which lives in the run-time directory.
    Toolchain {
        also: &[at("FNM_DIR", ".local/share/fnm")],
        ..row("fnm", "FNM_MULTISHELL_PATH", ".local/state/fnm_multishells")
    },
    row("volta", "VOLTA_HOME", ".volta"),
    row("nodenv", "NODENV_ROOT", ".nodenv"),
    row("pnpm", "PNPM_HOME", ".local/share/pnpm"),
    row("yarn", "", ".yarn"),
    row("yarn", "", ".config/yarn/global"),
    row("bun", "BUN_INSTALL", ".bun"),
    row("deno", "DENO_INSTALL", ".deno"),
    row("pyenv", "PYENV_ROOT", ".pyenv"),
    // uv and pipx put their tools' entry points into ~/.local/bin. uv keeps tokens beside its Pythons.
    Toolchain {
        also: &[
            at("", ".local/share/uv"),
            at("", ".local/share/pipx"),
            at("", ".local/pipx"),
            at("", ".local/lib"),
        ],
        cut: &["credentials"],
        ..row("uv", "", ".local/bin")
    },
    row("conda", "", "miniconda3"),
    row("conda", "", "miniforge3"),
    row("conda", "", "anaconda3"),
    row("go", "GOPATH", "go"),
    row("go", "GOROOT", "sdk"),
    row("goenv", "GOENV_ROOT", ".goenv"),
    row("asdf", "ASDF_DATA_DIR", ".asdf"),
    row("mise", "MISE_DATA_DIR", ".local/share/mise"),
    row("sdkman", "SDKMAN_DIR", ".sdkman"),
    row("jenv", "JENV_ROOT", ".jenv"),
    row("rbenv", "RBENV_ROOT", ".rbenv"),
    row("rvm", "rvm_path", ".rvm"),
    Toolchain { cut: &["credentials"], ..row("gem", "", ".gem") },
    Toolchain { cut: &["credentials"], ..row("gem", "", ".local/share/gem") },
    Toolchain { also: &[at("", ".cabal")], cut: &["config"], ..row("ghcup", "", ".ghcup") },
    row("opam", "OPAMROOT", ".opam"),
    Toolchain {
        also: &[at("JULIA_DEPOT_PATH", ".julia")],
        cut: &["servers"],
        ..row("juliaup", "", ".juliaup")
    },
    // The .NET certificate store keeps private keys here.
    Toolchain { cut: &["corefx"], ..row("dotnet", "DOTNET_ROOT", ".dotnet") },
    Toolchain { cut: &["auth.json"], ..row("composer", "COMPOSER_HOME", ".config/composer") },
    Toolchain { cut: &["auth.json"], ..row("composer", "", ".composer") },
    Toolchain { cut: &["credentials.json"], ..row("dart", "PUB_CACHE", ".pub-cache") },
    Toolchain { cut: &["keystores"], ..row("foundry", "FOUNDRY_DIR", ".foundry") },
    row("elan", "ELAN_HOME", ".elan"),
    row("krew", "KREW_ROOT", ".krew"),
    row("nix", "", ".nix-profile"),
];

/// The variables of this table that say where a toolchain is, which the command needs to find it.
pub(crate) fn variables() -> impl Iterator<Item = &'static str> {
    let homes =
        TOOLCHAINS.iter().flat_map(|toolchain| std::iter::once(&toolchain.root).chain(toolchain.also));
    homes.map(|home| home.var).filter(|var| !var.is_empty())
}

/// The directory that a variable of this table names, or its usual place.
pub(crate) fn directory(var: &str, surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    let homes = TOOLCHAINS.iter().flat_map(|row| std::iter::once(&row.root).chain(row.also));
    place(homes.into_iter().find(|home| home.var == var)?, surroundings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::fake::FakeFiles;
    use std::ffi::OsString;

    fn paths(search: &str, extra: &[(&str, &str)], files: &FakeFiles) -> Vec<(String, Vec<PathBuf>)> {
        let mut env = vec![(OsString::from("PATH"), OsString::from(search))];
        env.extend(extra.iter().map(|(name, value)| (name.into(), value.into())));
        let home = Path::new("/home/u");
        let surroundings = Surroundings { cwd: home, env: &env, home: Some(home), memory: 1 << 30, files };
        let found = grants(&surroundings).into_iter();
        found.map(|grant| (grant.path.display().to_string(), grant.cut)).collect()
    }

    fn names(search: &str, files: &[&str]) -> Vec<String> {
        paths(search, &[], &FakeFiles::new(files)).into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn cargo_on_path_shows_cargo_and_rustup_without_the_token() {
        let found =
            paths("/usr/bin:/home/u/.cargo/bin", &[("RUSTUP_HOME", "/data/rustup")], &FakeFiles::default());
        assert_eq!(found[0].0, "/home/u/.cargo");
        assert!(found[0].1.contains(&PathBuf::from("/home/u/.cargo/credentials.toml")));
        assert_eq!(found[1].0, "/data/rustup");
    }

    #[test]
    fn home_is_never_a_toolchain() {
        assert_eq!(names("/home/u:/home:/:.:rel/bin", &[]), [""; 0]);
        assert_eq!(names("/home/u/bin", &["/home/u/lib/"]), ["/home/u/bin"]);
        assert!(paths("/home/u/bin", &[("GOPATH", "/home/u")], &FakeFiles::default())[0].0 == "/home/u/bin");
    }

    #[test]
    fn a_prefix_is_shown_as_a_whole() {
        assert_eq!(names("/data/node/bin", &["/data/node/lib/"]), ["/data/node"]);
        assert_eq!(names("/data/tools/bin", &["/data/tools/bin/"]), ["/data/tools/bin"]);
        assert_eq!(names("/home/u/.local/share/mise/shims", &[]), ["/home/u/.local/share/mise"]);
    }
}
