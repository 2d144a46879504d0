//! The profiles that come with this program.

/// Their names and texts.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("node", include_str!("../../profiles/node.toml")),
    ("python", include_str!("../../profiles/python.toml")),
    ("rust", include_str!("../../profiles/rust.toml")),
    ("go", include_str!("../../profiles/go.toml")),
    ("java", include_str!("../../profiles/java.toml")),
    ("git", include_str!("../../profiles/git.toml")),
    ("gh", include_str!("../../profiles/gh.toml")),
    ("npm-install", include_str!("../../profiles/npm-install.toml")),
    ("pip-install", include_str!("../../profiles/pip-install.toml")),
    ("cargo-build", include_str!("../../profiles/cargo-build.toml")),
    ("browser-test", include_str!("../../profiles/browser-test.toml")),
    ("mcp-server", include_str!("../../profiles/mcp-server.toml")),
    ("claude", include_str!("../../profiles/claude.toml")),
    ("codex", include_str!("../../profiles/codex.toml")),
    ("gemini", include_str!("../../profiles/gemini.toml")),
    ("opencode", include_str!("../../profiles/opencode.toml")),
    ("aider", include_str!("../../profiles/aider.toml")),
    ("ci", include_str!("../../profiles/ci.toml")),
];

/// The text of the profile of this name; nothing if there is none.
pub(super) fn text(name: &str) -> &'static str {
    BUILT_IN.iter().find(|(own, _)| *own == name).map_or("", |(_, text)| text)
}
