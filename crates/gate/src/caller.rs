//! Whether the run that asked still waits: for callers whose platform answers that.
//!
//! n8n tells a node nothing when a waiting run is stopped or deleted, but whoever looks at the run's resume URL learns it.
//! Delivery looks; here stands of which requests it may, and what follows.

use placet_core::request::{Canceller, Request};

use crate::commit::Step;
use crate::{Error, Gate};

/// How soon after the question it is first looked whether the run still waits, in milliseconds; each further look comes
/// after twice the time of the one before.
pub(crate) const FIRST_LOOK_MS: i64 = 30_000;
/// The longest time between two looks, in milliseconds.
const LONGEST_LOOK_MS: i64 = 30 * 60_000;

/// How long to wait after that many looks, in milliseconds.
pub fn next_look_ms(looks: u32) -> i64 {
    let factor = 1_i64.checked_shl(looks).filter(|factor| *factor > 0).unwrap_or(i64::MAX);
    FIRST_LOOK_MS.saturating_mul(factor).min(LONGEST_LOOK_MS)
}

/// The resume URL of the one n8n run that waits for this request; none where anybody else may wait for it.
///
/// A name that holds the run's number (`n8n-<execution>-…`, as the n8n node makes them) is asked under by that run alone. A
/// request under any other name is left alone: once withdrawn it stays so, and the next run with that name could not ask.
pub fn waiting_run(request: &Request) -> Option<&str> {
    request.pending()?;
    let [url] = request.state().callbacks() else { return None };
    let run = n8n_run(url)?;
    let name = request.asked().request_id.as_str();
    let own = name.strip_prefix("n8n-")?.strip_prefix(run)?.starts_with('-');
    own.then_some(url)
}

/// The number of the run whose waiting step has that resume URL: `…/webhook-waiting/<execution>/<step>?signature=…`.
///
/// The step must be named: a GET of a resume URL without one would wake a Wait node.
fn n8n_run(url: &str) -> Option<&str> {
    let path = url.split(['?', '#']).next()?;
    let (_, place) = path.split_once("/webhook-waiting/")?;
    let (run, step) = place.split_once('/')?;
    let is_run = !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_digit());
    (is_run && !step.is_empty() && !step.contains('/')).then_some(run)
}

impl Gate {
    /// Withdraws a request whose run is over, unless somebody else has begun to wait for it. What has ended stays as it is.
    pub async fn withdraw_for_run(&self, request: Request) -> Result<(), Error> {
        let policy = self.policy().await?;
        let approval_id = request.asked().approval_id.clone();
        let changed = self
            .change_loaded(request, &policy, |request, _, now| {
                if request.asked().approval_id != approval_id || waiting_run(request).is_none() {
                    return Ok(Step::Leave);
                }
                Ok(Step::Write(Box::new(request.cancel(Canceller::RunIsOver, now)?)))
            })
            .await;
        match changed {
            Ok(_) | Err(Error::Ended(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_known_by_the_resume_url_of_its_step() {
        for (url, run) in [
            ("https://n8n.example.com/webhook-waiting/17/4f1c?signature=x", Some("17")),
            ("https://example.com/n8n/webhook-waiting/17/4f1c", Some("17")),
            ("https://n8n.example.com/webhook-waiting/17?signature=x", None),
            ("https://n8n.example.com/webhook-waiting/17/?signature=a/b", None),
            ("https://n8n.example.com/webhook-waiting/17/a/b", None),
            ("https://n8n.example.com/webhook-waiting/x/4f1c", None),
            ("https://n8n.example.com/hook?to=/webhook-waiting/17/4f1c", None),
        ] {
            assert_eq!(n8n_run(url), run, "{url}");
        }
    }

    #[test]
    fn looks_become_rare() {
        let waits: Vec<i64> = (0..9).map(|looks| next_look_ms(looks) / 1000).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]);
        assert_eq!(next_look_ms(u32::MAX), LONGEST_LOOK_MS);
    }
}
