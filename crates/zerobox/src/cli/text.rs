//! Lines for people.

use std::io::Write;
use zerobox_policy::quote::is_visible;

/// Prints one line on standard error. Paths come from anybody, and a terminal obeys what it is sent (flatpak
/// CVE-2023-28101).
pub(crate) fn say(line: &str) {
    let mut text = String::with_capacity(line.len() + 10);
    if !line.starts_with("hint: ") {
        text.push_str("zerobox: ");
    }
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
