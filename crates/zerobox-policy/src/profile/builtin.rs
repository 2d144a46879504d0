//! The profiles that come with this program.

/// Their names and texts.
pub const BUILT_IN: &[(&str, &str)] = &[("node", include_str!("../../profiles/node.toml"))];

/// The text of the profile of this name; nothing if there is none.
pub(super) fn text(name: &str) -> &'static str {
    BUILT_IN.iter().find(|(own, _)| *own == name).map_or("", |(_, text)| text)
}
