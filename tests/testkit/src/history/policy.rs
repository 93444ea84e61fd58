//! Two small policies: as tables, which the model reads, and as the text that the gate gets.

use std::fmt::Write as _;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// What the histories' clients, reviewers and rules are.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Id and owner of the two clients that ask, and of the two that decide.
    pub clients: [(&'static str, Option<&'static str>); 4],
    /// Reviewers and their roles.
    pub reviewers: Vec<(&'static str, &'static [&'static str])>,
    /// Rules; each applies to the action of its own name.
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub name: &'static str,
    pub evaluation: Evaluation,
    pub then: RuleAction,
    pub valid_for_seconds: i64,
}

/// Whether its condition can be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evaluation {
    Sound,
    Fails,
}

#[derive(Clone, Debug)]
pub(super) enum RuleAction {
    Approve,
    Reject,
    Ask(ApprovalTerms),
}

#[derive(Clone, Debug)]
pub(super) struct ApprovalTerms {
    pub approvals: usize,
    pub stages: Vec<Stage>,
    pub silence: Silence,
    pub owner: Owner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    Refuses,
    Approves,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Barred,
    MayApprove,
}

#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub asks: Assignees,
    pub within_ms: i64,
}

#[derive(Clone, Debug)]
pub(super) enum Assignees {
    Role(&'static str),
    Queue,
}

/// The actions that are asked for: one for each rule, and one that no rule knows.
pub(super) const ACTIONS: [&str; 13] = [
    "free",
    "never",
    "single",
    "double",
    "silence",
    "silence.later",
    "chief",
    "chief.then",
    "own",
    "queue",
    "doubt",
    "doubt.alone",
    "unknown",
];

/// Everybody who could ever vote.
pub(super) const PEOPLE: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// The policies that a history changes between.
pub(super) fn tables() -> [Table; 2] {
    let first = Table {
        clients: [("n8n", Some("alice")), ("bot", None), ("jira", None), ("ops", Some("alice"))],
        reviewers: vec![
            ("alice", &["owners", "chief"]),
            ("bob", &["finance"]),
            ("carol", &["finance"]),
            ("dave", &["finance", "owners"]),
        ],
        rules: rules(1, 3600),
    };
    // Bob has left, erin has come, dave has lost a role, and n8n is carol's now.
    let second = Table {
        clients: [("n8n", Some("carol")), ("bot", None), ("jira", None), ("ops", Some("alice"))],
        reviewers: vec![
            ("alice", &["owners", "chief"]),
            ("carol", &["finance"]),
            ("dave", &["owners"]),
            ("erin", &["finance"]),
        ],
        rules: rules(2, 600),
    };
    [first, second]
}

fn rules(approvals_of_single: usize, valid_for_seconds: i64) -> Vec<Rule> {
    let rule = |name, then| Rule { name, evaluation: Evaluation::Sound, then, valid_for_seconds };
    let unsound = |name, then| Rule { evaluation: Evaluation::Fails, ..rule(name, then) };
    let people = |role, within_ms| Stage { asks: Assignees::Role(role), within_ms };
    let queue = |within_ms| Stage { asks: Assignees::Queue, within_ms };
    let terms =
        |stages| ApprovalTerms { approvals: 1, stages, silence: Silence::Refuses, owner: Owner::Barred };
    let silent = |stages| ApprovalTerms { silence: Silence::Refuses, ..terms(stages) };
    vec![
        rule("free", RuleAction::Approve),
        rule("never", RuleAction::Reject),
        rule(
            "single",
            RuleAction::Ask(ApprovalTerms {
                approvals: approvals_of_single,
                ..terms(vec![people("finance", 10 * MINUTE)])
            }),
        ),
        rule(
            "double",
            RuleAction::Ask(ApprovalTerms {
                approvals: 2,
                ..terms(vec![people("finance", 10 * MINUTE), people("owners", HOUR), queue(24 * HOUR)])
            }),
        ),
        rule("silence", RuleAction::Ask(silent(vec![people("finance", 5 * MINUTE)]))),
        rule(
            "silence.later",
            RuleAction::Ask(silent(vec![people("owners", 5 * MINUTE), people("finance", 5 * MINUTE)])),
        ),
        rule("chief", RuleAction::Ask(terms(vec![people("chief", 5 * MINUTE)]))),
        rule(
            "chief.then",
            RuleAction::Ask(silent(vec![people("chief", 5 * MINUTE), people("finance", 5 * MINUTE)])),
        ),
        rule(
            "own",
            RuleAction::Ask(ApprovalTerms {
                owner: Owner::MayApprove,
                ..terms(vec![people("chief", 10 * MINUTE)])
            }),
        ),
        rule("queue", RuleAction::Ask(terms(vec![queue(HOUR)]))),
        unsound("doubt", RuleAction::Ask(silent(vec![people("finance", 5 * MINUTE)]))),
        unsound("doubt.alone", RuleAction::Approve),
    ]
}

impl Table {
    pub(super) fn rule(&self, action: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == action)
    }

    pub(super) fn knows(&self, reviewer: &str) -> bool {
        self.reviewers.iter().any(|(id, _)| *id == reviewer)
    }

    pub(super) fn has_role(&self, reviewer: &str, role: &str) -> bool {
        self.reviewers.iter().any(|(id, roles)| *id == reviewer && roles.contains(&role))
    }

    pub(super) fn owner(&self, client: &str) -> Option<&'static str> {
        self.clients.iter().find(|(id, _)| *id == client).and_then(|(_, owner)| *owner)
    }

    /// The text of this policy.
    pub(super) fn toml(&self) -> String {
        let mut text = String::from("issuer = \"https://gate.example.com\"\n");
        for (id, owner) in self.clients {
            let role = if matches!(id, "jira" | "ops") { "decider" } else { "requester" };
            let queues = if role == "decider" { "queues = [\"backup\"]\n" } else { "" };
            let token = if id == "bot" { "EdDSA" } else { "HS256" };
            let owner = owner.map_or_else(String::new, |owner| format!("owner = \"{owner}\"\n"));
            let _ = write!(
                text,
                "[[clients]]\nid = \"{id}\"\nroles = [\"{role}\"]\n{queues}{owner}token = \"{token}\"\nbearer = true\n\
                 rate_per_minute = 1000000\n"
            );
        }
        for (id, roles) in &self.reviewers {
            let _ = write!(text, "[[reviewers]]\nid = \"{id}\"\nroles = {roles:?}\n");
        }
        for rule in &self.rules {
            let doubt = match rule.evaluation {
                Evaluation::Sound => "",
                Evaluation::Fails => " && payload.missing > 1",
            };
            let (name, valid_for) = (rule.name, rule.valid_for_seconds);
            let _ = write!(
                text,
                "[[rules]]\nname = \"{name}\"\nwhen = 'action == \"{name}\"{doubt}'\nvalid_for = \"{valid_for}s\"\n"
            );
            match &rule.then {
                RuleAction::Approve => text.push_str("decide = \"approve\"\n"),
                RuleAction::Reject => text.push_str("decide = \"reject\"\n"),
                RuleAction::Ask(terms) => terms.write(&mut text),
            }
        }
        text
    }
}

impl ApprovalTerms {
    fn write(&self, text: &mut String) {
        let stages: Vec<String> = self
            .stages
            .iter()
            .map(|stage| {
                let within = stage.within_ms / 1000;
                match stage.asks {
                    Assignees::Role(role) => format!("{{ ask = [\"{role}\"], within = \"{within}s\" }}"),
                    Assignees::Queue => format!("{{ queue = \"backup\", within = \"{within}s\" }}"),
                }
            })
            .collect();
        let owner = self.owner == Owner::MayApprove;
        let _ = write!(
            text,
            "approvals = {}\nstages = [{}]\nowner_may_approve = {owner}\n",
            self.approvals,
            stages.join(", ")
        );
    }
}
