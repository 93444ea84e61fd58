//! `placet audit show`: the last entries as a table, or all that are meant as JSON Lines or CSV.

use placet_audit::csv;
use placet_gate::ports::TrailQuery;
use placet_gate::{Gate, Selection};
use serde_json::{Map, Value, json};

use super::Opened;
use crate::cli::{AuditShow, Globals, TrailFormat};
use crate::console::{harmless, print};
use crate::failure::{Exit, Failure};
use crate::text::{clock_time, shorten, table};

/// How many entries are read at once.
const PAGE: usize = 1000;

pub(super) async fn run(globals: &Globals, options: AuditShow) -> Result<Exit, Failure> {
    let opened = Opened::of(globals, &options.on).await?;
    let selection = Selection {
        since: options.since,
        until: options.until,
        client: options.client,
        rule: options.rule,
        reviewer: options.reviewer,
        from: 0,
        limit: PAGE,
    };
    if let Some(format) = options.format {
        stream(&opened.gate, selection, format).await?;
    } else {
        let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
        let entries = newest(&opened, &selection, limit).await?;
        print(&if globals.json {
            super::super::pretty(&json!({ "entries": entries }))
        } else {
            as_table(&entries)
        });
    }
    Ok(Exit::Done)
}

/// All that are meant, a page at a time: however many there are, one page is in memory.
async fn stream(gate: &Gate, mut selection: Selection, format: TrailFormat) -> Result<(), Failure> {
    if format == TrailFormat::Csv {
        print(&csv::heading());
    }
    loop {
        let page = gate.trail(&selection).await?;
        let text: String = page
            .entries
            .iter()
            .map(|entry| match format {
                TrailFormat::Jsonl => csv::json_line(entry),
                TrailFormat::Csv => csv::row(entry),
            })
            .collect();
        print(&text);
        match page.next {
            Some(next) => selection.from = next,
            None => return Ok(()),
        }
    }
}

/// The last entries that are meant, in their order: read backwards, a page at a time.
async fn newest(
    opened: &Opened,
    selection: &Selection,
    limit: usize,
) -> Result<Vec<Map<String, Value>>, Failure> {
    let mut end = end_of_trail(opened).await?;
    let mut found: Vec<Map<String, Value>> = Vec::new();
    while found.len() < limit && end > 0 {
        let start = end.saturating_sub(PAGE as u64);
        let (mut part, mut from) = (Vec::new(), start);
        // A page from `start` may be short, and must not reach beyond `end`.
        while from < end {
            let limit = usize::try_from(end - from).unwrap_or(PAGE);
            let query = TrailQuery { from, limit, since: selection.since, until: selection.until };
            let raw = opened.store.trail(&query).await?;
            let wanted = raw.entries.iter().filter(|placed| placed.index < end);
            part.extend(wanted.map(|placed| placed.entry.fields()).filter(|entry| selection.takes(entry)));
            match raw.next {
                Some(next) if next > from => from = next,
                Some(_) | None => break,
            }
        }
        part.append(&mut found);
        found = part;
        end = start;
    }
    Ok(found.split_off(found.len().saturating_sub(limit)))
}

async fn end_of_trail(opened: &Opened) -> Result<u64, Failure> {
    let mut end = opened.store.log_head().await?.leaves;
    loop {
        let query = TrailQuery { from: end, limit: PAGE, since: None, until: None };
        let page = opened.store.trail(&query).await?;
        match page.entries.last() {
            Some(last) => end = last.index.saturating_add(1),
            None => return Ok(end),
        }
    }
}

fn as_table(entries: &[Map<String, Value>]) -> String {
    if entries.is_empty() {
        return "there are no such entries\n".to_owned();
    }
    let heading = ["RECORDED", "EVENT", "REQUEST", "CLIENT", "BY", "DETAIL"].map(str::to_owned).to_vec();
    let rows = entries.iter().map(|entry| {
        let text = |name: &str| harmless(entry.get(name).and_then(Value::as_str).unwrap_or_default());
        let at = entry.get("timestamp").and_then(Value::as_str).and_then(placet_core::Timestamp::parse);
        vec![
            at.map(clock_time).unwrap_or_default(),
            text("event"),
            text("request_id"),
            text("client"),
            shorten(&text("actor"), 30),
            shorten(&text("detail"), 50),
        ]
    });
    table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}
