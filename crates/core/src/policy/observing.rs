//! Rules that only observe (`mode = "observe"`): what they would have done is recorded, and the next rule that matches
//! decides. A request is decided as if they were not there.

use serde::{Deserialize, Serialize};

#[cfg(feature = "conditions")]
use super::{Decision, Rule, RuleAction, RuleMatch, Verdict};

/// How many rules of one policy may observe: each is one more entry of the transaction that takes a request.
#[cfg(feature = "conditions")]
pub(super) const MOST_OBSERVING: usize = 8;

/// What a rule that only observes would have done with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The rule.
    pub rule: String,
    /// What it would have done.
    pub would: Would,
    /// Its condition could not be evaluated: then it would have approved nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unclear: bool,
}

/// What a rule would have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Would {
    /// Approve alone.
    Approve,
    /// Ask somebody.
    Ask,
    /// Reject at once.
    Reject,
}

impl Observed {
    /// In words, for the trail and for people.
    pub fn words(&self) -> String {
        let what = match self.would {
            Would::Approve => "would have approved",
            Would::Ask => "would have asked",
            Would::Reject => "would have rejected",
        };
        if self.unclear { format!("{what}: its condition could not be evaluated") } else { what.to_owned() }
    }

    /// What the observing rules among those steps would have done.
    #[cfg(feature = "conditions")]
    pub fn of(steps: &[(&Rule, Verdict)]) -> Vec<Self> {
        let observing = steps.iter().filter(|(rule, verdict)| rule.observes && *verdict != Verdict::False);
        observing
            .map(|(rule, verdict)| {
                let unclear = matches!(verdict, Verdict::Error(_));
                let would = match rule.action {
                    RuleAction::Ask(_) => Would::Ask,
                    RuleAction::Decide(Decision::Approve) if !unclear => Would::Approve,
                    RuleAction::Decide(Decision::Approve | Decision::Reject) => Would::Reject,
                };
                Self { rule: rule.name.clone(), would, unclear }
            })
            .collect()
    }
}

#[cfg(feature = "conditions")]
impl<'p> RuleMatch<'p> {
    /// The rule that decides, of the steps that [`Policy::trace_after`](super::Policy::trace_after) took: never one that
    /// only observes.
    pub fn of(steps: &[(&'p Rule, Verdict)]) -> Option<Self> {
        let (rule, verdict) = steps.iter().rfind(|(rule, _)| !rule.observes)?;
        match verdict {
            Verdict::True => Some(Self { rule, error: None }),
            Verdict::Error(error) => Some(Self { rule, error: Some(*error) }),
            Verdict::False => None,
        }
    }
}

#[cfg(all(test, feature = "conditions"))]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::Timestamp;
    use crate::policy::{Policy, Question};

    const PEOPLE: &str = "[[clients]]\nid = \"n8n\"\nowner = \"amy\"\n[[reviewers]]\nid = \"amy\"\nroles = [\"a\"]\n\
                          [[reviewers]]\nid = \"bob\"\nroles = [\"a\"]\n";

    const WHENS: [&str; 6] = [
        "action == \"pay\"",
        "payload.amount > 3",
        "payload.none > 3",
        "count(\"1h\") > 2",
        // Takes more steps than a request may.
        "payload.list.all(a, payload.list.all(b, payload.list.all(c, a + b + c > 0)))",
        "true",
    ];

    const ACTIONS: [&str; 3] =
        ["decide = \"approve\"", "decide = \"reject\"", "stages = [{ ask = [\"a\"], within = \"1h\" }]"];

    fn policy(rules: &[(&str, &str, bool)], with_observing: bool) -> Policy {
        let text = rules.iter().enumerate().filter(|(_, (_, _, observes))| with_observing || !observes).fold(
            PEOPLE.to_owned(),
            |text, (index, (when, action, observes))| {
                let mode = if *observes { "mode = \"observe\"\n" } else { "" };
                text + &format!("[[rules]]\nname = \"r{index}\"\n{mode}when = '{when}'\n{action}\n")
            },
        );
        match Policy::load_trusted(&text, 1) {
            Ok(policy) => policy,
            Err(faults) => unreachable!("{faults:?}"),
        }
    }

    fn question<'q>(
        action: &'q str,
        payload: &'q Value,
        metadata: &'q BTreeMap<String, String>,
    ) -> Question<'q> {
        Question { client: "n8n", action, summary: "", payload, metadata, now: Timestamp::from_millis(0) }
    }

    proptest! {
        /// Whatever it watches: a request is decided as if it were not there, and so never turns into a yes.
        #[test]
        fn what_only_observes_decides_nothing(
            rules in proptest::collection::vec(
                (proptest::sample::select(&WHENS[..]), proptest::sample::select(&ACTIONS[..]), any::<bool>()),
                0..9,
            ),
            amount in 0_u32..6,
            pays in any::<bool>(),
        ) {
            let payload = json!({ "amount": amount, "list": vec![1; 100] });
            let metadata = BTreeMap::new();
            let question = question(if pays { "pay" } else { "ask" }, &payload, &metadata);
            let (with, without) = (policy(&rules, true), policy(&rules, false));
            let hit = |policy: &Policy| policy.evaluate(&question).map(|hit| (hit.rule.name.clone(), hit.error));
            prop_assert_eq!(hit(&with), hit(&without));
            let steps = with.trace(&question);
            for observed in Observed::of(&steps) {
                let rule = with.rules.iter().find(|rule| rule.name == observed.rule).unwrap();
                prop_assert!(rule.observes);
                prop_assert!(!(observed.unclear && observed.would == Would::Approve));
            }
        }
    }

    fn faults(rules: &str) -> Vec<String> {
        let found = Policy::read(&format!("{PEOPLE}{rules}")).err().unwrap_or_default();
        found.into_iter().map(|fault| fault.message).collect()
    }

    #[test]
    fn the_mode_is_checked_and_so_are_examples() {
        let rule = |mode: &str, example: &str| {
            format!(
                "[[rules]]\nname = \"first\"\nwhen = 'action == \"taken\"'\ndecide = \"reject\"\n\
                 [[rules]]\nname = \"watch\"\nmode = {mode}\nwhen = 'action != \"other\" && payload.n > 1'\n\
                 decide = \"reject\"\nexamples = [{example}]\n"
            )
        };
        let n = |action: &str, n: u32| format!("{{ action = \"{action}\", payload = {{ n = {n} }} }}");
        for (mode, example, fault) in [
            ("\"observe\"", n("pay", 2), None),
            ("\"enforce\"", n("pay", 2), None),
            ("\"watch\"", n("pay", 2), Some("expected \"enforce\" or \"observe\", not `watch`")),
            ("true", n("pay", 2), Some("expected a string, but this is true or false")),
            (
                "\"observe\"",
                n("other", 2),
                Some("this example of rule `watch`, which only observes, does not match it"),
            ),
            (
                "\"observe\"",
                n("taken", 2),
                Some("this example of rule `watch` hits rule `first` before it is reached"),
            ),
            (
                "\"observe\"",
                "{ action = \"pay\" }".to_owned(),
                Some(
                    "rule `watch` cannot be evaluated for this example of it: a field that the condition reads is missing",
                ),
            ),
        ] {
            let found = faults(&rule(mode, &example));
            assert_eq!(found.first().map(String::as_str), fault, "{mode} {example}");
        }
        let watch = "[[rules]]\nname = \"rN\"\nmode = \"observe\"\ndecide = \"reject\"\n";
        let many: Vec<String> = (0..9).map(|n| watch.replace('N', &n.to_string())).collect();
        let many = many.concat();
        assert_eq!(faults(&many), ["9 rules only observe, and 8 is the most"]);
    }

    #[test]
    fn a_check_says_what_only_observes_and_that_it_hides_nothing() {
        let rules = "[[rules]]\nname = \"watch\"\nmode = \"observe\"\ndecide = \"approve\"\n\
                     [[rules]]\nname = \"all\"\nstages = [{ ask = [\"a\"], within = \"1h\" }]\n";
        let report = Policy::check(&format!("{PEOPLE}{rules}"));
        let warnings: Vec<String> = report.warnings.into_iter().map(|warning| warning.message).collect();
        assert_eq!(warnings, ["rule `watch` only observes: what it matches, the rules after it decide"]);
    }
}
