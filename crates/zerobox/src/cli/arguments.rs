//! Our own arguments, which may have secrets in them.
//!
//! `--secret NAME=VALUE` is for compatibility. Every program of this machine can read arguments (`/proc/PID/cmdline`), so the
//! value is overwritten there at once, and the parser, which keeps copies of what it reads and shows them in its errors,
//! never gets it: it reads a stand-in that no argument can be, since it has a NUL in it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use zerobox::SecretText;
use zeroize::Zeroizing;

/// The arguments, of which those that may be a secret's value are set aside.
#[derive(Debug)]
pub(crate) struct Arguments {
    words: Vec<OsString>,
    hidden: Vec<Hidden>,
}

struct Hidden {
    /// The argument that it was, counted with the program's name.
    index: usize,
    /// Bytes of the argument that are not of the secret: `--secret=NAME=`.
    shown: usize,
    /// What was behind `--secret`.
    text: Zeroizing<Vec<u8>>,
    stand_in: OsString,
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hidden({})", self.index)
    }
}

impl Arguments {
    /// Takes the arguments of this process.
    pub(crate) fn take() -> Self {
        Self::of(std::env::args_os())
    }

    fn of(given: impl Iterator<Item = OsString>) -> Self {
        let mut words: Vec<OsString> = Vec::new();
        let mut hidden = Vec::new();
        for (index, word) in given.enumerate() {
            let is_behind = words.last().is_some_and(|word| word == FLAG);
            let start = match word.as_bytes().strip_prefix(FLAG.as_bytes()) {
                Some(rest) if rest.starts_with(b"=") => FLAG.len() + 1,
                _ if is_behind => 0,
                _ => {
                    words.push(word);
                    continue;
                }
            };
            let mut bytes = Zeroizing::new(word.into_vec());
            let text = Zeroizing::new(bytes.split_off(start));
            let secret = SecretText::new(text.clone());
            let mut stand_in = OsString::from_vec(std::mem::take(&mut *bytes));
            if secret.value().is_none() {
                stand_in.push(OsString::from_vec(text.to_vec()));
                words.push(stand_in);
                continue;
            }
            let shown = start + secret.name().len() + 1;
            let token = OsString::from(format!("\0{}", hidden.len()));
            stand_in.push(&token);
            hidden.push(Hidden { index, shown, text, stand_in: token });
            words.push(stand_in);
        }
        Self { words, hidden }
    }

    /// The arguments, with stand-ins.
    pub(crate) fn words(&self) -> &[OsString] {
        &self.words
    }

    /// What `word`, an argument of the command, was.
    pub(crate) fn original(&self, word: OsString) -> OsString {
        let restore = |hidden: &Hidden| {
            let at = word.as_bytes().strip_suffix(hidden.stand_in.as_bytes())?;
            Some(OsString::from_vec([at, &hidden.text].concat()))
        };
        self.hidden.iter().find_map(restore).unwrap_or(word)
    }

    /// What `word`, the value of a `--secret`, was. It is overwritten where others can read it.
    pub(crate) fn secret(&self, word: OsString) -> SecretText {
        match self.hidden.iter().find(|hidden| hidden.stand_in == word) {
            Some(hidden) => {
                zerobox_linux::overwrite_argument(hidden.index, hidden.shown);
                SecretText::new(hidden.text.clone())
            }
            None => SecretText::new(Zeroizing::new(word.into_vec())),
        }
    }
}

const FLAG: &str = "--secret";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Arguments {
        Arguments::of(words.iter().map(OsString::from))
    }

    /// The words that the parser gets, and each as the command would get it.
    fn read(words: &[&str]) -> (Vec<OsString>, Vec<OsString>) {
        let arguments = of(words);
        let originals = arguments.words().iter().map(|word| arguments.original(word.clone())).collect();
        (arguments.words().to_vec(), originals)
    }

    #[test]
    fn values_are_set_aside_in_both_spellings() {
        for words in [&["zerobox", "--secret=K=hunter2"][..], &["zerobox", "--secret", "K=hunter2"]] {
            let (seen, originals) = read(words);
            assert!(seen.iter().all(|word| !word.to_string_lossy().contains("hunter2")), "{seen:?}");
            assert!(seen.last().is_some_and(|word| word.as_bytes().contains(&0)), "no argument is like it");
            assert_eq!(originals, words, "a command that has the words itself gets them");
        }
        let shown = format!("{:?}", of(&["zerobox", "--secret=K=hunter2"]));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn references_are_read_as_they_are() {
        for text in ["K", "K=env:NAME", "K=file:~/token", "K=cmd:pass show x", "K=keyring:a/b", "K=stdin"] {
            let flag = format!("--secret={text}");
            for words in [&["zerobox", &flag][..], &["zerobox", "--secret", text]] {
                assert_eq!(read(words).0, words);
            }
        }
    }

    #[test]
    fn other_words_are_left_alone() {
        let words = ["zerobox", "--secret-host=K=a.test", "--secrets=K=hunter2", "K=hunter2", "--", "x"];
        assert_eq!(read(&words).0, words);
        assert_eq!(read(&["zerobox", "--secret"]).0, ["zerobox", "--secret"]);
    }

    #[test]
    fn each_has_a_stand_in_of_its_own() {
        let words: Vec<String> = (0..12).map(|at| format!("--secret=K{at}=hunter2-{at}")).collect();
        let words: Vec<&str> = std::iter::once("zerobox").chain(words.iter().map(String::as_str)).collect();
        let (seen, originals) = read(&words);
        assert_eq!(originals, words);
        let mut unique: Vec<_> = seen.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), words.len());
    }
}
