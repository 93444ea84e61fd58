//! What all pages share: the shell, the style, the scripts, the policy that pins them, and times.
//!
//! Knows nothing of requests. Nothing is loaded from anywhere: style and scripts are inline and pinned by hash.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;
use time::OffsetDateTime;

static STYLE: LazyLock<String> = LazyLock::new(|| packed(include_str!("page.css")));
static INBOX_STYLE: LazyLock<String> =
    LazyLock::new(|| packed(concat!(include_str!("page.css"), include_str!("inbox.css"))));
static PAGE_SCRIPT: LazyLock<String> =
    LazyLock::new(|| packed(concat!(include_str!("times.js"), include_str!("page.js"))));
static INBOX_SCRIPT: LazyLock<String> =
    LazyLock::new(|| packed(concat!(include_str!("times.js"), include_str!("inbox.js"))));

static REPORT_STYLE: LazyLock<String> =
    LazyLock::new(|| packed(concat!(include_str!("page.css"), "\n", include_str!("report.css"))));

static OPERATOR_STYLE: LazyLock<String> =
    LazyLock::new(|| packed(concat!(include_str!("page.css"), "\n", include_str!("operator.css"))));

static OPERATOR_POLICY: LazyLock<String> = LazyLock::new(|| {
    policy(&OPERATOR_STYLE, "script-src 'none'; require-trusted-types-for 'script'", "data:")
});

/// The `Content-Security-Policy` of the operator's page, which has no scripts.
pub fn operator_content_security_policy() -> &'static str {
    &OPERATOR_POLICY
}

static PAGE_POLICY: LazyLock<String> = LazyLock::new(|| {
    let script = source_hash(&PAGE_SCRIPT);
    // The page's script makes no markup, so the browser may refuse every attempt at it.
    let extra = format!(
        "script-src {script}; connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'"
    );
    policy(&STYLE, &extra, "data:")
});
static INBOX_POLICY: LazyLock<String> = LazyLock::new(|| {
    let script = source_hash(&INBOX_SCRIPT);
    let extra = format!("script-src {script}; connect-src 'self'; manifest-src 'self'; worker-src 'self'");
    policy(&INBOX_STYLE, &extra, "data: 'self'")
});

static REPORT_POLICY: LazyLock<String> =
    LazyLock::new(|| policy(&REPORT_STYLE, "script-src 'none'; require-trusted-types-for 'script'", "data:"));

/// The `Content-Security-Policy` of the report, which has no scripts.
pub fn report_content_security_policy() -> &'static str {
    &REPORT_POLICY
}

const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E%3Crect \
    width='24' height='24' rx='7' fill='%23124b3a'/%3E%3Cpath d='m6.5 12.5 3.7 3.7 7.3-8' fill='none' stroke='%23fff' \
    stroke-width='2.6'/%3E%3C/svg%3E";

/// The `Content-Security-Policy` of the review page and of notices.
pub fn content_security_policy() -> &'static str {
    &PAGE_POLICY
}

/// The `Content-Security-Policy` of the inbox, which asks its own address for news.
pub fn inbox_content_security_policy() -> &'static str {
    &INBOX_POLICY
}

fn policy(style: &str, scripts: &str, images: &str) -> String {
    let style = source_hash(style);
    format!(
        "default-src 'none'; style-src {style}; {scripts}; img-src {images}; form-action 'self'; frame-ancestors 'none'; \
         base-uri 'none'"
    )
}

fn source_hash(source: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(source.as_bytes())))
}

/// Drops indentation, blank lines and whole-line comments: they cost bytes on every page.
fn packed(source: &str) -> String {
    let mut packed = String::with_capacity(source.len());
    for line in source.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let is_comment = line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/"));
        if !is_comment {
            packed.push_str(line);
            packed.push('\n');
        }
    }
    packed
}

/// Which script a page carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    None,
    /// None, and the report's own style.
    Report,
    /// None, and the operator's page's own style.
    Operator,
    Review,
    Inbox,
}

/// What stands around a page's content.
pub(super) struct Shell<'a> {
    /// The window's title.
    pub(super) title: &'a str,
    /// Display name of whose page it is, if it is somebody's.
    pub(super) reviewer: Option<&'a str>,
    /// Which script it carries.
    pub(super) script: Script,
    /// Where the manifest of an app is, if the page is one: a path.
    pub(super) manifest: Option<&'a str>,
    /// The path before all paths of the gate.
    pub(super) prefix: &'a str,
}

/// A whole page around its content.
pub(super) fn page(title: &str, reviewer: Option<&str>, script: Script, content: &Markup) -> Markup {
    framed(&Shell { title, reviewer, script, manifest: None, prefix: "" }, content)
}

/// The report's page: its own style, for nobody in particular, and no scripts.
pub(super) fn report_page(title: &str, content: &Markup) -> Markup {
    let shell = Shell { title, reviewer: None, script: Script::Report, manifest: None, prefix: "" };
    framed(&shell, content)
}

/// [`page`], which may be an app.
pub(super) fn framed(shell: &Shell<'_>, content: &Markup) -> Markup {
    let Shell { title, reviewer, script, manifest, prefix } = *shell;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) }
                meta name="viewport" content="width=device-width,initial-scale=1";
                meta name="robots" content="noindex,nofollow";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                // Phones turn numbers, dates and addresses into links of their own: untrusted text stays text.
                meta name="format-detection" content="telephone=no,date=no,address=no,email=no,url=no";
                link rel="icon" href=(PreEscaped(ICON));
                @if let Some(manifest) = manifest {
                    link rel="manifest" href=(manifest);
                    link rel="apple-touch-icon" href=(format!("{prefix}/icon-192.png"));
                    meta name="theme-color" content="#124b3a";
                }
                @if script == Script::Inbox {
                    style { (PreEscaped(INBOX_STYLE.as_str())) }
                    noscript { meta http-equiv="refresh" content="30"; }
                } @else if script == Script::Report {
                    style { (PreEscaped(REPORT_STYLE.as_str())) }
                } @else if script == Script::Operator {
                    style { (PreEscaped(OPERATOR_STYLE.as_str())) }
                } @else {
                    style { (PreEscaped(STYLE.as_str())) }
                }
            }
            body {
                header {
                    span.brand { (seal()) "Placet" }
                    @if let Some(reviewer) = reviewer {
                        span.who { "for " (super::text::line(reviewer)) }
                    }
                }
                main { (content) }
                @match script {
                    Script::None | Script::Report | Script::Operator => {}
                    Script::Review => script { (PreEscaped(PAGE_SCRIPT.as_str())) },
                    Script::Inbox => script { (PreEscaped(INBOX_SCRIPT.as_str())) },
                }
            }
        }
    }
}

fn seal() -> Markup {
    html! {
        svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" {
            rect.seal width="24" height="24" rx="7" {}
            path d="m6.5 12.5 3.7 3.7 7.3-8" {}
        }
    }
}

/// A drawn sign beside words that say the same.
#[derive(Clone, Copy)]
pub(super) enum Sign {
    Check,
    Cross,
    Clock,
    Back,
}

impl Sign {
    /// The sign as inline SVG, silent to a screen reader.
    pub(super) fn draw(self) -> Markup {
        let strokes = match self {
            Self::Check => "m5 12.5 4.7 4.7L19 7.5",
            Self::Cross => "m6.5 6.5 11 11m0-11-11 11",
            Self::Clock => "M12 7v5.4l3.4 2M12 3.2a8.8 8.8 0 1 1 0 17.6 8.8 8.8 0 0 1 0-17.6",
            Self::Back => "M10 6.5 4.5 12l5.5 5.5M5 12h14.5",
        };
        html! { svg.sign viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" { path d=(strokes) {} } }
    }
}

/// A moment to the minute. The page's script writes it in the reader's own time; without it, it is in UTC.
pub(super) fn moment(at_ms: i64) -> Markup {
    utc(at_ms).map_or_else(unknown, |at| dated(at, &format!("{}, ", day(at))))
}

/// A moment of which the day need not be said when it is today's.
pub(super) fn moment_near(at_ms: i64, now_ms: i64) -> Markup {
    match (utc(at_ms), utc(now_ms)) {
        (Some(at), Some(now)) if at.date() == now.date() => dated(at, ""),
        _ => moment(at_ms),
    }
}

/// A moment to the second, in UTC for every reader: for the details, and for comparing with a log.
pub(super) fn exact_moment(at_ms: i64) -> Markup {
    let Some(at) = utc(at_ms) else { return unknown() };
    html! { time.utc datetime=(rfc3339(at)) { (day(at)) ", " (clock(at)) " UTC" } }
}

fn unknown() -> Markup {
    html! { "an unknown time" }
}

fn dated(at: OffsetDateTime, day: &str) -> Markup {
    let (hour, minute, _) = at.time().as_hms();
    html! {
        time datetime=(rfc3339(at)) { (day) (format!("{hour:02}:{minute:02}")) " UTC" }
    }
}

fn rfc3339(at: OffsetDateTime) -> String {
    format!("{:04}-{:02}-{:02}T{}Z", at.year(), u8::from(at.month()), at.day(), clock(at))
}

fn clock(at: OffsetDateTime) -> String {
    let (hour, minute, second) = at.time().as_hms();
    format!("{hour:02}:{minute:02}:{second:02}")
}

fn day(at: OffsetDateTime) -> String {
    let month = at.month().to_string();
    format!("{} {} {}", at.day(), month.get(..3).unwrap_or_default(), at.year())
}

fn utc(at_ms: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(at_ms.div_euclid(1000))
        .ok()
        .filter(|at| (1..=9999).contains(&at.year()))
}

/// A span of time in its one or two largest units, rounded down.
pub(super) fn span(span_ms: i64) -> String {
    let seconds = (span_ms / 1000).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let hours_left = hours % 24;
    match (days, hours, minutes) {
        (0, 0, 0) => "less than a minute".to_owned(),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) if minutes % 60 == 0 => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        (1, _, _) if hours_left == 0 => "1 day".to_owned(),
        (1, _, _) => format!("1 day {hours_left} h"),
        _ => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between<'a>(page: &'a str, open: &str, close: &str) -> Vec<&'a str> {
        page.split(open).skip(1).map(|rest| rest.split(close).next().unwrap()).collect()
    }

    #[test]
    fn the_policy_names_the_bytes_that_the_page_carries() {
        for (script, policy) in
            [(Script::Review, content_security_policy()), (Script::Inbox, inbox_content_security_policy())]
        {
            let page = page("t", Some("Bob"), script, &html! {}).into_string();
            let (styles, scripts) =
                (between(&page, "<style>", "</style>"), between(&page, "<script>", "</script>"));
            assert_eq!((styles.len(), scripts.len()), (1, 1));
            assert!(policy.contains(&format!("style-src {};", source_hash(styles[0]))));
            assert!(policy.contains(&format!("script-src {};", source_hash(scripts[0]))));
            assert_eq!(page.matches("<script").count(), 1);
            assert!(!page.contains(" style=") && !page.contains(" onclick="));
        }
    }

    #[test]
    fn the_report_s_policy_names_its_style_and_no_script() {
        let page = report_page("t", &html! {}).into_string();
        let styles = between(&page, "<style>", "</style>");
        let policy = report_content_security_policy();
        assert!(policy.contains(&format!("style-src {};", source_hash(styles[0]))) && styles.len() == 1);
        assert!(policy.contains("script-src 'none';") && !page.contains("<script"));
    }

    #[test]
    fn the_operator_s_policy_names_its_style_and_no_script() {
        let page = page("t", None, Script::Operator, &html! {}).into_string();
        let styles = between(&page, "<style>", "</style>");
        let policy = operator_content_security_policy();
        assert!(policy.contains(&format!("style-src {};", source_hash(styles[0]))) && styles.len() == 1);
        assert!(policy.contains("script-src 'none';") && !page.contains("<script"));
    }

    #[test]
    fn the_policy_lets_nothing_else_in() {
        let policy = content_security_policy();
        for directive in
            ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(directive), "{directive}");
        }
        assert!(
            !policy.contains("unsafe") && policy.contains("connect-src 'self';") && !policy.contains('\n')
        );
        assert!(inbox_content_security_policy().contains("connect-src 'self'"));
    }

    #[test]
    fn moments_are_utc_to_the_minute_and_exact_in_the_details() {
        let at = 1_795_430_527_999;
        let expected = "<time datetime=\"2026-11-23T10:42:07Z\">23 Nov 2026, 10:42 UTC</time>";
        assert_eq!(moment(at).into_string(), expected);
        assert_eq!(moment_near(at, 0).into_string(), expected);
        let today = "<time datetime=\"2026-11-23T10:42:07Z\">10:42 UTC</time>";
        assert_eq!(moment_near(at, 1_795_430_000_000).into_string(), today);
        let exact = "<time class=\"utc\" datetime=\"2026-11-23T10:42:07Z\">23 Nov 2026, 10:42:07 UTC</time>";
        assert_eq!(exact_moment(at).into_string(), exact);
        for far in [i64::MAX, i64::MIN] {
            assert_eq!(moment(far).into_string(), "an unknown time");
            assert_eq!(exact_moment(far).into_string(), "an unknown time");
        }
    }

    #[test]
    fn spans_use_their_largest_units() {
        for (seconds, expected) in [
            (-5, "less than a minute"),
            (59, "less than a minute"),
            (60, "1 min"),
            (3600, "1 h"),
            (3720, "1 h 2 min"),
            (86_400, "1 day"),
            (90_000, "1 day 1 h"),
            (400_000, "4 days"),
        ] {
            assert_eq!(span(seconds * 1000), expected);
        }
    }
}
