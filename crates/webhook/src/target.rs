//! What a callback URL may look like, and which hosts are exempt from the address guard.
//!
//! Everything here is decided without DNS and without a connection.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use placet_core::grammar::{HostPattern, without_root_dot};
use url::{Host, Url};

use crate::address::blocked_range;

const MAX_CHARACTERS: usize = 2048;

/// A checked callback URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    uri: Uri,
    host: Host<String>,
    port: u16,
}

/// What is wrong with a callback URL, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetProblem {
    /// More than 2048 characters, as given or once encoded.
    #[error("the URL is longer than {MAX_CHARACTERS} characters: shorten it")]
    TooLong,
    /// Not an absolute URL with a host.
    #[error("this is not a URL: give one such as `https://example.com/hook`")]
    Malformed,
    /// Neither http nor https.
    #[error("`{0}` URLs cannot be called: use https")]
    UnsupportedScheme(String),
    /// Credentials in the URL.
    #[error("a URL must not carry a user name or password: remove what stands before `@`")]
    UserInfo,
    /// A fragment, which is never sent.
    #[error("a fragment is never sent: remove `#` and what follows it")]
    Fragment,
    /// Port 0.
    #[error("nothing listens on port 0: name another port, or none")]
    PortZero,
    /// Plain http to a host that is not exempt.
    #[error("plain http is only for hosts named in `callback_hosts`: use https")]
    PlainHttp,
    /// A literal address that is not globally routable, or `localhost`.
    #[error("a {range} address is only for hosts named in `callback_hosts`: use a public host")]
    NotPublic {
        /// What kind of address it is, such as `loopback`.
        range: &'static str,
    },
}

/// Which addresses a connection may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Globally routable ones only, over https.
    PublicOnly,
    /// Wherever the name leads: the operator named this host in the policy.
    NamedByPolicy,
}

impl Target {
    /// Checks all of `url` that can be checked without DNS.
    ///
    /// http and https only, with a host, no user info, no fragment, at most 2048 characters, port not 0;
    /// plain http, literal non-public addresses and `localhost` only where `exempt` names the host.
    ///
    /// # Errors
    ///
    /// The first [`TargetProblem`] found.
    pub fn parse(url: &str, exempt: &[HostPattern]) -> Result<Self, TargetProblem> {
        if url.chars().count() > MAX_CHARACTERS {
            return Err(TargetProblem::TooLong);
        }
        // The parser would drop tabs and line ends from inside, and then we would call another URL than was given.
        if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(TargetProblem::Malformed);
        }
        let url = Url::parse(url).map_err(|_| TargetProblem::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TargetProblem::UnsupportedScheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetProblem::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(TargetProblem::Fragment);
        }
        // Encoding non-ASCII text lengthens it.
        if url.as_str().len() > MAX_CHARACTERS {
            return Err(TargetProblem::TooLong);
        }
        let host = url.host().ok_or(TargetProblem::Malformed)?.to_owned();
        let port = url.port_or_known_default().ok_or(TargetProblem::Malformed)?;
        if port == 0 {
            return Err(TargetProblem::PortZero);
        }
        let uri = Uri::try_from(url.as_str()).map_err(|_| TargetProblem::Malformed)?;
        let target = Self { url, uri, host: without_root_dot(host), port };
        target.guard(exempt)?;
        Ok(target)
    }

    /// The URL in its normal form: host in lower case, odd spellings of addresses undone.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The host (IPv6 in brackets) and the port that is called.
    pub fn host_and_port(&self) -> (&str, u16) {
        (self.url.host_str().unwrap_or_default(), self.port)
    }

    /// Scheme, host and port as one text (RFC 6454): `https://push.example.net`.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Decides how this target may be called, by the exemptions that hold now.
    pub(crate) fn guard(&self, exempt: &[HostPattern]) -> Result<Guard, TargetProblem> {
        if exempt.iter().any(|pattern| pattern.covers(&self.host, self.port)) {
            return Ok(Guard::NamedByPolicy);
        }
        if self.url.scheme() != "https" {
            return Err(TargetProblem::PlainHttp);
        }
        let range = match &self.host {
            Host::Ipv4(v4) => blocked_range(IpAddr::V4(*v4)),
            Host::Ipv6(v6) => blocked_range(IpAddr::V6(*v6)),
            // RFC 6761: these names are the machine itself, whatever a resolver says.
            Host::Domain(name) => (name == "localhost" || name.ends_with(".localhost")).then_some("loopback"),
        };
        match range {
            Some(range) => Err(TargetProblem::NotPublic { range }),
            None => Ok(Guard::PublicOnly),
        }
    }
}

/// Shows scheme, host and port only: a resume URL's path is a capability.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = self.host_and_port();
        write!(f, "Target({}://{host}:{port}/…)", self.url.scheme())
    }
}

#[cfg(test)]
mod tests {
    use placet_core::grammar::HostPattern;

    use super::{Guard, Target, TargetProblem};

    const LOOPBACK: TargetProblem = TargetProblem::NotPublic { range: "loopback" };
    const LINK_LOCAL: TargetProblem = TargetProblem::NotPublic { range: "link-local" };

    fn parsed(url: &str, exempt: &[&str]) -> Result<String, TargetProblem> {
        let exempt: Vec<_> = exempt.iter().map(|entry| HostPattern::parse(entry).unwrap()).collect();
        Target::parse(url, &exempt).map(|target| target.as_str().to_owned())
    }

    #[test]
    fn an_https_url_with_a_public_host_is_taken() {
        for url in [
            "https://example.com/hook?x=1",
            "https://example.com:8443/",
            "https://8.8.8.8/",
            "https://[2606:4700:4700::1111]/",
        ] {
            assert_eq!(parsed(url, &[]), Ok(url.to_owned()));
        }
        assert_eq!(parsed("HTTPS://EXAMPLE.com", &[]), Ok("https://example.com/".to_owned()));
        assert_eq!(
            parsed("https://bücher.example/é", &[]),
            Ok("https://xn--bcher-kva.example/%C3%A9".to_owned())
        );
    }

    #[test]
    fn a_url_that_cannot_be_called_is_refused_with_its_reason() {
        let scheme = |name: &str| TargetProblem::UnsupportedScheme(name.to_owned());
        for (url, problem) in [
            ("", TargetProblem::Malformed),
            ("example.com/hook", TargetProblem::Malformed),
            ("/hook", TargetProblem::Malformed),
            ("https://", TargetProblem::Malformed),
            ("https://?x", TargetProblem::Malformed),
            ("https://exa mple.com/", TargetProblem::Malformed),
            ("https://example.com/a\tb", TargetProblem::Malformed),
            ("https://example.com/\r\nx: y", TargetProblem::Malformed),
            (" https://example.com/", TargetProblem::Malformed),
            ("https://example.com:99999/", TargetProblem::Malformed),
            ("https://[::1/", TargetProblem::Malformed),
            ("https://1.2.3.256/", TargetProblem::Malformed),
            ("ftp://example.com/", scheme("ftp")),
            ("file:///etc/passwd", scheme("file")),
            ("gopher://127.0.0.1:6379/_x", scheme("gopher")),
            ("javascript:alert(1)", scheme("javascript")),
            ("https://user@example.com/", TargetProblem::UserInfo),
            ("https://:pass@example.com/", TargetProblem::UserInfo),
            ("https://example.com@127.0.0.1/", TargetProblem::UserInfo),
            ("https://example.com/#here", TargetProblem::Fragment),
            ("https://example.com:0/", TargetProblem::PortZero),
            ("http://example.com/", TargetProblem::PlainHttp),
            ("http://127.0.0.1/", TargetProblem::PlainHttp),
        ] {
            assert_eq!(parsed(url, &[]), Err(problem), "{url}");
        }
    }

    #[test]
    fn the_length_is_counted_as_given_and_as_sent() {
        let longest = format!("https://example.com/{}", "a".repeat(2028));
        assert_eq!(parsed(&longest, &[]), Ok(longest.clone()));
        assert_eq!(parsed(&format!("{longest}a"), &[]), Err(TargetProblem::TooLong));
        let grows = format!("https://example.com/{}", "é".repeat(400));
        assert_eq!(parsed(&grows, &[]), Err(TargetProblem::TooLong));
    }

    #[test]
    fn an_odd_spelling_of_an_address_is_still_that_address() {
        for host in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "0x7f.1",
            "0x7f.0.0.1",
            "0X7F000001",
            "0177.0.0.1",
            "017700000001",
            "2130706433",
            "0x7f000001",
            "%31%32%37.0.0.1",
            "127。0。0。1",
            "\u{ff11}27.0.0.1",
            "①②⑦.0.0.1",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:7f00:0001]",
            "[64:ff9b::7f00:1]",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "api.localhost",
            "\u{ff4c}ocalhost",
        ] {
            let url = format!("https://{host}/");
            assert_eq!(parsed(&url, &[]), Err(LOOPBACK), "{url}");
        }
        for host in [
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "[::ffff:169.254.169.254]",
            "[fe80::1]",
        ] {
            let url = format!("https://{host}/latest/meta-data/");
            assert_eq!(parsed(&url, &[]), Err(LINK_LOCAL), "{url}");
        }
        assert_eq!(
            parsed("https://[fd00:ec2::254]/", &[]),
            Err(TargetProblem::NotPublic { range: "private" })
        );
        assert_eq!(parsed("https://0/", &[]), Err(TargetProblem::NotPublic { range: "unspecified" }));
        for outside in ["https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/"] {
            assert_eq!(parsed(outside, &[]), Err(TargetProblem::Malformed));
        }
    }

    #[test]
    fn an_exempt_host_may_be_private_and_plain_on_the_ports_named() {
        for (url, entry) in [
            ("http://127.0.0.1:9000/", "127.0.0.1"),
            ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
            ("http://127.1:9000/", "127.0.0.1:9000"),
            ("https://127.0.0.1/", "127.0.0.1:443"),
            ("http://127.0.0.1/", "127.0.0.1:80"),
            ("http://[::1]:9000/", "[::1]"),
            ("http://[::1]:9000/", "[::1]:9000"),
            ("http://[::1]:9000/", "[0:0:0:0:0:0:0:1]"),
            ("http://N8N.internal:5678/", "n8n.INTERNAL:5678"),
            ("http://n8n.internal./", "n8n.internal"),
            ("http://n8n.internal/", "n8n.internal."),
            ("http://localhost:5678/", "localhost"),
            ("http://bücher.example/", "BÜCHER.example"),
        ] {
            let exempt = [HostPattern::parse(entry).unwrap()];
            let target = Target::parse(url, &exempt).expect(url);
            assert_eq!(target.guard(&exempt), Ok(Guard::NamedByPolicy), "{url}");
        }
    }

    #[test]
    fn an_exemption_covers_no_other_host_and_no_other_port() {
        for (url, entry) in [
            ("http://127.0.0.1:9001/", "127.0.0.1:9000"),
            ("http://127.0.0.2/", "127.0.0.1"),
            ("http://[::1]:9001/", "[::1]:9000"),
            ("http://[::ffff:127.0.0.1]/", "127.0.0.1"),
            ("http://localhost/", "127.0.0.1"),
            ("http://a.example.com/", "example.com"),
            ("http://notexample.com/", "example.com"),
            ("http://example.com.evil.test/", "example.com"),
        ] {
            assert_eq!(parsed(url, &[entry]), Err(TargetProblem::PlainHttp), "{url} {entry}");
        }
    }

    #[test]
    fn a_target_tells_its_host_and_port_and_hides_its_path() {
        let exempt = [HostPattern::parse("[::1]").unwrap()];
        let target = Target::parse("http://[::1]:5678/webhook-waiting/17?signature=s3cret", &exempt).unwrap();
        assert_eq!(target.host_and_port(), ("[::1]", 5678));
        assert_eq!(format!("{target:?}"), "Target(http://[::1]:5678/…)");
        let target = Target::parse("https://example.com/x", &[]).unwrap();
        assert_eq!(target.host_and_port(), ("example.com", 443));
    }

    #[test]
    fn problems_say_what_to_do() {
        assert_eq!(
            TargetProblem::PlainHttp.to_string(),
            "plain http is only for hosts named in `callback_hosts`: use https"
        );
        assert_eq!(
            LOOPBACK.to_string(),
            "a loopback address is only for hosts named in `callback_hosts`: use a public host"
        );
    }
}
