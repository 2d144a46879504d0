//! Text that somebody may paste into a shell. Names of files come from anybody.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// `text` as one word that a shell reads back as it was, without a character that a terminal would obey.
pub fn word(text: impl AsRef<OsStr>) -> String {
    // A `~` at the beginning would be a home directory.
    match text.as_ref().as_bytes() {
        b"~" => "'~'".to_owned(),
        [b'~', rest @ ..] => format!("'~'{}", quoted(rest)),
        bytes => quoted(bytes),
    }
}

/// `flag` with a list of paths as its value: a comma in a path is written `,,`.
pub fn flag<P: AsRef<OsStr>>(flag: &str, paths: impl IntoIterator<Item = P>) -> String {
    let items: Vec<_> = paths.into_iter().map(comma).map(OsString::into_vec).collect();
    format!("{flag}={}", quoted(&items.join(&b',')))
}

/// `path` as an item of a list: a comma in it is written `,,`.
pub fn comma(path: impl AsRef<OsStr>) -> OsString {
    let doubled = |byte: &u8| std::iter::repeat_n(*byte, if *byte == b',' { 2 } else { 1 });
    OsString::from_vec(path.as_ref().as_bytes().iter().flat_map(doubled).collect())
}

/// Whether a terminal shows `character` as it is, neither obeying it nor changing the order of what is around it.
pub fn is_visible(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn quoted(bytes: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"@%+=:,./-_~".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(is_plain) => text.to_owned(),
        Ok(text) if text.chars().all(is_visible) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => format!("$'{}'", bytes.utf8_chunks().map(escaped).collect::<String>()),
    }
}

/// The inside of `$'...'`, POSIX.1-2024 2.2.4.
fn escaped(chunk: std::str::Utf8Chunk<'_>) -> String {
    let octal = |bytes: &[u8]| bytes.iter().map(|byte| format!(r"\{byte:03o}")).collect::<String>();
    let mut text = String::new();
    for character in chunk.valid().chars() {
        match character {
            '\'' | '\\' => text.extend(['\\', character]),
            _ if is_visible(character) => text.push(character),
            _ => text.push_str(&octal(character.encode_utf8(&mut [0; 4]).as_bytes())),
        }
    }
    text + &octal(chunk.invalid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path_spec::split_list;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn words() {
        assert_eq!(word("/a/b-c_1.d"), "/a/b-c_1.d");
        assert_eq!(word("/a b"), "'/a b'");
        assert_eq!(word("/it's $HOME`x`"), r"'/it'\''s $HOME`x`'");
        assert_eq!(word("/a\u{1b}[2J\n'"), r"$'/a\033[2J\012\''");
        assert_eq!(word(OsStr::from_bytes(b"\xff1")), r"$'\3771'");
        assert_eq!(word("/\u{202e}"), r"$'/\342\200\256'");
        assert_eq!((word("~"), word("~x"), word("")), ("'~'".into(), "'~'x".into(), "''".into()));
        assert_eq!(flag("--allow-read", ["~/a,b", "~/c d"]), "--allow-read='~/a,,b,~/c d'");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_shell_reads_back_what_was_meant(names in prop::collection::vec("/[^/\0]{0,8}", 1..3), extra in 1u8..) {
            let last = [names.last().unwrap().as_bytes(), &[extra]].concat();
            let names: Vec<_> = names.iter().map(OsString::from).chain([OsStr::from_bytes(&last).to_owned()]).collect();
            let shown = format!("{} {}", flag("--f", &names), word(&names[0]));
            prop_assert!(shown.chars().all(is_visible));
            let script = format!("printf '%s\\0' {shown}");
            let output = Command::new("bash").env("LC_ALL", "C").args(["-c", &script]).output();
            let output = output.unwrap().stdout;
            let mut words = output.split(|byte| *byte == 0);
            let list = words.next().unwrap().strip_prefix(b"--f=").unwrap();
            prop_assert_eq!(split_list(OsStr::from_bytes(list)), names.clone());
            prop_assert_eq!(words.next().unwrap(), names[0].as_bytes());
        }
    }
}
