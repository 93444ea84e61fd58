//! What `placet init` asks on a terminal: the first program, the people, and how they are reached.
//!
//! The answers become a policy of one client and one rule, which is checked before it is written.

use std::fmt::Write as _;
use std::io::{BufRead, Write};

use placet_core::id::{ClientId, ReviewerId};
use placet_core::policy::Policy;

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answers {
    client: String,
    people: Vec<Person>,
    /// The place in `people` of whose program it is.
    owner: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct Person {
    id: String,
    name: String,
    email: Option<String>,
}

/// Asks. `None` where the answers end too soon: at Ctrl-D, or on a terminal that has gone.
pub(super) fn ask(from: &mut dyn BufRead, to: &mut dyn Write) -> std::io::Result<Option<Answers>> {
    match questions(from, to) {
        Ok(answers) => Ok(Some(answers)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn questions(from: &mut dyn BufRead, to: &mut dyn Write) -> std::io::Result<Answers> {
    writeln!(
        to,
        "A few questions; Enter takes what is in brackets, and everything can be changed in the file.\n"
    )?;
    let mut session = Session { from, to };
    let client = session.id("Which program asks first?", "my-agent", ClientId::parse)?;
    let mut people: Vec<Person> = Vec::new();
    loop {
        let (question, default) = match people.len() {
            0 => ("Who decides? A name", "Bob"),
            _ => ("Who else decides? A name, or Enter for nobody else", ""),
        };
        let name = session.line(question, default)?;
        if name.is_empty() {
            break;
        }
        let suggested = unused(&simple(&name), &people);
        let id = session.id("  Their short name", &suggested, ReviewerId::parse)?;
        if people.iter().any(|person| person.id == id) {
            writeln!(session.to, "  `{id}` is there already.")?;
            continue;
        }
        let email = session.email()?;
        people.push(Person { id, name, email });
    }
    let owner = session.owner(&people)?;
    Ok(Answers { client, people, owner })
}

struct Session<'a> {
    from: &'a mut dyn BufRead,
    to: &'a mut dyn Write,
}

impl Session<'_> {
    /// An answer; an error of the kind `UnexpectedEof` where there are no more.
    fn line(&mut self, question: &str, default: &str) -> std::io::Result<String> {
        match default {
            "" => write!(self.to, "{question}: ")?,
            _ => write!(self.to, "{question} [{default}]: ")?,
        }
        self.to.flush()?;
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            writeln!(self.to)?;
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let answer = line.trim();
        Ok(if answer.is_empty() { default } else { answer }.to_owned())
    }

    /// An id that the policy takes, asked until it is one.
    fn id<T, E: std::fmt::Display>(
        &mut self,
        question: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> std::io::Result<String> {
        loop {
            let answer = self.line(question, default)?;
            match parse(&answer) {
                Ok(_) => return Ok(answer),
                Err(error) => writeln!(self.to, "  `{answer}`: an id {error}")?,
            }
        }
    }

    fn email(&mut self) -> std::io::Result<Option<String>> {
        loop {
            let answer = self.line("  Their mail address, or Enter for none", "")?;
            if answer.is_empty() {
                return Ok(None);
            }
            // Whether it is an address, the policy's own check says.
            let faults = Policy::read(&format!("[[reviewers]]\nid = \"x\"\nemail = {}\n", quoted(&answer)));
            if faults.is_ok() {
                return Ok(Some(answer));
            }
            writeln!(self.to, "  that is not a mail address")?;
        }
    }

    fn owner(&mut self, people: &[Person]) -> std::io::Result<Option<usize>> {
        let names = people.iter().map(|person| person.id.as_str()).collect::<Vec<_>>().join(", ");
        writeln!(self.to, "\nWhoever owns the program may reject what it asks, but not approve it.")?;
        loop {
            let question = format!("Whose program is it? One of {names}, or Enter for nobody's");
            let answer = self.line(&question, "")?;
            if answer.is_empty() {
                return Ok(None);
            }
            match people.iter().position(|person| person.id == answer) {
                Some(_) if people.len() == 1 => {
                    writeln!(self.to, "  then nobody could approve: name somebody else first, or nobody")?;
                }
                Some(at) => return Ok(Some(at)),
                None => writeln!(self.to, "  `{answer}` is none of {names}")?,
            }
        }
    }
}

/// A name as an id: its letters and digits.
fn simple(name: &str) -> String {
    let simple: String = name
        .chars()
        .filter(|sign| sign.is_ascii_alphanumeric() || *sign == ' ' || *sign == '-')
        .map(|sign| if sign == ' ' { '-' } else { sign.to_ascii_lowercase() })
        .collect();
    let simple = simple.trim_matches('-');
    if simple.is_empty() { "reviewer".to_owned() } else { simple.to_owned() }
}

fn unused(id: &str, people: &[Person]) -> String {
    let taken = |id: &str| people.iter().any(|person| person.id == id);
    let numbered = (2..).map(|number| format!("{id}-{number}"));
    std::iter::once(id.to_owned()).chain(numbered).find(|id| !taken(id)).unwrap_or_default()
}

/// A text as TOML writes it: JSON's escapes are TOML's, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Answers {
    /// The policy, with comments.
    pub(super) fn policy(&self) -> String {
        let mut text = String::from(
            "# Who may ask, who decides, and which rule a request hits. docs/policy.md has every key.\n\n[[clients]]\n",
        );
        let client = &self.client;
        let _ = writeln!(text, "id = {}", quoted(client));
        text.push_str("roles = [\"requester\"]\n");
        if let Some(owner) = self.owner.and_then(|at| self.people.get(at)) {
            let _ = writeln!(
                text,
                "owner = {}   # may reject what it asks, and not approve it",
                quoted(&owner.id)
            );
        }
        for person in &self.people {
            let _ = write!(
                text,
                "\n[[reviewers]]\nid = {}\nname = {}\nroles = [\"reviewers\"]\n",
                quoted(&person.id),
                quoted(&person.name)
            );
            match &person.email {
                Some(email) => {
                    let _ = writeln!(text, "email = {}", quoted(email));
                }
                None => text.push_str(
                    "# email = \"somebody@example.com\"   # without one: told on the gate's terminal\n",
                ),
            }
        }
        text.push_str(
            "\n# The first rule that matches decides. This one matches everything; nobody answers: expired, never approved.\n\
             [[rules]]\nname = \"everything\"\nstages = [{ ask = [\"reviewers\"], within = \"1h\" }]\n",
        );
        text
    }

    /// The first program's name.
    pub(super) fn client(&self) -> &str {
        &self.client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(lines: &str) -> (Option<Answers>, String) {
        let mut said = Vec::new();
        let answers = ask(&mut lines.as_bytes(), &mut said).unwrap();
        (answers, String::from_utf8(said).unwrap())
    }

    #[test]
    fn enter_alone_makes_a_policy_that_works() {
        let (answers, _) = answered("\n\n\n\n\n\n");
        let text = answers.unwrap().policy();
        let report = Policy::check(&text);
        let policy = report.policy.unwrap();
        // Nobody owns the program: that is a warning, and the answer of whoever did not name one.
        assert!(
            report.warnings.iter().all(|warning| warning.message.contains("no owner")),
            "{:?}",
            report.warnings
        );
        assert_eq!(policy.clients.first().unwrap().id.as_str(), "my-agent");
        assert_eq!(policy.reviewers.first().unwrap().name, "Bob");
    }

    #[test]
    fn what_is_answered_is_in_the_policy_whatever_signs_it_has() {
        let lines = "ci\nJosé \"J\" Müller\n\njose@example.com\nCarol\n\n\n\ncarol\n";
        let (answers, _) = answered(lines);
        let policy = Policy::read(&answers.unwrap().policy()).unwrap();
        let [client] = policy.clients.as_slice() else { panic!("{policy:?}") };
        assert_eq!((client.id.as_str(), client.owner.as_ref().unwrap().as_str()), ("ci", "carol"));
        let [jose, carol] = policy.reviewers.as_slice() else { panic!("{policy:?}") };
        assert_eq!((jose.id.as_str(), jose.name.as_str()), ("jos-j-mller", "José \"J\" Müller"));
        assert_eq!((jose.email.as_deref(), carol.email.as_deref()), (Some("jose@example.com"), None));
    }

    #[test]
    fn a_wrong_answer_is_asked_again() {
        let lines = "no spaces please\nci\nBob\nb o b\nbob\nnot an address\nbob@example.com\nBob\nbob\n\nbob\nnobody\n\n";
        let (answers, said) = answered(lines);
        for words in [
            "`no spaces please`: an id",
            "`b o b`: an id",
            "that is not a mail address",
            "`bob` is there already",
        ] {
            assert!(said.contains(words), "{words}\n{said}");
        }
        assert!(
            said.contains("then nobody could approve") && said.contains("`nobody` is none of bob"),
            "{said}"
        );
        assert_eq!(answers.unwrap().people.len(), 1);
    }

    #[test]
    fn an_end_in_between_writes_nothing() {
        for lines in ["", "ci\n", "ci\nBob\n\n"] {
            assert_eq!(answered(lines).0, None, "{lines:?}");
        }
    }
}
