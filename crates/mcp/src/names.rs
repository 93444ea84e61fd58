//! What the policy sees of a tool: an action, which no two tools share.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// A tool's name as one part of a dotted action: `action_of` of the agents' packages.
///
/// A name that is no action as it is gets a digest at its end: no two tools share an action, and so a rule.
pub fn action_of(tool: &str) -> String {
    action_within(tool, 80)
}

/// As [`action_of`], of so many characters at most, and 13 more where it gets a digest.
pub fn action_within(tool: &str, most: usize) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' };
    let name: String = tool.chars().take(most).map(kept).collect();
    if name == tool && !name.is_empty() {
        return name;
    }
    let name = if name.is_empty() { "unnamed" } else { &name };
    format!("{name}-{}", digest(tool.as_bytes()).get(..12).unwrap_or_default())
}

/// Lower-case hex SHA-256.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_tools_share_an_action() {
        let long = ["x".repeat(80), "x".repeat(81), "x".repeat(82)];
        let names = [
            "pay",
            "pay ",
            " pay",
            "pay!",
            "pay.",
            "p\u{430}y",
            "",
            "pay-",
            "PAY",
            "päy",
            "a.b",
            "a-b",
            "a/b",
        ];
        let names: Vec<&str> = names.into_iter().chain(long.iter().map(String::as_str)).collect();
        let actions: HashSet<String> = names.iter().map(|name| action_of(name)).collect();
        assert_eq!(actions.len(), names.len());
        assert!(actions.iter().all(|action| action.len() <= 93 && !action.contains('.')));
        assert_eq!(action_of("pay"), "pay");
        // The same as in Python and TypeScript.
        assert_eq!(action_of("päy"), format!("p-y-{}", &digest("päy".as_bytes())[..12]));
    }
}
