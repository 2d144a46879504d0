//! The text of a profile as values with their places, whether it is TOML or JSON.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands, in bytes.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Switch(bool),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// Something that no key wants, by its name.
    Other(&'static str),
}

/// A key of a table with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) span: Range<usize>,
    pub(super) node: Node,
}

/// What is wrong with a text, and where, in bytes.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) at: usize,
    pub(super) message: String,
}

impl Value {
    /// What it is called in an error.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) | Self::Number(_) => "a number",
            Self::Switch(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }
}

/// The keys of a TOML document in their order, and everything that is wrong with it.
pub(super) fn parse_toml(text: &str) -> (Vec<Entry>, Vec<Malformed>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let malformed = |error: toml::de::Error| Malformed {
        at: error.span().map_or(0, |span| span.start),
        message: error.message().to_owned(),
    };
    (toml_table(table.into_inner()), errors.into_iter().map(malformed).collect())
}

fn toml_table(table: DeTable<'_>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(name, value)| Entry {
            span: name.span(),
            name: name.into_inner().into_owned(),
            node: toml_node(value),
        })
        .collect();
    entries.sort_by_key(|entry| entry.span.start);
    entries
}

fn toml_node(value: Spanned<DeValue<'_>>) -> Node {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other("a number that is too large"),
        },
        DeValue::Float(number) => Value::Number(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(on) => Value::Switch(on),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::List(items.into_iter().map(toml_node).collect()),
        DeValue::Table(table) => Value::Table(toml_table(table)),
    };
    Node { span, value }
}

/// The same of a JSON document, which is an object.
pub(super) fn parse_json(text: &str) -> (Vec<Entry>, Vec<Malformed>) {
    match json_object(text, text) {
        Ok(entries) => (entries, Vec::new()),
        Err(malformed) => (Vec::new(), vec![malformed]),
    }
}

/// The members of the object `part`, which is a piece of `text`.
fn json_object(text: &str, part: &str) -> Result<Vec<Entry>, Malformed> {
    let members: Members<'_> = serde_json::from_str(part).map_err(|error| json_error(text, part, &error))?;
    let entry = |(name, raw): (String, &RawValue)| {
        let node = json_node(text, raw.get())?;
        Ok(Entry { name, span: node.span.clone(), node })
    };
    members.0.into_iter().map(entry).collect()
}

fn json_node(text: &str, part: &str) -> Result<Node, Malformed> {
    let start = offset(text, part);
    let failed = |error: serde_json::Error| json_error(text, part, &error);
    let value = match part.as_bytes().first() {
        Some(b'{') => Value::Table(json_object(text, part)?),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(part).map_err(failed)?;
            Value::List(items.into_iter().map(|raw| json_node(text, raw.get())).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Value::Text(serde_json::from_str(part).map_err(failed)?),
        Some(b't') => Value::Switch(true),
        Some(b'f') => Value::Switch(false),
        Some(b'n') => Value::Other("null"),
        _ => match part.parse() {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Number(serde_json::from_str(part).map_err(failed)?),
        },
    };
    Ok(Node { span: start..start + part.len(), value })
}

fn json_error(text: &str, part: &str, error: &serde_json::Error) -> Malformed {
    let before = part.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let at = offset(text, part) + before + error.column().saturating_sub(1);
    let message = error.to_string();
    // The place is said in our own way.
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    Malformed { at: at.min(text.len()), message }
}

/// Where `part`, a piece of `text`, begins in it.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len())
}

/// The members of an object, twice if they are there twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}
