//! The values of secrets, and what stands for them inside.

use crate::forms::{self, forms};
use crate::http::lock;
use crate::inject::Credential;
use crate::replace::{Pattern, Table};
use hyper::HeaderMap;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use zerobox_policy::{SecretLimit, SecretName};
use zeroize::Zeroizing;

/// The most credentials of which the answers' forms are known.
const CREDENTIALS: usize = 16;

/// The values of a run's secrets. They are wiped when it is dropped, and nothing prints them.
#[derive(Default)]
pub struct Vault {
    entries: Vec<Entry>,
    placeholders: OnceLock<Option<Arc<Table>>>,
    values: Mutex<Values>,
}

/// What is taken out of answers.
#[derive(Default)]
struct Values {
    table: Option<Option<Arc<Table>>>,
    /// What was sent with values in it, as it was sent, the last of it.
    credentials: VecDeque<Credential>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("secrets", &self.entries.len()).finish_non_exhaustive()
    }
}

pub(crate) struct Entry {
    pub(crate) name: SecretName,
    pub(crate) placeholder: String,
    pub(crate) value: Zeroizing<Vec<u8>>,
    /// Common to all parts of one secret.
    uses: Arc<Mutex<Uses>>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How often a secret was used in the whole run, and since the period began.
#[derive(Debug, Default)]
struct Uses {
    total: u64,
    period: Option<(Instant, u64)>,
}

/// A secret was used as often as it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// When it may be used again, if ever.
    pub(crate) again: Option<Duration>,
}

impl Vault {
    /// Each secret with its placeholder and its value; one that has several parts is there several times.
    pub fn new(secrets: Vec<(SecretName, String, Zeroizing<Vec<u8>>)>) -> Self {
        let mut entries: Vec<Entry> = Vec::with_capacity(secrets.len());
        for (name, placeholder, value) in secrets {
            let known = entries.iter().find(|entry| entry.name == name);
            let uses = known.map(|entry| Arc::clone(&entry.uses)).unwrap_or_default();
            entries.push(Entry { name, placeholder, value, uses });
        }
        Self { entries, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// Makes both tables, of which each takes a millisecond.
    pub(crate) fn prepare(&self) {
        let _ = (self.placeholders(), self.values());
    }

    /// Finds placeholders in any form, and changes nothing.
    pub(crate) fn placeholders(&self) -> Option<&Arc<Table>> {
        let none = VecDeque::new();
        let table =
            || self.table(&none, |entry| (entry.placeholder.as_bytes(), entry.placeholder.as_bytes()));
        self.placeholders.get_or_init(table).as_ref()
    }

    /// Puts placeholders in the place of values, in any form.
    pub(crate) fn values(&self) -> Option<Arc<Table>> {
        let mut values = lock(&self.values);
        let Values { table, credentials } = &mut *values;
        let make = || self.table(credentials, |entry| (&entry.value, entry.placeholder.as_bytes()));
        table.get_or_insert_with(make).clone()
    }

    /// From now on, what was sent becomes what the client wrote. In base64 a value shares its first and last characters
    /// with its neighbours, so that its own form alone would leave those.
    pub(crate) fn learn(&self, credential: Credential) {
        let mut values = lock(&self.values);
        if values
            .credentials
            .iter()
            .any(|known| known.sent == credential.sent && known.written == credential.written)
        {
            return;
        }
        values.credentials.retain(|known| known.sent != credential.sent);
        if values.credentials.len() >= CREDENTIALS {
            values.credentials.pop_front();
        }
        values.credentials.push_back(credential);
        values.table = None;
    }

    fn table<'a>(
        &'a self,
        credentials: &VecDeque<Credential>,
        of: impl Fn(&'a Entry) -> (&'a [u8], &'a [u8]),
    ) -> Option<Arc<Table>> {
        let mut patterns: Vec<Pattern> = Vec::new();
        for Credential { index, sent, written } in credentials {
            let bare = |coded: &[u8]| {
                let end = coded.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
                Zeroizing::new(coded.get(..end).unwrap_or_default().to_vec())
            };
            let forms = [(sent.clone(), written.clone()), (bare(sent), bare(written))];
            for (bytes, replacement) in forms {
                if patterns.iter().all(|known| known.bytes != bytes) {
                    patterns.push(Pattern { bytes, replacement, owner: *index });
                }
            }
        }
        for (owner, entry) in self.entries() {
            let (value, stand_in) = of(entry);
            for (bytes, replacement) in forms(value, stand_in) {
                if patterns.iter().all(|known| known.bytes != bytes) {
                    patterns.push(Pattern { bytes, replacement, owner });
                }
            }
        }
        Table::new(patterns)
    }

    /// The secrets whose placeholder is in `text`, in any form, percent-encoded too. No index twice.
    pub(crate) fn named_in(&self, text: &[u8], found: &mut Vec<usize>) {
        let Some(table) = self.placeholders() else { return };
        let mut add = |owner| {
            if !found.contains(&owner) {
                found.push(owner);
            }
        };
        table.owners(text).for_each(&mut add);
        if text.contains(&b'%') {
            table.owners(&forms::percent_decoded(text).0).for_each(&mut add);
        }
    }

    /// The same of the names and values of fields.
    pub(crate) fn named_in_fields(&self, fields: &HeaderMap, found: &mut Vec<usize>) {
        for (name, value) in fields {
            self.named_in(value.as_bytes(), found);
            found.extend(self.named_in_field(name.as_str()).filter(|index| !found.contains(index)));
        }
    }

    /// The secret whose placeholder is in the name of a field, which has no case either.
    fn named_in_field(&self, name: &str) -> Option<usize> {
        let is_in = |entry: &Entry| {
            let placeholder = entry.placeholder.as_bytes();
            placeholder.len() <= name.len()
                && name
                    .as_bytes()
                    .windows(placeholder.len().max(1))
                    .any(|part| part.eq_ignore_ascii_case(placeholder))
        };
        self.entries.iter().position(is_in)
    }

    /// The secret whose placeholder is in a name of DNS, which has no case, and may be cut into labels.
    pub(crate) fn named_in_host(&self, name: &str) -> Option<&Entry> {
        if self.is_empty() {
            return None;
        }
        let joined = name.replace('.', "").to_ascii_lowercase();
        self.entries.iter().find(|entry| {
            let placeholder = entry.placeholder.to_ascii_lowercase();
            let hex = forms::hex(placeholder.as_bytes(), forms::LOWER);
            let exact = forms::hex(entry.placeholder.as_bytes(), forms::LOWER);
            let has = |text: &[u8]| joined.as_bytes().windows(text.len().max(1)).any(|part| part == text);
            has(placeholder.replace('.', "").as_bytes()) || has(&hex) || has(&exact)
        })
    }

    /// Counts a use, unless the limit is reached.
    pub(crate) fn count(&self, index: usize, limit: Option<SecretLimit>) -> Result<(), Exceeded> {
        let Some(entry) = self.get(index) else { return Ok(()) };
        let mut uses = lock(&entry.uses);
        let now = Instant::now();
        if let Some(SecretLimit { uses: most, period }) = limit {
            let (used, again) = match period {
                None => (uses.total, None),
                Some(period) => {
                    let (began, used) = uses.period.get_or_insert((now, 0));
                    if now.duration_since(*began) >= period {
                        (*began, *used) = (now, 0);
                    }
                    (*used, Some(period.saturating_sub(now.duration_since(*began))))
                }
            };
            if used >= most {
                return Err(Exceeded { again });
            }
        }
        uses.total += 1;
        if let Some((_, used)) = &mut uses.period {
            *used += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(secrets: &[(&str, &str, &str)]) -> Vault {
        let secret = |(name, placeholder, value): &(&str, &str, &str)| {
            (
                SecretName::parse(name).unwrap(),
                (*placeholder).to_owned(),
                Zeroizing::new(value.as_bytes().to_vec()),
            )
        };
        Vault::new(secrets.iter().map(secret).collect())
    }

    #[test]
    fn nothing_prints_a_value() {
        let vault = vault(&[("K", "placeholder-1", "hunter2-hunter2")]);
        vault.values();
        let shown = format!("{vault:?} {:?} {:?}", vault.get(0), vault.values());
        assert!(!shown.contains("hunter2") && shown.contains('K'), "{shown}");
    }

    #[test]
    fn placeholders_are_found_in_any_form() {
        let vault = vault(&[("A", "sk-PLACE.holder_1", "value-a"), ("B", "other~holder-2", "value-b")]);
        let named = |text: &str| {
            let mut found = Vec::new();
            vault.named_in(text.as_bytes(), &mut found);
            found
        };
        assert_eq!(named("x sk-PLACE.holder_1 y other~holder-2 sk-PLACE.holder_1"), [0, 1]);
        assert_eq!(named("?k=sk%2dPLACE%2Eholder_1"), [0]);
        assert_eq!(named("Basic dXNlcjpzay1QTEFDRS5ob2xkZXJfMQ=="), [0]);
        assert_eq!(named("6f746865727e686f6c6465722d32"), [1]);
        assert_eq!(named("sk-PLACE.holder_2"), [0; 0]);
        let host = |name: &str| vault.named_in_host(name).map(|entry| entry.name.to_string());
        assert_eq!(host("sk-place.holder_1.evil.test").as_deref(), Some("A"));
        assert_eq!(host("sk-pl.aceholder_.1.evil.test").as_deref(), Some("A"));
        assert_eq!(host("736b2d504c4143452e68.6f6c6465725f31.evil.test").as_deref(), Some("A"));
        assert_eq!(host("good.test"), None);
    }

    #[test]
    fn limits_are_of_a_secret_with_all_its_parts() {
        let two = vault(&[("K", "placeholder-1", "value-1"), ("K", "placeholder-2", "value-2")]);
        let limit = Some(SecretLimit { uses: 2, period: None });
        assert_eq!([0, 1, 0].map(|index| two.count(index, limit).is_ok()), [true, true, false]);
        assert_eq!(two.count(0, limit), Err(Exceeded { again: None }));
        let vault = vault(&[("K", "placeholder-1", "value-1")]);
        let limit = |period| Some(SecretLimit { uses: 1, period: Some(period) });
        let long = limit(Duration::from_secs(60));
        assert_eq!(vault.count(0, long), Ok(()));
        assert!(vault.count(0, long).is_err_and(|exceeded| exceeded.again > Some(Duration::from_secs(50))));
        assert_eq!(vault.count(0, limit(Duration::ZERO)), Ok(()));
        assert_eq!(vault.count(0, None), Ok(()));
    }
}
