//! Lines for people.

use std::io::{IsTerminal, Write};
use zerobox_policy::quote::is_visible;

/// What a word is made to stand out for, on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// It is as it should be.
    Good,
    /// It is weaker than it should be.
    Weak,
    /// It is refused, or missing.
    Bad,
    /// It says who speaks.
    Name,
}

impl Paint {
    /// `word`, coloured if standard output is a terminal.
    pub(crate) fn on_stdout(self, word: &str) -> String {
        self.on(word, std::io::stdout().is_terminal())
    }

    /// `word`, coloured if standard error is a terminal.
    pub(crate) fn on_stderr(self, word: &str) -> String {
        self.on(word, std::io::stderr().is_terminal())
    }

    /// <https://no-color.org>: whatever the value, if there is one.
    fn on(self, word: &str, terminal: bool) -> String {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|value| value == "dumb");
        if !terminal || is_dumb || is_set("NO_COLOR") {
            return word.to_owned();
        }
        let code = match self {
            Self::Good => "32",
            Self::Weak => "33",
            Self::Bad => "31",
            Self::Name => "1",
        };
        format!("\x1b[{code}m{word}\x1b[0m")
    }
}

/// Prints one line on standard error. Paths come from anybody, and a terminal obeys what it is sent (flatpak
/// CVE-2023-28101).
pub(crate) fn say(line: &str) {
    let mut text = String::with_capacity(line.len() + 20);
    let line = match line.strip_prefix("hint: ") {
        Some(hint) => {
            text.push_str(&Paint::Name.on_stderr("hint:"));
            hint
        }
        None => {
            text.push_str(&Paint::Name.on_stderr("zerobox:"));
            line
        }
    };
    text.push(' ');
    text.push_str(&visible(line));
    text.push('\n');
    // With standard error closed there is nobody to tell.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// The line with every character that a terminal would obey shown as an escape.
pub(crate) fn visible(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for character in line.chars() {
        if is_visible(character) {
            text.push(character);
        } else {
            text.extend(character.escape_default());
        }
    }
    text
}
