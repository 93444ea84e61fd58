//! How a command ends: with an exit code, or with words that say what to do next.

use std::fmt;

use placet_core::Refusal;
use placet_core::words::text::plain_lines;
use placet_gate::{Error, Fault};
use serde_json::{Value, json};

/// How a command that ran to its end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or approved: 0.
    Done,
    /// Refused: rejected, expired, not valid: 1.
    Refused,
    /// Stopped by Ctrl-C: 130, as shells expect.
    Interrupted,
    /// Stopped because its terminal has gone: 129.
    HungUp,
    /// Stopped by SIGTERM: 143, as shells and containers expect.
    Terminated,
}

impl Exit {
    /// The number for the shell.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::HungUp => 129,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    advice: Option<String>,
    /// What docs/troubleshooting.md explains: the gate's own code, where it was the gate that refused.
    code: Option<String>,
    /// The exit code, where it is not the kind's.
    exit: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Refused,
    Usage,
    Fault,
}

impl Failure {
    /// The gate, or the policy, says no: exit 1.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self { kind: Kind::Refused, message: message.into(), advice: None, code: None, exit: None }
    }

    /// The command line is not as it must be: exit 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, message: message.into(), advice: None, code: None, exit: None }
    }

    /// Something broke: exit 3.
    pub(crate) fn fault(message: impl Into<String>) -> Self {
        Self { kind: Kind::Fault, message: message.into(), advice: None, code: None, exit: None }
    }

    /// A file or folder that could not be used: exit 3.
    pub(crate) fn file(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::fault(format!("{what} `{}`: {error}", path.display()))
    }

    /// Says what to do next.
    #[must_use]
    pub(crate) fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// Adds the code under which it is explained: the gate's (DESIGN section 4), or one of the command's own.
    #[must_use]
    pub(crate) fn with_code(self, code: &str) -> Self {
        Self { code: Some(code.to_owned()), ..self }
    }

    /// Ends with that code: one that shells give to a command that cannot be run.
    #[must_use]
    pub(crate) fn exiting_with(self, exit: u8) -> Self {
        Self { exit: Some(exit), ..self }
    }

    /// What went wrong, without what to do next.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// As JSON, for `--json`: what a program reads in place of a result.
    pub(crate) fn to_json(&self) -> Value {
        let kind = match self.kind {
            Kind::Refused => "refused",
            Kind::Usage => "usage",
            Kind::Fault => "fault",
        };
        json!({ "error": {
            "kind": kind,
            "code": self.code,
            "message": self.message,
            "advice": self.advice,
            "exit": self.code(),
        } })
    }

    /// The number for the shell.
    pub(crate) const fn code(&self) -> u8 {
        match (self.exit, self.kind) {
            (Some(exit), _) => exit,
            (None, Kind::Refused) => 1,
            (None, Kind::Usage) => 2,
            (None, Kind::Fault) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Either can quote what somebody else wrote: another gate, a file, an agent.
        write!(f, "placet: {}", plain_lines(&self.message))?;
        // What a gate said can name its code already.
        if let Some(code) = self.code.as_deref().filter(|code| !self.message.contains(*code)) {
            write!(f, " [{}]", plain_lines(code))?;
        }
        if let Some(advice) = &self.advice {
            for line in advice.lines() {
                write!(f, "\n  {}", plain_lines(line))?;
            }
        }
        Ok(())
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::fault(fault.chain())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(Refusal::NoPolicy) => Self::refused("there is no policy yet")
                .advise("give --policy FILE; `placet init` writes one to start from"),
            Error::Refused(Refusal::InvalidRequest(faults)) => {
                let lines: Vec<String> =
                    faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
                Self::refused("the request is not valid")
                    .with_code("invalid_request")
                    .advise(lines.join("\n"))
            }
            Error::Refused(refusal) => Self::refused(refusal.to_string()).with_code(refusal.code()),
            Error::Ended(request) => {
                Self::refused(format!("the request has already ended: {}", request.status()))
            }
            Error::Fault(fault) => fault.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_to_do_next_below_what_went_wrong() {
        let steering = Failure::refused("no `\u{1b}[2J`").advise("a\u{202e}b");
        assert_eq!(steering.to_string(), "placet: no `<U+001B>[2J`\n  a<U+202E>b");
        let failure = Failure::usage("there is no `x`").advise("try `y`\nor `z`");
        assert_eq!(failure.to_string(), "placet: there is no `x`\n  try `y`\n  or `z`");
        assert_eq!(
            [Failure::refused("").code(), Failure::usage("").code(), Failure::fault("").code()],
            [1, 2, 3]
        );
    }
}
