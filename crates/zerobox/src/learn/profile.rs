//! A lesson as the text of a profile.

use super::{Lesson, Need};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use zerobox_policy::quote::is_visible;

impl Lesson {
    /// The profile, to be written to a file in `directory`.
    pub(super) fn profile(&self, directory: &Path) -> String {
        let mut text = format!("{MARK}\n");
        let command = one_line(&self.command.join(" "));
        // Writing to a string does not fail.
        let _ = writeln!(text, "description = {}", string(&format!("what `{command}` needs")));
        let paths = |needs: &BTreeMap<PathBuf, Need>| -> Vec<(String, Need)> {
            needs.iter().map(|(path, need)| (self.spelled(path, directory), need.clone())).collect()
        };
        list(&mut text, "allow-read", &paths(&self.reads));
        list(&mut text, "allow-write", &paths(&self.writes));
        let hosts: Vec<_> = self.hosts.iter().map(|(host, need)| (host.clone(), need.clone())).collect();
        list(&mut text, "allow-net", &hosts);
        if !self.withheld.is_empty() {
            text.push_str("\n# Asked for and not granted; it is yours to decide:\n");
        }
        for (rule, (need, why)) in &self.withheld {
            let _ = writeln!(text, "# {rule}   # {}; {}", one_line(why), used(need));
        }
        text
    }

    /// Relative to what a profile knows by name.
    fn spelled(&self, path: &Path, directory: &Path) -> String {
        let below = |base: &Path, name: &str| {
            let rest = path.strip_prefix(base).ok()?;
            let is_base = rest.as_os_str().is_empty();
            Some(if is_base { name.to_owned() } else { format!("{name}/{}", rest.display()) })
        };
        let here = if self.cwd == directory { "." } else { "$CWD" };
        let home = || below(self.home.as_deref()?, "~");
        below(&self.cwd, here).or_else(home).unwrap_or_else(|| path.display().to_string())
    }
}

/// `text` as a string of TOML, <https://toml.io/en/v1.0.0#string>.
pub(super) fn string(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if is_visible(character) => quoted.push(character),
            character => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(character));
            }
        }
    }
    quoted + "\""
}

/// Whether a profile would read a path differently from how it is written: it has a wildcard in it.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?'])
}

fn list(text: &mut String, key: &str, items: &[(String, Need)]) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{key} = [");
    for (item, need) in items {
        let _ = writeln!(text, "  {},   # {}", string(item), used(need));
    }
    text.push_str("]\n");
}

fn used(need: &Need) -> String {
    if need.count == 0 {
        return "learned before".to_owned();
    }
    let times = if need.count == 1 { "once".to_owned() } else { format!("{} times", need.count) };
    let by = need.program.iter().map(|program| format!(", first by `{}`", one_line(program)));
    times + &by.collect::<String>()
}

/// A comment ends with its line, and programs choose their own names.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if is_visible(character) { character } else { '?' }).collect()
}

/// The first line, by which a later run knows that it may write over the file.
pub(super) const MARK: &str = "# Learned by `zerobox learn`. Read it before you trust it.";
