//! Lines for people.

use std::io::Write;

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
        if character.is_control() || is_invisible(character) {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

/// Characters that change the direction of what follows them.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
