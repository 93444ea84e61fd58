//! Three small policies: as tables, which the model reads, and as the text that the gate gets.

use std::fmt::Write as _;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// What the histories' clients, reviewers and rules are.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Id and owner of the two clients that ask.
    pub askers: [(&'static str, Option<&'static str>); 2],
    /// Whether `payments` is an executor of `n8n`.
    pub executor: Executor,
    /// Id, owner and queue of the two clients that decide.
    pub deciders: [(&'static str, Option<&'static str>, &'static str); 2],
    /// The people.
    pub reviewers: Vec<Reviewer>,
    /// Rules; each applies to the action of its own name.
    pub rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Executor {
    Named,
    NotNamed,
}

#[derive(Clone, Debug)]
pub(super) struct Reviewer {
    pub id: &'static str,
    pub roles: &'static [&'static str],
    pub generation: u32,
    pub presence: Presence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Here,
    Away { backup: Option<&'static str> },
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
    pub owner: Owner,
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

#[derive(Clone, Copy, Debug)]
pub(super) enum Assignees {
    Role(&'static str),
    Queue(&'static str),
}

/// The actions that are asked for: one for each rule, and one that no rule knows.
pub(super) const ACTIONS: [&str; 13] = [
    "free",
    "never",
    "single",
    "double",
    "later",
    "chief",
    "chief.then",
    "own",
    "queue",
    "queue.first",
    "doubt",
    "doubt.alone",
    "unknown",
];

/// Everybody who could ever vote.
pub(super) const PEOPLE: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// The policies that a history changes between.
pub(super) fn tables() -> [Table; 3] {
    let reviewer = |id, roles| Reviewer { id, roles, generation: 1, presence: Presence::Here };
    let first = Table {
        askers: [("n8n", Some("alice")), ("bot", None)],
        executor: Executor::Named,
        deciders: [("jira", None, "backup"), ("ops", Some("alice"), "backup")],
        reviewers: vec![
            reviewer("alice", &["owners", "chief"]),
            reviewer("bob", &["finance"]),
            reviewer("carol", &["finance"]),
            reviewer("dave", &["finance", "owners"]),
        ],
        rules: rules(1, 3600),
    };
    // Bob has left, erin has come, dave has lost a role, n8n is carol's now, and her links of before are void.
    let second = Table {
        askers: [("n8n", Some("carol")), ("bot", None)],
        deciders: [("jira", None, "backup"), ("ops", Some("alice"), "elsewhere")],
        reviewers: vec![
            reviewer("alice", &["owners", "chief"]),
            Reviewer { generation: 2, ..reviewer("carol", &["finance"]) },
            reviewer("dave", &["owners"]),
            reviewer("erin", &["finance"]),
        ],
        rules: rules(2, 600),
        ..first.clone()
    };
    // Everybody but carol and erin is away: erin stands in for bob, and nobody for the others. Jira reads another queue.
    let away = |backup| Presence::Away { backup };
    let third = Table {
        executor: Executor::NotNamed,
        deciders: [("jira", None, "elsewhere"), ("ops", Some("alice"), "backup")],
        reviewers: vec![
            Reviewer { presence: away(None), ..reviewer("alice", &["owners", "chief"]) },
            Reviewer { presence: away(Some("erin")), ..reviewer("bob", &["finance"]) },
            reviewer("carol", &["finance"]),
            Reviewer { presence: away(Some("alice")), ..reviewer("dave", &["finance", "owners"]) },
            Reviewer { generation: 3, ..reviewer("erin", &["others"]) },
        ],
        ..first.clone()
    };
    [first, second, third]
}

fn rules(approvals_of_single: usize, valid_for_seconds: i64) -> Vec<Rule> {
    let rule = |name, then| Rule { name, evaluation: Evaluation::Sound, then, valid_for_seconds };
    let unsound = |name, then| Rule { evaluation: Evaluation::Fails, ..rule(name, then) };
    let people = |role, within_ms| Stage { asks: Assignees::Role(role), within_ms };
    let queue = |within_ms| Stage { asks: Assignees::Queue("backup"), within_ms };
    let terms = |stages| ApprovalTerms { approvals: 1, stages, owner: Owner::Barred };
    let asks = |stages| RuleAction::Ask(terms(stages));
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
        rule("later", asks(vec![people("owners", 5 * MINUTE), people("finance", 5 * MINUTE)])),
        rule("chief", asks(vec![people("chief", 5 * MINUTE)])),
        rule("chief.then", asks(vec![people("chief", 5 * MINUTE), people("finance", 5 * MINUTE)])),
        rule(
            "own",
            RuleAction::Ask(ApprovalTerms {
                owner: Owner::MayApprove,
                ..terms(vec![people("chief", 10 * MINUTE)])
            }),
        ),
        rule("queue", asks(vec![queue(HOUR)])),
        rule("queue.first", asks(vec![queue(5 * MINUTE), people("finance", 5 * MINUTE)])),
        unsound("doubt", asks(vec![people("finance", 5 * MINUTE)])),
        unsound("doubt.alone", RuleAction::Approve),
    ]
}

impl Table {
    pub(super) fn rule(&self, action: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == action)
    }

    pub(super) fn reviewer(&self, id: &str) -> Option<&Reviewer> {
        self.reviewers.iter().find(|reviewer| reviewer.id == id)
    }

    /// Whom a role asks: each once, a stand-in in the place of who is away.
    pub(super) fn asked(&self, role: &str) -> Vec<&'static str> {
        self.asked_for(role).into_iter().map(|(asked, _)| asked).collect()
    }

    /// By whose right somebody decides for a role: their own, or that of the first in whose place they are asked.
    pub(super) fn seat(&self, role: &str, who: &str) -> Option<&'static str> {
        let own =
            self.reviewer(who).filter(|reviewer| reviewer.roles.contains(&role)).map(|reviewer| reviewer.id);
        let place =
            || self.asked_for(role).into_iter().find(|(asked, _)| *asked == who).map(|(_, holder)| holder);
        own.or_else(place)
    }

    /// Who is asked for a role, and in whose place.
    fn asked_for(&self, role: &str) -> Vec<(&'static str, &'static str)> {
        let mut asked: Vec<(&'static str, &'static str)> = Vec::new();
        for holder in self.reviewers.iter().filter(|reviewer| reviewer.roles.contains(&role)) {
            let mut present = Some(holder);
            while let Some(Reviewer { presence: Presence::Away { backup }, .. }) = present {
                present = backup.and_then(|backup| self.reviewer(backup));
            }
            if let Some(present) = present.filter(|present| asked.iter().all(|(id, _)| *id != present.id)) {
                asked.push((present.id, holder.id));
            }
        }
        asked
    }

    pub(super) fn owner(&self, client: &str) -> Option<&'static str> {
        let deciders = self.deciders.iter().map(|(id, owner, _)| (*id, *owner));
        let mut all = self.askers.iter().copied().chain(deciders);
        all.find(|(id, _)| *id == client).and_then(|(_, owner)| owner)
    }

    /// Whether that client answers for that queue.
    pub(super) fn answers_for(&self, decider: &str, queue: &str) -> bool {
        self.deciders.iter().any(|(id, _, of)| *id == decider && *of == queue)
    }

    /// The text of this policy.
    pub(super) fn toml(&self) -> String {
        let mut text = String::from("issuer = \"https://gate.example.com\"\n");
        let mut client = |id: &str, owner: Option<&str>, rest: &str| {
            let owner = owner.map_or_else(String::new, |owner| format!("owner = \"{owner}\"\n"));
            let _ = write!(text, "[[clients]]\nid = \"{id}\"\n{owner}bearer = true\n{rest}\n");
        };
        for (id, owner) in self.askers {
            let named = id == "n8n" && self.executor == Executor::Named;
            let executors = if named { "executors = [\"payments\"]\n" } else { "" };
            let token = if id == "bot" { "EdDSA" } else { "HS256" };
            client(
                id,
                owner,
                &format!(
                    "roles = [\"requester\"]\ntoken = \"{token}\"\n{executors}rate_per_minute = 1000000"
                ),
            );
        }
        client("payments", None, "roles = [\"executor\"]");
        for (id, owner, queue) in self.deciders {
            client(id, owner, &format!("roles = [\"decider\"]\nqueues = [\"{queue}\"]"));
        }
        for Reviewer { id, roles, generation, presence } in &self.reviewers {
            let away = match presence {
                Presence::Here => String::new(),
                Presence::Away { backup } => {
                    let backup = backup.map_or_else(String::new, |backup| format!(", backup = \"{backup}\""));
                    format!("away = [{{ from = 2020-01-01, until = 2040-01-01{backup} }}]\n")
                }
            };
            let _ = write!(
                text,
                "[[reviewers]]\nid = \"{id}\"\nroles = {roles:?}\ngeneration = {generation}\n{away}"
            );
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
                    Assignees::Queue(queue) => format!("{{ queue = \"{queue}\", within = \"{within}s\" }}"),
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
