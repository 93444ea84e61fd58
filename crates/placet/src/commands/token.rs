//! `placet token`: check a decision's token, and use it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use placet_core::Timestamp;
use placet_core::words::text::plain;
use serde_json::Value;

use crate::api::Api;
use crate::cli::{Globals, TokenOf};
use crate::console::{Style, harmless, print};
use crate::failure::{Exit, Failure};
use crate::folder::Folder;
use crate::local::LocalGate;
use crate::text::clock_time;

/// Checks a token: with the data folder's keys and records, or at the gate's address.
pub(crate) async fn verify(globals: &Globals, token: &str, of: &TokenOf) -> Result<Exit, Failure> {
    let token = read_token(token)?;
    let payload = of.payload.as_deref().map(super::read_object).transpose()?;
    let (api, _local) = api_for(globals, &token, of.client.as_deref()).await?;
    let answer = api.verify(&token, payload.as_ref()).await?;
    let valid = answer.get("valid").and_then(Value::as_bool) == Some(true);
    let exit = if valid { Exit::Done } else { Exit::Refused };
    if globals.json {
        print(&super::pretty(&answer));
        return Ok(exit);
    }
    let style = Style::of_stdout();
    let mut text = if valid {
        format!("{}\n", style.good("valid"))
    } else {
        let problem = answer.get("problem").and_then(Value::as_str).unwrap_or("malformed");
        format!("{}: {} ({problem})\n", style.bad("not valid"), words(problem))
    };
    if let Some(claims) = answer.get("claims").filter(|claims| claims.is_object()) {
        text.push_str(&describe_claims(style, claims));
    }
    print(&text);
    Ok(exit)
}

/// Uses a token.
pub(crate) async fn redeem(globals: &Globals, token: &str, of: &TokenOf, by: &str) -> Result<Exit, Failure> {
    let token = read_token(token)?;
    let payload = of.payload.as_deref().map(super::read_object).transpose()?;
    let (api, _local) = api_for(globals, &token, of.client.as_deref()).await?;
    let answer = api.redeem(&token, payload.as_ref(), by).await?;
    if globals.json {
        // A refusal is a result too: what was decided about this token.
        if answer.status == 409 {
            print(&super::pretty(&answer.json()));
            return Ok(Exit::Refused);
        }
        print(&super::pretty(&answer.accept()?));
        return Ok(Exit::Done);
    }
    let redeemed = answer.accept()?;
    let style = Style::of_stdout();
    let first = redeemed.get("first").and_then(Value::as_bool) == Some(true);
    let mut text = if first {
        format!("{} by {}\n", style.good("redeemed"), harmless(by))
    } else {
        format!("{} by {} before: this is a retry\n", style.good("redeemed"), harmless(by))
    };
    if let Some(claims) = redeemed.get("claims") {
        text.push_str(&describe_claims(style, claims));
    }
    print(&text);
    Ok(Exit::Done)
}

fn read_token(named: &str) -> Result<String, Failure> {
    let text = if named == "-" {
        String::from_utf8(super::read_input("-".as_ref())?)
            .map_err(|_| Failure::usage("standard input is not a token"))?
    } else {
        named.to_owned()
    };
    let text = text.trim().to_owned();
    if text.is_empty() {
        return Err(
            Failure::usage("there is no token").advise("give it as an argument, or `-` and standard input")
        );
    }
    Ok(text)
}

/// The API as the client that is named, or else the one that the token is for. The local gate must live as long as it is
/// used.
async fn api_for(
    globals: &Globals,
    token: &str,
    client: Option<&str>,
) -> Result<(Api, Option<LocalGate>), Failure> {
    let unverified = unverified_audience(token);
    if let Some(url) = &globals.url {
        // An executor signs as itself, not as the client whose token it uses.
        let own = client.map(str::to_owned).or_else(super::client_of_environment).or(unverified);
        return super::api_at(url, globals, own.as_deref()).await;
    }
    let named = client.or(unverified.as_deref());
    let local = LocalGate::for_command(Folder::existing(globals.data())?)?;
    local.install(globals.policy.as_deref()).await?;
    let policy = local.policy().await?;
    // A token that names nobody is checked, and refused, as if it were of the only client, or of any.
    let client = match named {
        Some(named) => super::known_client(named, &policy)?,
        None => policy.clients.first().ok_or_else(|| Failure::refused("the policy has no clients"))?,
    };
    Ok((super::api_here(&local, client), Some(local)))
}

/// Whom the token says it is for. Anybody could have written that: it only picks the key to check it with.
fn unverified_audience(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims.get("aud")?.as_str().map(str::to_owned)
}

fn words(problem: &str) -> &'static str {
    match problem {
        "malformed" => "this is not a placet token",
        "wrong_algorithm" => "it names another algorithm than the one of the client's key",
        "invalid_signature" => "no valid key of the client signed it",
        "wrong_issuer" => "it is of another gate",
        "wrong_audience" => "it is for another client",
        "token_expired" => "it was valid for a limited time, and that is over",
        "payload_mismatch" => "the payload is not the one that was approved",
        "not_approved" => "it proves that the request was not approved",
        "unknown_approval" => "the gate has no record of this decision",
        _ => "the gate refuses it",
    }
}

/// What a token says, one claim a line.
pub(crate) fn describe_claims(style: Style, claims: &Value) -> String {
    let text = |key: &str| claims.get(key).and_then(Value::as_str).unwrap_or_default();
    let seconds = |key: &str| {
        let at = claims.get(key).and_then(Value::as_i64).unwrap_or(0);
        clock_time(Timestamp::from_millis(at.saturating_mul(1000)))
    };
    let by: Vec<&str> = claims
        .get("decided_by")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let lines = [
        ("status", text("status").to_owned()),
        ("by", by.join(", ")),
        ("action", text("action").to_owned()),
        ("request", text("sub").to_owned()),
        ("for", text("aud").to_owned()),
        ("rule", text("rule").to_owned()),
        ("digest", text("payload_sha256").to_owned()),
        ("decided", seconds("iat")),
        ("until", seconds("exp")),
        ("gate", text("iss").to_owned()),
    ];
    let mut out = String::new();
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        // The gate's own address is the gate's to say: it stays one that can be copied.
        let value = if *name == "gate" { plain(value) } else { harmless(value) };
        let _ = writeln!(out, "  {}  {value}", style.dim(&format!("{name:<8}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_token_is_for_is_read_from_any_text_without_trust() {
        let token = format!("h.{}.s", URL_SAFE_NO_PAD.encode(r#"{"aud":"ci"}"#));
        assert_eq!(unverified_audience(&token).as_deref(), Some("ci"));
        for bad in ["", "a", "a.b.c", "..", "a.e30.c"] {
            assert_eq!(unverified_audience(bad), None, "{bad}");
        }
    }
}
