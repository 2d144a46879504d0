//! The JSON Schema of a profile, made of the table that reads it.

use super::check::CLIENTS;
use super::keys::{KEYS, Key, Kind};
use super::read::PLATFORMS;
use serde_json::{Map, Value, json};

/// The schema, draft 2020-12.
pub fn schema() -> Value {
    let keys: Map<String, Value> = KEYS.iter().map(|key| (key.name.to_owned(), of(key))).collect();
    let section = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": keys,
    });
    let mut all = keys.clone();
    all.insert(
        "description".to_owned(),
        json!({ "type": "string", "description": "What the profile is for" }),
    );
    all.insert(
        "extends".to_owned(),
        json!({ "type": "array", "items": { "type": "string", "minLength": 1 },
                "description": "Names or paths of profiles that this one adds to" }),
    );
    for platform in PLATFORMS {
        all.insert((*platform).to_owned(), json!({ "$ref": "#/$defs/section" }));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A profile of zerobox",
        "type": "object",
        "additionalProperties": false,
        "properties": all,
        "$defs": { "section": section },
    })
}

fn of(key: &Key) -> Value {
    let item = match key.name {
        "allow-net-from" => json!({ "enum": CLIENTS }),
        _ => json!({ "type": "string", "minLength": 1 }),
    };
    let list = json!({ "type": "array", "items": item });
    let mut schema = match key.kind {
        Kind::Paths { all: true } | Kind::Words { all: true } => {
            json!({ "anyOf": [list, { "const": true }] })
        }
        Kind::Paths { all: false } | Kind::Words { all: false } | Kind::Named => list,
        Kind::Switch => json!({ "type": "boolean" }),
        Kind::Net => json!({ "const": "host" }),
        Kind::Path => item,
        Kind::Size => json!({ "type": ["string", "integer"] }),
        Kind::Time | Kind::Cpus => json!({ "type": ["string", "number"] }),
        Kind::Count(least) => json!({ "type": "integer", "minimum": least }),
    };
    schema["description"] = json!(format!("{} (`{}`)", key.about, key.flag));
    schema
}
