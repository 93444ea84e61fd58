//! `placet practice`: a reviewer's link to a practice round.

use serde_json::json;

use super::Opened;
use crate::cli::{Globals, Practice};
use crate::console::{note, print};
use crate::failure::{Exit, Failure};
use crate::text::clock_time;

/// Prints the link, alone on the last line; on standard error, for whom and until when.
pub(crate) async fn run(globals: &Globals, options: Practice) -> Result<Exit, Failure> {
    let Opened { gate, policy, .. } = Opened::of(globals, &options.on).await?;
    let reviewer = super::inbox::known_reviewer(&options.reviewer, &policy)?;
    let link = gate.practice_link(&reviewer, &policy).await?;
    let url = format!("{}/practice/{link}", gate.base_url(&policy));
    let ends = link.ends_at();
    if globals.json {
        let said = json!({ "reviewer": reviewer.as_str(), "link": url, "expires_at": ends.to_string() });
        print(&super::pretty(&said));
        return Ok(Exit::Done);
    }
    note(&format!("for {reviewer} alone, until {}: 12 cases; nothing is recorded", clock_time(ends)));
    print(&format!("{url}\n"));
    Ok(Exit::Done)
}
