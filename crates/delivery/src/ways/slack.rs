//! An incoming webhook of Slack, or of whatever understands the same. Its address is all that it takes to post.
//!
//! Source: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.

use placet_core::chat::SecretText;
use placet_webhook::{Sender, Target};
use serde_json::json;

use super::posts;
use crate::alert::AlertNotice;
use crate::channel::SendOutcome;
use crate::report::ReportNotice;
use crate::slack::{authority, escaped};

/// Says it in the channel that the webhook is for.
pub(super) async fn send(sender: &Sender, url: &SecretText, notice: &AlertNotice) -> SendOutcome {
    post(sender, url, text(notice)).await
}

/// Posts that text.
pub(super) async fn post(sender: &Sender, url: &SecretText, text: String) -> SendOutcome {
    // The operator named this address: its host is meant, whatever it is.
    let exempt: Vec<_> = authority(url.expose()).into_iter().collect();
    let target = match Target::parse(url.expose(), &exempt) {
        Ok(target) => target,
        Err(problem) => return SendOutcome::Retry(problem.to_string()),
    };
    let body = json!({ "text": text }).to_string();
    let attempt = sender.post(&target, &exempt, &[], body.as_bytes()).await;
    // 400: this text is never taken. An app or a channel that is gone (403, 404, 410) can come back, or get a new address.
    posts::outcome(attempt, "Slack", &[400])
}

fn text(notice: &AlertNotice) -> String {
    let mut lines = vec![
        format!("*{}*", escaped(&notice.headline())),
        escaped(&notice.happened),
        escaped(&notice.since_line()),
    ];
    lines.extend(notice.to_do.as_ref().map(|to_do| format!("What to do: {}", escaped(to_do))));
    lines.push(format!("_{}_", escaped(&notice.gate)));
    lines.join("\n")
}

/// A weekly report.
pub(super) fn report_text(notice: &ReportNotice) -> String {
    let mut lines = vec![format!("*{}*", escaped(&notice.title))];
    lines.extend(notice.lines.iter().map(|line| escaped(line)));
    lines.push(format!("<{}|The page with charts>", escaped(&notice.link)));
    lines.push(format!("_{}_", escaped(&notice.gate)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use placet_core::Timestamp;

    use super::*;

    #[test]
    fn what_came_from_outside_mentions_nobody_and_links_nowhere() {
        let notice = AlertNotice {
            happened: "<!channel> & <https://evil.example|x>".into(),
            ..AlertNotice::trial("ops", Timestamp::from_millis(0), "https://gate.example.com")
        };
        assert_eq!(
            text(&notice),
            "*Test of an alert*\n&lt;!channel&gt; &amp; &lt;https://evil.example|x&gt;\n\
             Since 1970-01-01T00:00:00.000Z.\nWhat to do: Nothing is to be done.\n_https://gate.example.com_"
        );
    }
}
