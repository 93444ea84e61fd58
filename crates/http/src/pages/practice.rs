//! The pages of a practice round: the review page under a banner, what was right, and how it went in the end.
//!
//! Words and order only; what is shown of a case is the review page's.

use super::layout::{Script, Sign, page};
use super::payload::short_name;
use super::report::percent;
use super::review::{Leave, bar, heading, sheet};
use super::text::titled;
use super::{ChangeLine, Choice, Review};
use maud::{Markup, html};
use placet_core::numbers::{Answers, ENOUGH, Estimate, Sensitivity};

/// A case of a practice round.
pub struct PracticeView {
    /// The case, as the ordinary page shows a request.
    pub review: Review,
    /// Which one it is, from 1.
    pub number: u32,
    /// Of how many.
    pub of: u32,
    /// Whether it was made of one of the team's own requests.
    pub is_own: bool,
    /// The field that is not what the agent's words say, if one is. It is told after the answer.
    pub altered: Option<ChangeLine>,
}

/// What is told after an answer.
pub struct PracticeEnd {
    /// The case that was answered.
    pub case: PracticeView,
    /// What was pressed.
    pub pressed: Choice,
    /// Whether that was right.
    pub was_right: bool,
    /// Whether it was the last case of the round.
    pub ends_the_round: bool,
    /// All answers behind this link by now.
    pub answers: Answers,
    /// What the form that goes on must bring back.
    pub next: String,
}

/// A case, to be answered.
pub fn practice(view: &PracticeView) -> Markup {
    let title = format!("Practice {} of {} – Placet", view.number, view.of);
    let content = html! {
        (banner(view))
        (sheet(&view.review))
        (bar(&view.review, Leave::Nothing))
    };
    page(&title, Some(&view.review.reviewer_name), Script::Review, &content)
}

/// That nothing here is real, above everything else.
fn banner(view: &PracticeView) -> Markup {
    html! {
        div.practice role="note" {
            p { b { "Practice " (view.number) " of " (view.of) } " Nothing here is real, and nobody else sees what you answer." }
            p {
                "Approve if it is what the agent’s own words say. In some cases one field was changed: reject those. "
                @if view.is_own { "The cases are made of requests that your team has approved." }
                @else { "The cases are made up." }
            }
        }
    }
}

/// What was right, and what comes next; after the last case, how it went.
pub fn practice_answer(view: &PracticeEnd) -> Markup {
    let PracticeView { review, number, of, altered, .. } = &view.case;
    let (sign, class, words) = if view.was_right {
        (Sign::Check, "banner yes", "Right")
    } else {
        (Sign::Cross, "banner no", "Not right")
    };
    let title = format!("{words}: practice {number} of {of} – Placet");
    let content = html! {
        div.practice role="note" { p { b { "Practice " (number) " of " (of) } " Nothing was recorded." } }
        article.card {
            (heading(sign, class, words))
            p.say role="status" { (told(view.pressed, altered.is_some())) }
            @if let Some(altered) = altered {
                div.changed {
                    p { b { (short_name(&altered.key)) } }
                    dl {
                        div.row { dt { "By the agent’s words" } dd { bdi { (altered.from) } } }
                        div.row { dt { "What would be done" } dd { b { bdi { (altered.to) } } } }
                    }
                }
            }
            section {
                p.eyebrow { "It was" }
                h2.title translate="no" { (titled(&review.title)) }
            }
            @if view.ends_the_round { (result(&view.answers)) }
            form.on method="post" {
                input type="hidden" name="nonce" value=(view.next);
                button.yes {
                    @if view.ends_the_round { "Another " (of) " cases" } @else { "Next case" }
                }
            }
            @if view.ends_the_round {
                p.hint { "Or close this page: nothing is kept. Your answers are counted on from round to round, as long as this page is open." }
            }
        }
    };
    page(&title, Some(&review.reviewer_name), Script::None, &content)
}

fn told(pressed: Choice, was_changed: bool) -> &'static str {
    match (pressed, was_changed) {
        (Choice::Approve, false) => "You approved it, and it was just what was asked for.",
        (Choice::Reject, true) => "You rejected it, and one field had been changed.",
        (Choice::Approve, true) => "You approved it, but one field had been changed.",
        (Choice::Reject, false) => "You rejected it, but nothing had been changed.",
    }
}

/// Both rates and the distance between them, with how sure they are.
fn result(answers: &Answers) -> Markup {
    let Answers { wrong_cases, hits, right_cases, false_alarms } = *answers;
    let found = Sensitivity::of(answers);
    html! {
        section aria-labelledby="result" {
            h2 #result { "How it went: " (answers.cases()) " cases" }
            dl {
                div.row {
                    dt { "Changed, and rejected" }
                    dd { span.num { (hits) " of " (wrong_cases) } " " span.dim { (rate(&complement(found.missed))) } }
                }
                div.row {
                    dt { "Right, but rejected" }
                    dd { span.num { (false_alarms) " of " (right_cases) } " " span.dim { (rate(&found.false_alarms)) } }
                }
                @if let Some(d_a) = found.d_a {
                    div.row {
                        dt { "d′" }
                        dd {
                            span.num { (format!("{d_a:.1}")) }
                            @if found.missed.too_few || found.false_alarms.too_few { " " span.dim { "too few cases to rely on" } }
                        }
                    }
                }
            }
            p.hint {
                "The first is how many mistakes you find (hits), the second how often you stop what is right (false alarms). "
                "d′ puts both together: 0 is guessing, 1 is fair, 3 and more is nearly always right. "
                "A rate is given from " (ENOUGH) " cases of its kind on, with its 95 % interval."
            }
        }
    }
}

/// The share of what was found, of the share of what was missed.
fn complement(missed: Estimate) -> Estimate {
    let rest = |share: Option<f64>| share.map(|share| 1.0 - share);
    let found = missed.of.saturating_sub(missed.wrong);
    Estimate {
        wrong: found,
        rate: rest(missed.rate),
        low: rest(missed.high),
        high: rest(missed.low),
        ..missed
    }
}

fn rate(estimate: &Estimate) -> String {
    match (estimate.rate, estimate.low, estimate.high) {
        (Some(rate), Some(low), Some(high)) => {
            format!("{} ({} to {})", percent(rate), percent(low), percent(high))
        }
        _ => "too few for a rate".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(markup: &Markup) -> String {
        let mut text = String::new();
        let mut in_tag = false;
        for character in markup.0.chars() {
            match character {
                '<' => in_tag = true,
                '>' => in_tag = false,
                other if !in_tag => text.push(other),
                _ => {}
            }
        }
        text
    }

    #[test]
    fn a_round_is_too_few_for_rates_and_many_are_not() {
        let few = text(&result(&Answers { wrong_cases: 5, hits: 4, right_cases: 7, false_alarms: 1 }));
        assert!(few.contains("4 of 5") && few.contains("1 of 7") && few.contains("12 cases"), "{few}");
        assert_eq!(few.matches("too few for a rate").count(), 2);
        assert!(few.contains("too few cases to rely on") && !few.contains(" % ("), "{few}");

        // 30 of 40 found: 10 of 40 missed are 25 %, by Wilson 14.2 % to 40.2 %.
        let many = text(&result(&Answers { wrong_cases: 40, hits: 30, right_cases: 30, false_alarms: 3 }));
        assert!(many.contains("75.0 % (59.8 % to 85.8 %)"), "{many}");
        assert!(many.contains("10.0 % (3.5 % to 25.6 %)"), "{many}");
        assert!(!many.contains("too few"), "{many}");
    }

    #[test]
    fn without_a_case_of_one_kind_there_is_no_distance() {
        let one_kind = text(&result(&Answers { wrong_cases: 12, hits: 12, right_cases: 0, false_alarms: 0 }));
        assert!(!one_kind.contains("d′0") && !one_kind.contains("d′-"), "{one_kind}");
        assert!(one_kind.contains("0 of 0"));
    }
}
