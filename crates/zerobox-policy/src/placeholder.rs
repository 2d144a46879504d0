//! What stands for a secret's value inside.

/// A text of the length, prefix and alphabet of `value` where its shape is known. `random` is at least [`RANDOM`] bytes
/// that nobody can guess.
pub fn placeholder(value: &[u8], random: &[u8]) -> String {
    let letters = random.iter().cycle().map(|byte| char::from(b'a' + byte % 26));
    letters.take(value.len().max(24)).collect()
}
