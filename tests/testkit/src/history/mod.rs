//! Random histories: the real use cases over a real store, compared step by step with a plain model.
//!
//! [`follows_the_model`] does one act at a time and compares every answer; [`survives_races`] does many at once and
//! checks what must hold whatever happens. The clock moves both ways.

#![expect(clippy::disallowed_methods, reason = "an environment variable says how many cases run")]

mod acts;
mod invariants;
mod model;
mod policy;

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::{FixedClock, Subject, World};
use acts::{Actor, Performed};
use invariants::Watchdog;
use model::Model;
use policy::{ACTIONS, PEOPLE};

/// How many histories are tried, unless `PROPTEST_CASES` says otherwise.
const HISTORIES: u32 = 256;

/// How many of them are tried at a time.
const AT_A_TIME: u32 = 4;

/// How many histories with races are tried.
const RACES: u32 = 48;

/// Client and name of a request.
type Key = (&'static str, &'static str);

/// All requests that there can be.
const KEYS: [Key; 4] = [("n8n", "r0"), ("n8n", "r1"), ("bot", "r0"), ("bot", "r1")];

/// What can happen.
#[derive(Clone, Debug)]
enum Act {
    Ask(Ask, SecretOf),
    Vote {
        key: Key,
        who: &'static str,
        yes: bool,
        link: Which,
    },
    Answer {
        key: Key,
        decider: &'static str,
        yes: bool,
    },
    Cancel(Key),
    CancelAsOperator(Key),
    Inbox(&'static str),
    Read(Key),
    Redeem(Key, Redeem, Which),
    Sweep,
    Deliver,
    Rotate,
    Install(usize),
    MoveClock(i64),
    /// To the moment at which a request's stage closes, or its token's time is over; and so many milliseconds on.
    MoveTo(Key, i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Ask {
    client: &'static str,
    name: &'static str,
    action: &'static str,
    amount: u32,
    timeout_seconds: Option<u32>,
    callback: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Redeem {
    redeemed_by: &'static str,
    wrong_payload: bool,
    by: By,
}

/// Who shows a token.
#[derive(Clone, Copy, Debug)]
enum By {
    Asker,
    Other,
    Executor,
}

/// When a link was made: the epoch of the keys, and the generation of its reviewer's links.
#[derive(Clone, Copy, Debug)]
struct Link {
    epoch: u32,
    generation: u32,
}

/// The secret that a client still uses.
#[derive(Clone, Copy, Debug)]
enum SecretOf {
    ThisEpoch,
    TheOneBefore,
}

/// A link or a token: made now, or the first that was ever made.
#[derive(Clone, Copy, Debug)]
enum Which {
    Fresh,
    First,
}

/// What an act comes to, for whoever does it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    New(Seen),
    Again(Seen),
    Seen(Seen),
    Ended(Seen),
    Refused(&'static str),
    Redeemed { first: bool },
}

/// A request, as the model and the gate both can tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    phase: Phase,
    votes: Vec<Vote>,
    redeemed: Option<(String, i64)>,
    callbacks: Vec<String>,
    updated_at: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Vote {
    who: String,
    yes: bool,
    at: i64,
    stage: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Pending { stage: usize, closes_at: i64, asked: Vec<String>, deserted: bool },
    Ended { status: String, decided_by: Vec<String>, decided_at: i64 },
}

impl Seen {
    fn is_pending(&self) -> bool {
        matches!(self.phase, Phase::Pending { .. })
    }

    fn status(&self) -> &str {
        match &self.phase {
            Phase::Pending { .. } => "pending",
            Phase::Ended { status, .. } => status,
        }
    }

    fn asked(&self) -> Option<&[String]> {
        match &self.phase {
            Phase::Pending { asked, .. } => Some(asked),
            Phase::Ended { .. } => None,
        }
    }
}

/// Runs random histories, one act at a time, and panics with the shortest one that the gate and the model see
/// differently.
pub fn follows_the_model(make: impl AsyncFn(Arc<FixedClock>) -> Subject + Sync) {
    // Each history mostly waits for its disk, so several are tried at a time.
    let failures: Vec<String> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(|| try_to_follow(&make))).collect();
        tries.into_iter().filter_map(|tried| tried.join().unwrap().err()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// How many acts of a race are done at once.
const AT_ONCE: usize = 8;

/// Runs random histories, eight acts at once, and panics with one that breaks a promise.
pub fn survives_races(make: impl AsyncFn(Arc<FixedClock>) -> Subject) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let result = runner(RACES).run(&history(30..60), |acts| {
        runtime.block_on(async {
            let subject = make(FixedClock::new()).await;
            race(&subject, &acts).await.map_err(TestCaseError::fail)
        })
    });
    assert!(result.is_ok(), "{}", result.err().map_or_else(String::new, |failure| failure.to_string()));
}

fn try_to_follow(make: &impl AsyncFn(Arc<FixedClock>) -> Subject) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runner(HISTORIES / AT_A_TIME).run(&history(15..45), |acts| {
        runtime.block_on(async {
            let subject = make(FixedClock::new()).await;
            follow(&subject, &acts).await.map_err(TestCaseError::fail)
        })
    });
    result.map_err(|failure| failure.to_string())
}

fn runner(cases: u32) -> TestRunner {
    let from_environment = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { from_environment.cases } else { cases };
    TestRunner::new(Config { cases, max_shrink_iters: 2000, failure_persistence: None, ..from_environment })
}

async fn begin(subject: &Subject) -> Actor {
    let [first, ..] = policy::tables();
    let world =
        World::with_policy(Arc::clone(&subject.store), Arc::clone(&subject.clock), &first.toml()).await;
    Actor::new(world)
}

async fn follow(subject: &Subject, acts: &[Act]) -> Result<(), String> {
    let actor = begin(subject).await;
    let [first, ..] = policy::tables();
    let mut model = Model {
        policy: first,
        is_new_policy: false,
        now: FixedClock::START.millis(),
        epoch: 1,
        records: std::collections::BTreeMap::new(),
    };
    let mut watchdog = Watchdog::default();
    for (number, act) in acts.iter().enumerate() {
        let fail = |what: String| format!("step {number}, {act:?}: {what}");
        // What cannot be had (a token of what waits, a link to nothing) is not tried: then nobody says anything.
        let duplicates = match act {
            Act::Ask(ask, _) => model.duplicates((ask.client, ask.name), ask),
            _ => Vec::new(),
        };
        let Performed { answer, epoch, link, inbox, duplicate } = actor.perform(act).await.map_err(fail)?;
        let expected = match act {
            Act::Ask(ask, _) => Some(model.ask((ask.client, ask.name), ask)),
            Act::Vote { key, who, yes, .. } => {
                if answer.is_some() {
                    model.vote(*key, who, *yes, link)
                } else {
                    None
                }
            }
            Act::Answer { key, decider, yes } => Some(model.answer(*key, decider, *yes)),
            Act::Cancel(key) => Some(model.cancel(*key, &format!("client:{}", key.0))),
            Act::CancelAsOperator(key) => Some(model.cancel(*key, "operator:cli")),
            Act::Inbox(who) => {
                let expected = model.inbox(who);
                if inbox.as_ref() != Some(&expected) {
                    return Err(fail(format!("the inbox of {who} has {inbox:?}, the model {expected:?}")));
                }
                None
            }
            Act::Read(key) => Some(model.read(*key)),
            Act::Redeem(key, redeem, _) => {
                if answer.is_some() {
                    model.redeem(*key, redeem, epoch)
                } else {
                    None
                }
            }
            Act::Sweep => {
                model.sweep();
                None
            }
            Act::Deliver => {
                model.deliver();
                None
            }
            Act::Rotate => {
                model.epoch += 1;
                None
            }
            Act::Install(index) => {
                if let Some(table) = policy::tables().get(*index) {
                    model.is_new_policy |= model.policy.toml() != table.toml();
                    model.policy = table.clone();
                }
                None
            }
            Act::MoveClock(millis) => {
                model.now += millis;
                None
            }
            Act::MoveTo(key, millis) => {
                model.now = model.edge(*key).map_or(model.now, |edge| edge + millis);
                None
            }
        };
        if answer != expected {
            return Err(fail(format!("the gate says {answer:#?}, the model {expected:#?}")));
        }
        let new = matches!(answer, Some(Answer::New(_)));
        if new
            && (duplicate.is_none() != duplicates.is_empty()
                || duplicate.as_ref().is_some_and(|duplicate| !duplicates.contains(duplicate)))
        {
            return Err(fail(format!(
                "the gate names the duplicate {duplicate:?}, the model {duplicates:?}"
            )));
        }
        if let (Some((key, attempt)), Some(answer)) = (attempt(act), &answer) {
            model.note_refused(key, attempt, answer, stored(&actor, key).await.as_ref());
        }
        watchdog.check(subject, &actor).await.map_err(fail)?;
        compare(&actor, &model).await.map_err(fail)?;
    }
    watchdog.check_end(subject, &actor).await
}

async fn stored(actor: &Actor, key: Key) -> Option<Seen> {
    actor.world.stored(key.0, key.1).await.map(|request| acts::seen(&request))
}

/// What is stored is what the model has.
async fn compare(actor: &Actor, model: &Model) -> Result<(), String> {
    for (key, record) in &model.records {
        let stored = stored(actor, *key).await;
        if stored.as_ref() != Some(&record.seen) {
            return Err(format!("{key:?} is stored as {stored:#?}, the model has {:#?}", record.seen));
        }
    }
    Ok(())
}

/// What somebody tries that is an entry of the trail if it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Attempt {
    /// Whoever it is wants to approve, or to reject.
    Vote(&'static str, bool),
    /// That client wants to use the request's token.
    Use(&'static str),
}

/// Who tries what, where an act does.
fn attempt(act: &Act) -> Option<(Key, Attempt)> {
    match act {
        Act::Vote { key, who, yes, .. } => Some((*key, Attempt::Vote(who, *yes))),
        Act::Answer { key, decider, yes } => Some((*key, Attempt::Vote(decider, *yes))),
        Act::Redeem(key, redeem, _) => Some((*key, Attempt::Use(acts::presenter(*key, redeem.by)))),
        _ => None,
    }
}

async fn race(subject: &Subject, acts: &[Act]) -> Result<(), String> {
    let actor = Arc::new(begin(subject).await);
    let mut watchdog = Watchdog::default();
    for group in acts.chunks(AT_ONCE) {
        let tasks: Vec<_> = group
            .iter()
            .cloned()
            .map(|act| {
                let actor = Arc::clone(&actor);
                tokio::spawn(
                    async move { actor.perform(&act).await.map_err(|what| format!("{act:?}: {what}")) },
                )
            })
            .collect();
        for task in tasks {
            task.await.map_err(|error| error.to_string())??;
        }
        watchdog.check(subject, &actor).await.map_err(|what| format!("after {group:?}: {what}"))?;
    }
    watchdog.check_end(subject, &actor).await
}

/// Acts at random, and among them scenes that chance alone would seldom play.
fn history(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Act>> {
    let step = prop_oneof![7 => act().prop_map(|act| vec![act]), 1 => scene()];
    proptest::collection::vec(step, length).prop_map(|steps| steps.concat())
}

/// One request that several people must approve, while the policy changes between their words.
fn scene() -> impl Strategy<Value = Vec<Act>> {
    let word = |key: Key| {
        prop_oneof![
            5 => prop::sample::select(&["bob", "carol", "dave", "erin"][..])
                .prop_map(move |who| Act::Vote { key, who, yes: true, link: Which::First }),
            3 => (0_usize..3).prop_map(Act::Install),
            1 => Just(Act::Deliver),
        ]
    };
    (key(), prop::sample::select(&["double", "single"][..])).prop_flat_map(move |(key, action)| {
        let ask =
            Ask { client: key.0, name: key.1, action, amount: 1, timeout_seconds: None, callback: None };
        proptest::collection::vec(word(key), 2..7)
            .prop_map(move |words| [vec![Act::Ask(ask.clone(), SecretOf::ThisEpoch)], words].concat())
    })
}

fn act() -> impl Strategy<Value = Act> {
    let yes = || prop::bool::weighted(0.75);
    let which = || prop_oneof![Just(Which::Fresh), Just(Which::First)];
    // Bob, carol and dave are whom most rules ask.
    let person = || prop_oneof![3 => Just("bob"), 3 => Just("carol"), 2 => Just("dave"), 2 => prop::sample::select(&PEOPLE[..])];
    let decider = || prop_oneof![4 => Just("jira"), 4 => Just("ops"), 1 => Just("bot")];
    prop_oneof![
        6 => ask(),
        14 => (key(), person(), yes(), which())
            .prop_map(|(key, who, yes, link)| Act::Vote { key, who, yes, link }),
        3 => (key(), decider(), yes()).prop_map(|(key, decider, yes)| Act::Answer { key, decider, yes }),
        1 => key().prop_map(Act::Cancel),
        1 => key().prop_map(Act::CancelAsOperator),
        2 => prop::sample::select(&PEOPLE[..]).prop_map(Act::Inbox),
        2 => key().prop_map(Act::Read),
        6 => (key(), redeem(), which()).prop_map(|(key, redeem, token)| Act::Redeem(key, redeem, token)),
        2 => Just(Act::Sweep),
        3 => Just(Act::Deliver),
        1 => Just(Act::Rotate),
        3 => (0_usize..3).prop_map(Act::Install),
        4 => clock_move().prop_map(Act::MoveClock),
        4 => (key(), -1_i64..2).prop_map(|(key, millis)| Act::MoveTo(key, millis)),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    prop::sample::select(&KEYS[..])
}

fn ask() -> impl Strategy<Value = Act> {
    let timeout =
        prop_oneof![4 => Just(None), 1 => Just(Some(60)), 1 => Just(Some(240)), 1 => Just(Some(864_000))];
    let callback = prop_oneof![
        1 => Just(None),
        3 => prop::sample::select(&["https://a.example.com/", "https://b.example.com/"][..]).prop_map(Some),
    ];
    let secret = prop_oneof![4 => Just(SecretOf::ThisEpoch), 1 => Just(SecretOf::TheOneBefore)];
    let action = prop_oneof![
        5 => Just("double"),
        4 => Just("later"),
        3 => prop::sample::select(&["chief.then", "queue", "queue.first"][..]),
        5 => prop::sample::select(&ACTIONS[..]),
    ];
    (key(), action, 1_u32..3, timeout, callback, secret).prop_map(
        |((client, name), action, amount, timeout_seconds, callback, secret)| {
            Act::Ask(Ask { client, name, action, amount, timeout_seconds, callback }, secret)
        },
    )
}

fn redeem() -> impl Strategy<Value = Redeem> {
    let redeemed_by = prop::sample::select(&["run-1", "run-2"][..]);
    let by = prop_oneof![6 => Just(By::Asker), 1 => Just(By::Other), 3 => Just(By::Executor)];
    (redeemed_by, prop::bool::weighted(0.15), by).prop_map(|(redeemed_by, wrong_payload, by)| Redeem {
        redeemed_by,
        wrong_payload,
        by,
    })
}

/// To the millisecond, past the policies' deadlines, and back.
fn clock_move() -> impl Strategy<Value = i64> {
    prop_oneof![
        2 => prop::sample::select(&[1, 999, 1000, 59_999, 60_000][..]),
        3 => prop::sample::select(&[299_999, 300_000, 300_001, 599_999, 600_000][..]),
        1 => prop::sample::select(&[3_600_000, 4_200_000, 86_400_000][..]),
        2 => prop::sample::select(&[-1, -1000, -60_000, -300_000, -3_600_000][..]),
    ]
}
