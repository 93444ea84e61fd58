//! How a rule puts its requests to people: `title`, `mask`, and the paths that it names.

use crate::policy::diagnostic::closest;
use crate::policy::toml_tree::{Node, Table};
use crate::policy::{RuleAction, Wording};
use crate::words::{FieldPath, PathFault, TitleTemplate};

pub(super) fn read_wording(table: &Table<'_, '_>) -> Option<Wording> {
    let title = match table.get("title") {
        None => Some(None),
        Some(node) => read_title(&node).map(Some),
    };
    let mask = read_paths(table, "mask");
    let preview = table.get("preview").map_or(Some(false), |node| node.flag());
    Some(Wording { title: title?, mask: mask?, preview: preview? })
}

fn read_title(node: &Node<'_, '_>) -> Option<TitleTemplate> {
    let source = node.text()?;
    TitleTemplate::parse(source)
        .map_err(|faults| {
            for fault in faults {
                node.fault_at(node.place_of(source, fault.span), fault.message, fault.help);
            }
        })
        .ok()
}

/// The paths of a key; none where it is missing.
pub(super) fn read_paths(table: &Table<'_, '_>, key: &'static str) -> Option<Vec<FieldPath>> {
    let Some(node) = table.get(key) else { return Some(Vec::new()) };
    let items = node.items();
    if items.is_empty() {
        return Some(Vec::new());
    }
    let mut paths: Vec<FieldPath> = Vec::new();
    for item in &items {
        let Some(text) = item.text() else { continue };
        match FieldPath::parse(text) {
            Ok(path) if paths.contains(&path) => item.fault(format!("`{text}` is listed twice")),
            Ok(path) => paths.push(path),
            Err(fault) => {
                if text.trim_matches(['{', '}', '.', '*']) == "payload" {
                    let what = if key == "mask" { "hidden" } else { "changed" };
                    item.fault_with_help(
                        format!("`{text}` is the whole payload, of which only single fields can be {what}"),
                        format!("name each of them: `{key} = [\"payload.token\"]`"),
                    );
                    continue;
                }
                let meant =
                    format!("payload.{}", text.trim_matches(['{', '}']).trim_start_matches("payload."));
                let help = (fault == PathFault::NotPayload || text.contains('{'))
                    .then(|| FieldPath::parse(&meant).ok())
                    .flatten()
                    .map(|meant| format!("did you mean `{meant}`?"));
                let message = format!("`{text}` {fault}");
                match help {
                    Some(help) => item.fault_with_help(message, help),
                    None => item.fault(message),
                }
            }
        }
    }
    (paths.len() == items.len()).then_some(paths)
}

/// What a rule says of one field in two places must fit together.
pub(super) fn check_paths(table: &Table<'_, '_>, wording: &Wording, action: &RuleAction) {
    let RuleAction::Ask(terms) = action else { return };
    let masked = |path: &&FieldPath| wording.mask.iter().any(|mask| mask.overlaps(path));
    if let Some(path) = terms.editable.iter().find(masked) {
        let help = "take it out of `mask`, or out of `editable`".to_owned();
        let message = format!("`{path}` is masked: nobody could see what they change");
        table.item_fault("editable", &path.to_string(), message, Some(help));
    }
}

/// The key of an object that is most like that one.
pub(super) fn alike<'k>(key: &str, keys: impl Iterator<Item = &'k str>) -> Option<String> {
    closest(key, keys).map(|meant| format!("did you mean `{meant}`?"))
}
