//! `[report]`: where the weekly report goes, and when.

use super::key_fault;
use crate::policy::diagnostic::closest;
use crate::policy::toml_tree::{Node, Table};
use crate::policy::{AlertWay, WayKind, Weekly, WeeklyReport};

/// Reads `[report]`, if there is one. `ways` are those of `[[alerts]]`; none where some could not be read.
pub(super) fn read_report(root: &Table<'_, '_>, ways: Option<&[AlertWay]>) -> Option<WeeklyReport> {
    let table = root.get("report")?.table("the report")?;
    let to = table.required("to").map(|node| receivers(&node, ways));
    let at = match table.get("at") {
        None => Weekly::parse(Weekly::DEFAULT).ok(),
        Some(node) => node.text().and_then(|text| Weekly::parse(text).map_err(|why| node.fault(why)).ok()),
    };
    Some(WeeklyReport { to: to?, at: at? })
}

fn receivers(node: &Node<'_, '_>, ways: Option<&[AlertWay]>) -> Vec<String> {
    let items = node.items();
    if node.is_list() && items.is_empty() {
        node.fault("`to` needs at least one way of alerts; without `[report]`, no report is sent");
    }
    let mut found: Vec<String> = Vec::new();
    for item in items {
        let Some(name) = item.words() else { continue };
        if found.iter().any(|known| known == name) {
            item.fault(format!("`{name}` is named twice"));
            continue;
        }
        if let Some(ways) = ways {
            match ways.iter().find(|way| way.name == name) {
                None => not_a_way(&item, name, ways),
                Some(way) if way.kind == WayKind::PagerDuty => {
                    item.fault(format!(
                        "`{name}` is a way to PagerDuty, which is for incidents: a report is none"
                    ));
                }
                Some(_) => {}
            }
        }
        found.push(name.to_owned());
    }
    found
}

fn not_a_way(node: &Node<'_, '_>, name: &str, ways: &[AlertWay]) {
    let message = format!("`{name}` is not a way of alerts");
    let help = match closest(name, ways.iter().map(|way| way.name.as_str())) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => {
            "add it as `[[alerts]]`, with `kinds = []` if it should get the report and no alerts".to_owned()
        }
    };
    node.fault_with_help(message, help);
}

/// A way that gets no alerts is one that gets the report.
pub(super) fn check_silent_ways(ways: &[(&Table<'_, '_>, AlertWay)], report: Option<&WeeklyReport>) {
    for (table, way) in ways {
        let gets_report = report.is_some_and(|report| report.to.contains(&way.name));
        if way.kinds.as_ref().is_some_and(Vec::is_empty) && !gets_report {
            key_fault(
                table,
                "kinds",
                format!(
                    "the way `{}` gets nothing: leave `kinds` out for all alerts, or name the way in `[report]`",
                    way.name
                ),
            );
        }
    }
}
