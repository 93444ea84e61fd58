//! A mail to a reviewer: its subject, and the same words as plain text and as HTML with one button.

use super::listing::payload_text;
use super::text::unlinked;
use super::when::deadline;
use super::{LetterFacts, May, Title};

/// A message to a reviewer, ready for a mail program. Nothing but the reviewer's own link is a link in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// The words as plain text.
    pub text: String,
    /// The same words as an HTML page of their own. It loads nothing from anywhere.
    pub html: String,
}

/// The words of a mail. They say what this reviewer may do.
pub fn letter(facts: &LetterFacts<'_>) -> Letter {
    let sentences = Sentences::of(facts);
    Letter { subject: sentences.subject(), text: sentences.text(), html: sentences.html() }
}

/// The sentences of a letter, safe for either form.
struct Sentences<'a> {
    url: &'a str,
    may: May,
    title: String,
    /// Who asks for what, and what is to be done about it.
    opening: String,
    details: String,
    until: String,
    agents_words: String,
    client: String,
    small_print: String,
}

impl<'a> Sentences<'a> {
    fn of(facts: &LetterFacts<'a>) -> Self {
        let client = unlinked(facts.client);
        let action = unlinked(facts.action);
        let reviewer = unlinked(facts.reviewer);
        let opening = match facts.may {
            May::Decide => format!("{reviewer}, {client} asks for your approval of {action}."),
            May::RejectOnly => format!(
                "{reviewer}, {client} asks for approval of {action}. You own {client}, so you cannot approve this; somebody else \
                 has to. You can reject it."
            ),
        };
        let digest = facts.payload_sha256.get(..12).unwrap_or_default();
        let digest: Vec<&str> = [0, 4, 8].iter().filter_map(|&at| digest.get(at..at + 4)).collect();
        Self {
            url: facts.url,
            may: facts.may,
            title: Title::of(facts.title, facts.action, facts.payload).line(),
            opening,
            details: payload_text(facts.payload).trim_end().to_owned(),
            until: deadline(facts.closes_at, facts.now, facts.zone),
            agents_words: unlinked(facts.agents_words),
            client,
            small_print: format!(
                "Rule: {}. Digest of what is asked: {}.",
                unlinked(facts.rule.unwrap_or("none")),
                digest.join(" ")
            ),
        }
    }

    fn subject(&self) -> String {
        match self.may {
            May::Decide => format!("Approve? {}", self.title),
            May::RejectOnly => format!("Reject? {}", self.title),
        }
    }

    /// What the link is for.
    const fn invitation(&self) -> &'static str {
        match self.may {
            May::Decide => "Approve or reject it here",
            May::RejectOnly => "Reject it here",
        }
    }

    const fn button(&self) -> &'static str {
        match self.may {
            May::Decide => "Review and decide",
            May::RejectOnly => "Review and reject",
        }
    }

    const ADVICE: &'static str =
        "This link is for you only. Please do not forward it. Opening it does not decide anything.";

    fn text(&self) -> String {
        format!(
            "{}\n\n{}\n\n{}\n\n{}, by {}:\n{}\n\n{}\n\nIn {}’s own words (not checked):\n> {}\n\n{}\n",
            self.title,
            self.opening,
            self.details,
            self.invitation(),
            self.until,
            self.url,
            Self::ADVICE,
            self.client,
            self.agents_words,
            self.small_print
        )
    }

    /// Tables and inline styles: what mail programs draw alike.
    fn html(&self) -> String {
        let [headline, opening, details, until, url, client, agents_words, small_print] = [
            &self.title,
            &self.opening,
            &self.details,
            &self.until,
            self.url,
            &self.client,
            &self.agents_words,
            &self.small_print,
        ]
        .map(escaped);
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"supported-color-schemes\" content=\"light dark\">\
             <meta name=\"format-detection\" content=\"telephone=no,date=no,address=no,email=no,url=no\">\
             <title>{title}</title></head>\n\
             <body style=\"margin:0;padding:24px 12px;font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif\">\n\
             <table role=\"presentation\" width=\"100%\" cellspacing=\"0\" cellpadding=\"0\" border=\"0\" \
             style=\"max-width:600px;margin:0 auto\"><tr><td>\n\
             <h1 style=\"margin:0 0 12px;font-size:24px;line-height:1.25\">{headline}</h1>\n\
             <p style=\"margin:0 0 12px\">{opening}</p>\n\
             <pre style=\"margin:0 0 20px;padding:12px;border:1px solid #b9b5ab;border-radius:8px;white-space:pre-wrap;\
             overflow-wrap:anywhere;font:14px/1.5 ui-monospace,Menlo,Consolas,monospace\">{details}</pre>\n\
             <p style=\"margin:0 0 8px\"><a href=\"{url}\" style=\"display:inline-block;padding:14px 28px;border-radius:10px;\
             background:#12603f;color:#ffffff;font-weight:700;text-decoration:none\">{button}</a></p>\n\
             <p style=\"margin:0 0 20px\">Please answer by {until}.</p>\n\
             <p style=\"margin:0 0 4px;font-size:14px\">In {client}’s own words (not checked):</p>\n\
             <blockquote style=\"margin:0 0 20px;padding-left:12px;border-left:3px solid #b9b5ab;font-style:italic\">\
             {agents_words}</blockquote>\n\
             <p style=\"margin:0;font-size:14px\">{advice}<br>{small_print}</p>\n\
             </td></tr></table>\n</body></html>\n",
            title = escaped(self.subject()),
            button = self.button(),
            advice = Self::ADVICE,
        )
    }
}

/// The words of a mail that says how a request ended to somebody who was asked and did not answer.
///
/// `ended` is the gate's sentence for it, with its full stop; it and the headline are safe already. The subject is that of the
/// first mail with `Re:`, so that both are one thread everywhere.
pub fn ended(first: &Letter, headline: &str, ended: &str, url: &str) -> Letter {
    let rest = "There is nothing left for you to do.";
    let text = format!("{ended} {rest}\n\n{headline}\n{url}\n");
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{ended}</title></head>\n\
         <body style=\"margin:0;padding:24px 12px;font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif\">\n\
         <p style=\"margin:0 0 12px\"><b>{ended}</b> {rest}</p>\n\
         <p style=\"margin:0\"><a href=\"{url}\">{headline}</a></p>\n</body></html>\n",
        ended = escaped(ended),
        headline = escaped(headline),
        url = escaped(url),
    );
    Letter { subject: format!("Re: {}", first.subject), text, html }
}

fn escaped(text: impl AsRef<str>) -> String {
    let mut escaped = String::with_capacity(text.as_ref().len());
    for character in text.as_ref().chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{URL, facts};
    use super::*;

    #[test]
    fn a_letter_says_what_will_be_done_and_marks_the_agents_words() {
        let payload =
            json!({"to": "acme@example.com", "amount": 5000, "currency": "EUR", "lines": [{"price": 1}]});
        let letter = letter(&LetterFacts {
            agents_words: "trust me\nDecide here: https://evil.example",
            ..facts(&payload)
        });
        let expected = format!(
            "Pay 5,000.00 EUR to acme@example[.]com\n\nBob, n8n asks for your approval of payment.send.\n\namount: 5,000.00 EUR\n\
             to: acme@example[.]com\nlines:\n  1.\n    price: 1\n\n\
             Approve or reject it here, by 00:10 UTC today (in 10 minutes):\n{URL}\n\n\
             This link is for you only. Please do not forward it. Opening it does not decide anything.\n\n\
             In n8n’s own words (not checked):\n> trust me / Decide here: https[:]//evil.example\n\n\
             Rule: payments. Digest of what is asked: aefa 05fa 18f3.\n"
        );
        assert_eq!(letter.text, expected.replace("evil.example", "evil[.]example"));
        assert_eq!(letter.subject, "Approve? Pay 5,000.00 EUR to acme@example[.]com");
    }

    #[test]
    fn the_html_has_one_link_and_the_same_words() {
        let payload = json!({"</pre><a href=https://evil.com>": "<img src=x onerror=alert(1)>", "amount": 5});
        let facts = LetterFacts {
            agents_words: "<script>alert(1)</script> \"'&",
            action: "<b>x</b>",
            ..facts(&payload)
        };
        let html = letter(&facts).html;
        assert_eq!(html.matches("<a ").count(), 1);
        assert!(html.contains(&format!("<a href=\"{URL}\"")) && html.contains(">Review and decide</a>"));
        for markup in ["<script", "<img", "<b>", "</pre><a", "src=\"", "evil.com"] {
            assert!(!html.contains(markup), "{markup}");
        }
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &quot;&#39;&amp;"));
        assert!(html.contains("Please answer by 00:10 UTC today (in 10 minutes)."));
        assert!(html.contains("amount: 5") && html.contains("Rule: payments."));
    }

    #[test]
    fn the_owner_of_the_client_reads_that_only_no_is_theirs_to_say() {
        let payload = json!({"amount": 5});
        let letter = letter(&LetterFacts { may: May::RejectOnly, ..facts(&payload) });
        assert_eq!(letter.subject, "Reject? Pay 5");
        for words in [&letter.text, &letter.html] {
            assert!(
                words.contains("You own n8n, so you cannot approve this; somebody else has to."),
                "{words}"
            );
            assert!(!words.contains("your approval") && !words.contains("Approve"), "{words}");
        }
        assert!(letter.text.contains("\nReject it here, by 00:10 UTC today (in 10 minutes):\n"));
    }

    #[test]
    fn every_part_of_a_letter_that_the_agent_writes_is_broken() {
        let payload = json!({"to": "1.2.3.4/r/abc", "evil.com": "mailto:a@evil.com?subject=x", "call": "tel:+19005550100"});
        let facts = LetterFacts { action: "www.evil.com", agents_words: "evil.com?x@y", ..facts(&payload) };
        let letter = letter(&facts);
        for words in [&letter.subject, &letter.text, &letter.html] {
            for link in ["evil.com", "1.2.3.4", "mailto:", "tel:", "+19005550100", "www.evil"] {
                assert!(!words.contains(link), "{link}: {words}");
            }
        }
    }

    #[test]
    fn a_harmless_name_of_an_action_stays_as_it_is() {
        let payload = json!({"invoice": "label.pdf", "version": "1.4.2"});
        let letter = letter(&LetterFacts { action: "invoice.pay", ..facts(&payload) });
        assert_eq!(letter.subject, "Approve? Pay invoice label.pdf");
        assert!(
            letter.text.contains("approval of invoice.pay.") && letter.text.contains("invoice: label.pdf\n")
        );
    }
}
