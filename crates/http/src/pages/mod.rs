//! The reviewer's pages: plain views in, HTML out.
//!
//! No routes, no store, no clock and no policy here: whoever fills a view in has decided everything.

mod demo;
mod inbox;
mod layout;
mod operator;
mod payload;
mod practice;
mod report;
mod review;
mod text;

pub use demo::{
    demo, demo_chat, demo_chat_content_security_policy, demo_content_security_policy, is_decidable,
};
pub use inbox::{Goes, confirm_together, inbox};
pub use layout::{
    content_security_policy, inbox_content_security_policy, operator_content_security_policy,
    report_content_security_policy,
};
pub use operator::{
    AlertLine, ChannelLine, EndedLine, Operator, PersonLine, Tried, WaitingLine, WayLine, operator,
};
pub use practice::{PracticeEnd, PracticeView, practice, practice_answer};
pub use report::{ReportView, measured, name_of, percent, report, seconds};
pub use review::review;

use maud::{Markup, html};
use placet_core::request::Status;
use placet_core::words::Title;
use placet_gate::Novelty;
use serde_json::Value;

/// One reviewer's view of one request.
pub struct Review {
    /// Display name of whom the link belongs to.
    pub reviewer_name: String,
    /// The client that asks.
    pub client: String,
    /// Dotted name of what it wants to do. Untrusted.
    pub action: String,
    /// The agent's own words. Untrusted: quoted, and marked as the agent's.
    pub summary: String,
    /// What will be done, in the gate's own words.
    pub title: Title,
    /// What is hashed and approved. Untrusted, shown in full.
    pub payload: Value,
    /// Lower-case hex.
    pub payload_sha256: String,
    /// The client's name for the request.
    pub request_id: String,
    /// The policy rule that asks.
    pub rule: String,
    /// When the client asked, in Unix milliseconds.
    pub created_at_ms: i64,
    /// How many distinct approvals the rule wants.
    pub approvals_needed: u32,
    /// How many of the approvals count by now.
    pub approvals: u32,
    /// Whether parts of the payload, or of the agent's words, are masked.
    pub hides_secrets: bool,
    /// What else an approval must bring.
    pub wants: Wants,
    /// What a reviewer has changed of what was asked, or is about to.
    pub changes: Vec<ChangeLine>,
    /// What is new about it, while the reader may decide.
    pub novelty: Novelty,
    /// The pause of the client that asks, while it holds.
    pub paused: Option<Paused>,
    /// Who has voted, in order; the reader's own vote too.
    pub votes: Vec<VoteLine>,
    /// What this reviewer may do now, or how it ended.
    pub state: ReviewState,
    /// Whether another channel of the reader's waits for a sign of them, so that a touch of the page is told.
    pub nudged: bool,
    /// Whether the reader may say, or somebody has said, that its approval was a mistake.
    pub flagging: Flagging,
}

/// A client's pause, while it holds.
pub struct Paused {
    /// Display name of who paused it.
    pub by: String,
    /// Whether that is the reader.
    pub is_own: bool,
    /// Until when, in Unix milliseconds.
    pub until_ms: i64,
}

/// "This approval was a mistake."
pub enum Flagging {
    /// There is no approval, or it is not the reader's to say here.
    No,
    /// The reader may say so.
    Possible {
        /// What the form must bring back.
        nonce: String,
    },
    /// Somebody has said so.
    Flagged,
}

/// What an approval must bring beside the word.
#[derive(Default)]
pub struct Wants {
    /// The last four characters of the digest, typed.
    pub confirm: bool,
    /// The fields that the reader may change, as they stand.
    pub editable: Vec<EditableField>,
    /// What was typed into them a moment ago: sent again with the approval.
    pub edits: Vec<(String, String)>,
    /// Whether the digest of what is shown is sent with the approval.
    pub names_digest: bool,
}

/// A field that the reader may change.
pub struct EditableField {
    /// Its path, as the form names it.
    pub path: String,
    /// Its last key.
    pub key: String,
    /// What it holds: a text, a number, yes or no.
    pub value: Value,
}

/// A field that differs from what was asked.
pub struct ChangeLine {
    /// Its last key.
    pub key: String,
    /// What was asked, as people read it.
    pub from: String,
    /// What it is now.
    pub to: String,
    /// Who changed it; none where the reader is about to.
    pub by: Option<String>,
}

/// One vote as the page lists it.
pub struct VoteLine {
    /// Display name of who voted.
    pub name: String,
    /// What they chose.
    pub decision: Choice,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// Why, in their words.
    pub reason: Option<String>,
    /// Whether the vote is the reader's own.
    pub is_reader: Reader,
}

/// Whose vote a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The reader's own.
    Self_,
    /// Somebody else's.
    Other,
}

/// What a reviewer can press.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Let it happen.
    Approve,
    /// Do not let it happen.
    Reject,
}

/// What a reviewer may do about an open request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Approve or reject.
    Both,
    /// Owns the client that asks, so may only reject.
    RejectOnly,
}

/// Where a request stands for the reader of the page.
pub enum ReviewState {
    /// The reader is asked.
    Open {
        /// What the form must bring back.
        nonce: String,
        /// The server's time, which the countdown goes by.
        now_ms: i64,
        /// Until when this reviewer's answer counts.
        stage_deadline_ms: i64,
        /// Which buttons there are.
        may: May,
        /// Why the last press was not recorded, if it was not.
        notice: Option<String>,
    },
    /// The reader has voted and others have not.
    Voted {
        /// What the form must bring back.
        nonce: String,
        /// The server's time, which the countdown goes by.
        now_ms: i64,
        /// Until when this reviewer's answer counts.
        stage_deadline_ms: i64,
        /// The recorded vote.
        choice: Choice,
        /// What waits for the reader next, if anything does.
        next: Option<Next>,
    },
    /// The reader does not decide now; nothing was recorded.
    Later {
        /// The server's time.
        now_ms: i64,
        /// Until when this reviewer's answer counts.
        stage_deadline_ms: i64,
        /// The reader's own link to it.
        url: String,
        /// What waits for the reader next, if anything does.
        next: Option<Next>,
    },
    /// The reader's time has passed and somebody else is asked.
    MovedOn {
        /// Who is asked now.
        to: String,
    },
    /// The request has its outcome.
    Ended {
        /// How it ended.
        status: Status,
        /// Display names of who ended it.
        by: Vec<String>,
        /// When, in Unix milliseconds.
        at_ms: i64,
        /// Why, in the words of who ended it.
        reason: Option<String>,
        /// What the reader pressed a moment ago and thereby ended it with.
        just_now: Option<Choice>,
        /// What waits for the reader next, if anything does.
        next: Option<Next>,
        /// What the reader pressed after it had ended.
        late: Option<Choice>,
    },
}

/// Another request that waits for the reader.
#[derive(Clone)]
pub struct Next {
    /// What will be done.
    pub title: Title,
    /// The client that asks.
    pub client: String,
    /// The reader's own link to it.
    pub url: String,
    /// Until when the reader's answer counts.
    pub stage_deadline_ms: i64,
}

/// Everything that waits for one reviewer.
pub struct Inbox {
    /// Display name of whom the link belongs to.
    pub reviewer_name: String,
    /// The server's time.
    pub now_ms: i64,
    /// What waits, in the order to show; those that ask the very same together.
    pub groups: Vec<InboxGroup>,
    /// How many wait for this reviewer's answer, those that are not shown included.
    pub waiting: usize,
    /// How many more wait, which are not shown.
    pub more: usize,
    /// What they decided in the last days, the newest first.
    pub lately: Vec<LateRow>,
    /// What became of what they have just pressed.
    pub said: Vec<SaidRow>,
    /// Why nothing was recorded, if it was not.
    pub notice: Option<String>,
    /// Where the reviewer is.
    pub away: Away,
    /// The clients that are paused and are the reader's business: they paused them, or own them.
    pub paused: Vec<PausedClient>,
    /// What forms about the inbox itself must bring back.
    pub nonce: String,
    /// Changes when the inbox does.
    pub version: String,
    /// Where the inbox is, and its forms are posted to: a path.
    pub action: String,
    /// Where news come from by themselves, if they do: a path.
    pub events: Option<String>,
    /// Where what makes it an app is described: a path.
    pub manifest: String,
    /// The path before all paths of the gate, without a slash at the end.
    pub prefix: String,
    /// How push stands for the reader; none where there is none for them.
    pub push: Option<Push>,
    /// Whether another channel of the reader's waits for a sign of them, so that a touch of the inbox is told.
    pub nudged: bool,
}

/// Push, which a device can switch on and off.
pub struct Push {
    /// What the browser subscribes with: base64url.
    pub key: String,
    /// The ids of the devices that are told.
    pub devices: Vec<String>,
}

/// Where a reviewer is.
#[derive(Default)]
pub struct Away {
    /// Until when they are away by their own word, in Unix milliseconds; none if they are not.
    pub until_ms: Option<i64>,
    /// Display name of whom they chose to be asked instead.
    pub instead: Option<String>,
    /// Whether the policy's file says that they are away now.
    pub by_file: bool,
    /// Id and display name of each whom they may choose.
    pub backups: Vec<(String, String)>,
}

/// A client that is paused.
pub struct PausedClient {
    /// Its id.
    pub id: String,
    /// The name that people read.
    pub name: String,
    /// Its pause.
    pub pause: Paused,
}

/// Requests that ask the very same: mostly one.
pub struct InboxGroup {
    /// The one that closes first, for all of them.
    pub first: InboxRequest,
    /// All of them, that one included.
    pub all: Vec<InboxRequest>,
}

/// One waiting request.
#[derive(Clone)]
pub struct InboxRequest {
    /// A name for the row, unique on the page: letters and digits.
    pub id: String,
    /// Counts the request's changes.
    pub version: u64,
    /// The client that asks.
    pub client: String,
    /// The client's name for it.
    pub request_id: String,
    /// Dotted name of what it wants to do. Untrusted.
    pub action: String,
    /// The agent's own words. Untrusted: quoted.
    pub summary: String,
    /// What is approved. Untrusted.
    pub payload: Value,
    /// What will be done, in the gate's own words.
    pub title: Title,
    /// The same as one line of text.
    pub headline: String,
    /// Whether an approval needs more than a press: it is decided on its own page.
    pub needs_page: bool,
    /// Whether its rule says that it is urgent.
    pub urgent: bool,
    /// The reviewer's own link to the request: its text.
    pub link: String,
    /// What the form must bring back.
    pub nonce: String,
    /// Where the request's own page is: a path.
    pub url: String,
    /// When the client asked, in Unix milliseconds.
    pub created_at_ms: i64,
    /// Until when this reviewer's answer counts.
    pub stage_deadline_ms: i64,
    /// How many distinct approvals the rule wants.
    pub approvals_needed: u32,
    /// How many there are.
    pub approvals: usize,
    /// What the reader may say.
    pub may: May,
    /// The reader's vote, if others are still to vote.
    pub voted: Option<Choice>,
    /// What is new about it.
    pub novelty: Novelty,
}

/// One decision of the last days.
pub struct LateRow {
    /// The client that asked.
    pub client: String,
    /// The gate's own line for the payload.
    pub headline: String,
    /// Where the request's own page is: a path.
    pub url: String,
    /// What the reader said.
    pub choice: Choice,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// How the request stands now.
    pub status: Status,
}

/// What became of one row of what was pressed.
pub struct SaidRow {
    /// The gate's own line for the payload.
    pub headline: String,
    /// The client's name for the request.
    pub request_id: String,
    /// Where the request's own page is: a path.
    pub url: String,
    /// What became of it.
    pub said: Said,
}

/// What became of a press.
pub enum Said {
    /// It is recorded, and the request has ended with it.
    Recorded(Choice),
    /// The approval is recorded; others must approve too.
    Waiting,
    /// The request had ended before.
    Ended {
        /// How.
        status: Status,
        /// Display names of who ended it.
        by: String,
    },
    /// Nothing was recorded.
    Refused(String),
}

/// A small page with one thing to say: an unknown link, an expired one, too many requests, our fault.
pub fn notice(title: &str, text: &str) -> Markup {
    let content = html! {
        article.card {
            h1 { (title) }
            p.say { (text) }
        }
    };
    layout::page(&format!("{title} – Placet"), None, layout::Script::None, &content)
}
