//! `placet audit show`: the last entries as a table, or all that are meant as JSON Lines or CSV.

use std::collections::VecDeque;

use placet_audit::csv;
use placet_gate::ports::TrailQuery;
use placet_gate::{Gate, Selection};
use serde_json::{Map, Value, json};

use super::Opened;
use crate::api::Api;
use crate::cli::{AuditShow, Globals, TrailFormat};
use crate::console::{harmless, print};
use crate::failure::{Exit, Failure};
use crate::text::{clock_time, shorten, table};

/// How many entries are read at once.
const PAGE: usize = 1000;

pub(super) async fn run(globals: &Globals, options: AuditShow) -> Result<Exit, Failure> {
    let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
    if let Some(url) = super::super::address(globals, options.on.aws)? {
        let (api, _local) = super::super::api_at(url, globals, options.auditor.as_deref()).await?;
        let trail = Trail { api: &api, query: query(&options) };
        match options.format {
            Some(format) => trail.stream(format).await?,
            None => show(globals, &trail.newest(limit).await?),
        }
        return Ok(Exit::Done);
    }
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
    match options.format {
        Some(format) => stream(&opened.gate, selection, format).await?,
        None => show(globals, &newest(&opened, &selection, limit).await?),
    }
    Ok(Exit::Done)
}

fn show(globals: &Globals, entries: &[Map<String, Value>]) {
    print(&if globals.json {
        super::super::pretty(&json!({ "entries": entries }))
    } else {
        as_table(entries)
    });
}

/// The trail of a gate at an address, page by page.
struct Trail<'a> {
    api: &'a Api,
    /// Which entries, as the query of the path.
    query: String,
}

impl Trail<'_> {
    async fn page(&self, form: &str, cursor: Option<&str>) -> Result<(String, Option<String>), Failure> {
        let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let path = format!("/v1/audit?format={form}&limit={PAGE}{}{cursor}", self.query);
        let answer = self.api.read(&path).await?;
        // A cursor is a number: what is none would come into the path of the next call.
        let next = answer.next_cursor.filter(|next| next.bytes().all(|byte| byte.is_ascii_digit()));
        Ok((answer.body, next))
    }

    /// All that are meant: however many there are, one page is in memory.
    async fn stream(&self, format: TrailFormat) -> Result<(), Failure> {
        let form = match format {
            TrailFormat::Jsonl => "jsonl",
            TrailFormat::Csv => "csv",
        };
        let mut cursor: Option<String> = None;
        loop {
            let (text, next) = self.page(form, cursor.as_deref()).await?;
            print(&text);
            match next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// The last entries that are meant, in their order. The gate gives them from the oldest on.
    async fn newest(&self, limit: usize) -> Result<Vec<Map<String, Value>>, Failure> {
        let mut found: VecDeque<Map<String, Value>> = VecDeque::new();
        let mut cursor: Option<String> = None;
        loop {
            let (text, next) = self.page("jsonl", cursor.as_deref()).await?;
            for line in text.lines() {
                let entry = serde_json::from_str(line).map_err(|_| {
                    Failure::fault("an entry is not JSON: this does not seem to be a gate")
                        .with_code("not_a_gate")
                })?;
                found.push_back(entry);
                if found.len() > limit {
                    found.pop_front();
                }
            }
            match next {
                Some(next) => cursor = Some(next),
                None => return Ok(found.into()),
            }
        }
    }
}

fn query(options: &AuditShow) -> String {
    let time = |time: Option<placet_core::Timestamp>| time.map(|time| time.to_string());
    let parameters = [
        ("since", time(options.since)),
        ("until", time(options.until)),
        ("client", options.client.clone()),
        ("rule", options.rule.clone()),
        ("reviewer", options.reviewer.clone()),
    ];
    let mut query = String::new();
    for (name, value) in parameters {
        let Some(value) = value else { continue };
        query.push('&');
        query.push_str(name);
        query.push('=');
        query.extend(url::form_urlencoded::byte_serialize(value.as_bytes()));
    }
    query
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
