//! One grammar each for what people write in more than one place: durations, hosts and addresses.
//!
//! The policy, the command line and the guard of callbacks read them here, so that what one of them takes the others
//! understand.

use std::fmt;

use url::{Host, Url};

/// Reads a duration: a whole number above 0 and a unit, such as `500ms`, `90s`, `10m`, `24h` or `7d`. In milliseconds.
///
/// `Err` says what is wrong, in words.
pub fn duration_ms(text: &str) -> Result<i64, String> {
    let fault = || {
        format!("`{text}` is not a duration; write a whole number and a unit: `90s`, `10m`, `24h` or `7d`")
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(fault)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => crate::time::DAY_MS,
        _ => return Err(fault()),
    };
    if digits == 0 {
        return Err(fault());
    }
    let number: i64 = number.parse().map_err(|_| format!("`{text}` is too long a time"))?;
    if number == 0 {
        return Err(format!("`{text}` is no time at all"));
    }
    number.checked_mul(unit_ms).ok_or_else(|| format!("`{text}` is too long a time"))
}

/// Whether it is an action: a dotted name of `A-Za-z0-9_:-` such as `invoice.pay`, of at most 128 characters.
pub fn is_action(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-'))
    };
    text.len() <= 128 && text.split('.').all(part)
}

/// A host, or a host and one of its ports: `n8n.example.com`, `127.0.0.1:5678`, `[::1]:5678`.
///
/// Shown in its one normal form: names in lower case and in ASCII (IDNA), without a dot at the end; addresses as
/// RFC 5952 writes them, IPv6 in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    host: Host<String>,
    port: Option<u16>,
}

impl HostPattern {
    /// Reads `host` or `host:port`. `Err` says what is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        const SHAPE: &str =
            "expected a host or host:port, such as `n8n.example.com`, `10.0.0.7:5678` or `[::1]:5678`";
        if text.contains("://") || text.contains('/') {
            return Err(format!("`{text}` has a scheme or a path; {SHAPE}"));
        }
        if text.contains('*') {
            return Err(format!("`{text}` has a wildcard, but each host is named by itself; {SHAPE}"));
        }
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return Err(format!("`{text}` is an IPv6 address without its brackets; write `[{text}]`"));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => {
                let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                let number = digits.then(|| port.parse::<u16>().ok()).flatten().filter(|port| *port > 0);
                let number =
                    number.ok_or_else(|| format!("`{port}` is not a port from 1 to 65535; {SHAPE}"))?;
                (host, Some(number))
            }
            _ => (text, None),
        };
        let fault = || format!("`{text}` is not a host; {SHAPE}");
        if host.contains(char::is_whitespace) || host.contains('%') {
            return Err(fault());
        }
        let host = without_root_dot(Host::parse(host).map_err(|_| fault())?);
        match &host {
            Host::Domain(name) if !is_hostname(name) => Err(fault()),
            Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_) => Ok(Self { host, port }),
        }
    }

    /// Whether it means that host of a URL, called on that port. A pattern without a port means all ports.
    pub fn covers(&self, host: &Host<String>, port: u16) -> bool {
        self.host == without_root_dot(host.clone()) && self.port.is_none_or(|own| own == port)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        self.port.iter().try_for_each(|port| write!(f, ":{port}"))
    }
}

/// Names as resolvers take them: labels of letters, digits, `-` and `_` (container networks use it).
fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// A host without the dot that ends a name which is whole: `example.com.` and `example.com` are one host.
pub fn without_root_dot(host: Host<String>) -> Host<String> {
    match host {
        Host::Domain(name) => Host::Domain(name.strip_suffix('.').unwrap_or(&name).to_owned()),
        address @ (Host::Ipv4(_) | Host::Ipv6(_)) => address,
    }
}

/// Reads the address of a gate: http or https, a host, perhaps a port and a path; no user name, query or fragment, and
/// no slash at the end. It is the text itself, because tokens are compared with it letter by letter.
///
/// `Err` says what is wrong, in words.
pub fn base_url(text: &str) -> Result<&str, String> {
    const SHAPE: &str = "expected an http(s) address such as `https://gate.example.com`";
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("`{}` has a blank in it; {SHAPE}", text.escape_debug()));
    }
    let url = Url::parse(text).map_err(|_| format!("`{text}` is not an address; {SHAPE}"))?;
    if !text.starts_with("https://") && !text.starts_with("http://") {
        return Err(format!("`{text}` does not begin with `https://`; {SHAPE}"));
    }
    if text.contains(":///") {
        return Err(format!("`{text}` has no host; {SHAPE}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("the address carries a user name; {SHAPE}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("`{text}` has a `?` or `#`; {SHAPE}"));
    }
    if text.ends_with('/') {
        return Err(format!("`{text}` ends in a slash; write it without"));
    }
    if let Some(Host::Domain(name)) = url.host()
        && !is_hostname(name.strip_suffix('.').unwrap_or(name))
    {
        return Err(format!("`{text}` has no valid host; {SHAPE}"));
    }
    if url.port() == Some(0) {
        return Err(format!("nothing listens on port 0; {SHAPE}"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        for (text, ms) in [
            ("1ms", 1),
            ("90s", 90_000),
            ("10m", 600_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("007d", 604_800_000),
        ] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for bad in [
            "",
            "0s",
            "10",
            "m",
            "1.5h",
            "-1h",
            "+1h",
            "1 h",
            "1h ",
            " 1h",
            "1H",
            "1h30m",
            "10 minutes",
            "1w",
            "１h",
            "1e3s",
            "9223372036854775808s",
            "106751991168d",
            "soon",
        ] {
            let error = duration_ms(bad).unwrap_err();
            assert!(error.starts_with(&format!("`{bad}` is")), "{error}");
        }
    }

    #[test]
    fn an_action_is_a_dotted_name() {
        let longest = "a".repeat(128);
        for fine in ["invoice.pay", "unspecified", "mcp:tool.call-it_2", "A.b.C", &longest] {
            assert!(is_action(fine), "{fine}");
        }
        let too_long = "a".repeat(129);
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a/b", "ä", "a\n", "a,b", &too_long] {
            assert!(!is_action(bad), "{bad}");
        }
    }

    #[test]
    fn a_host_has_one_normal_form() {
        for (text, normal) in [
            ("n8n.example.com", "n8n.example.com"),
            ("N8N.Example.COM.", "n8n.example.com"),
            ("n8n.internal:5678", "n8n.internal:5678"),
            ("n8n_worker", "n8n_worker"),
            ("localhost:65535", "localhost:65535"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example:80", "xn--bcher-kva.example:80"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.1:9000", "127.0.0.1:9000"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]:5678", "[::1]:5678"),
        ] {
            let pattern = HostPattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(pattern.to_string(), normal, "{text}");
            assert_eq!(HostPattern::parse(normal).unwrap(), pattern, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_host_is_refused_with_its_reason() {
        for (text, told) in [
            ("example.com:x", "`x` is not a port"),
            ("example.com:", "`` is not a port"),
            ("example.com:0", "`0` is not a port"),
            ("example.com:65536", "`65536` is not a port"),
            ("example.com:+80", "`+80` is not a port"),
            ("[::1]:x", "`x` is not a port"),
            ("a:1:2", "is not a host"),
            ("https://example.com", "scheme or a path"),
            ("example.com/", "scheme or a path"),
            ("*.example.com", "wildcard"),
            ("*", "wildcard"),
            ("::1", "write `[::1]`"),
            ("[::1", "not a"),
            ("[fe80::1%eth0]", "is not a host"),
            ("%31.example", "is not a host"),
            ("user@example.com", "is not a host"),
            ("exa mple.com", "is not a host"),
            ("example..com", "is not a host"),
            ("-a.example", "is not a host"),
            ("1.2.3.256", "is not a host"),
            ("", "is not a host"),
            (".", "is not a host"),
            ("example.com?x", "is not a host"),
            ("example.com#x", "is not a host"),
        ] {
            let error = HostPattern::parse(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
        assert!(HostPattern::parse(&format!("{}.com", "a".repeat(64))).is_err());
    }

    #[test]
    fn a_pattern_covers_its_own_host_and_port_only() {
        let covers = |pattern: &str, url: &str| {
            let url = Url::parse(url).unwrap();
            let host = url.host().unwrap().to_owned();
            HostPattern::parse(pattern).unwrap().covers(&host, url.port_or_known_default().unwrap())
        };
        for (pattern, url) in [
            ("n8n.internal", "http://n8n.internal:5678/"),
            ("n8n.internal:5678", "http://N8N.internal.:5678/"),
            ("127.0.0.1:9000", "http://127.1:9000/"),
            ("[::1]", "http://[0:0:0:0:0:0:0:1]/"),
            ("bücher.example", "http://xn--bcher-kva.example/"),
            ("example.com:443", "https://example.com/"),
        ] {
            assert!(covers(pattern, url), "{pattern} {url}");
        }
        for (pattern, url) in [
            ("n8n.internal:5678", "http://n8n.internal/"),
            ("example.com", "http://a.example.com/"),
            ("example.com", "http://notexample.com/"),
            ("127.0.0.1", "http://[::ffff:127.0.0.1]/"),
            ("127.0.0.1", "http://localhost/"),
        ] {
            assert!(!covers(pattern, url), "{pattern} {url}");
        }
    }

    #[test]
    fn the_gates_address_is_taken_as_it_is_written() {
        for fine in [
            "https://gate.example.com",
            "http://127.0.0.1:8484",
            "https://host.example/a/b",
            "http://[::1]:1",
        ] {
            assert_eq!(base_url(fine), Ok(fine));
        }
        for (bad, told) in [
            ("gate.example.com", "is not an address"),
            ("ftp://gate.example.com", "does not begin with"),
            ("HTTPS://gate.example.com", "does not begin with"),
            ("https:gate.example.com", "does not begin with"),
            ("https://", "is not an address"),
            ("https:///x", "has no host"),
            ("https://gate.example.com/", "ends in a slash"),
            ("https://gate.example.com?x", "has a `?`"),
            ("https://gate.example.com#x", "has a `?`"),
            ("https://me@gate.example.com", "user name"),
            ("https://gate.example.com ", "has a blank"),
            ("https://gate.example.com:0", "port 0"),
            ("https://gate.example.com:99999", "is not an address"),
            ("https://*.example.com", "valid host"),
        ] {
            let error = base_url(bad).unwrap_err();
            assert!(error.contains(told), "{bad}: {error}");
        }
    }
}
