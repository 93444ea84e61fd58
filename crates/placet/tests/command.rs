//! The `placet` command as a process: exit codes, files and what it prints. What the gate decides is tested elsewhere.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with a policy and the data of one gate; gone at the end of its test.
struct Place(PathBuf);

impl Place {
    /// With the sample policy.
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let place = Self(path);
        assert_eq!(place.run(&["init"]).status.code(), Some(0));
        place
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_placet"));
        command.args(arguments).current_dir(&self.0).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PLACET")) {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn serve(&self) -> Served {
        let mut command = self.command(&["serve", "--policy", "placet.toml", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert!(ready.starts_with("ready http://127.0.0.1:"), "{ready}");
        Served(child)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A serving gate; killed with its test.
struct Served(Child);

impl Served {
    fn end_with(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(found) = look() {
            return found;
        }
        std::thread::yield_now();
    }
    panic!("{what} did not come")
}

#[test]
fn what_init_writes_passes_the_check_and_is_never_overwritten() {
    let place = Place::new("init");
    let checked = place.run(&["policy", "check", "placet.toml"]);
    assert_eq!(checked.status.code(), Some(0), "{}", out(&checked));
    assert_eq!(out(&checked), "ok     placet.toml: 2 clients, 3 reviewers, 4 rules\n");
    fs::write(place.0.join("placet.toml"), "mine").unwrap();
    let again = place.run(&["init"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(
        err(&again),
        "placet: `placet.toml` is there already [file_exists]\n  name another file, or overwrite it with --force\n"
    );
    assert_eq!(fs::read_to_string(place.0.join("placet.toml")).unwrap(), "mine");
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_build_without_aws_says_so() {
    let place = Place::new("without-aws");
    for arguments in [
        &["policy", "push", "placet.toml", "--aws"][..],
        &["client", "secret", "my-agent", "--aws"],
        &["keys", "rotate", "--aws"],
        &["inbox", "--aws"],
        &["link", "r1", "--reviewer", "bob", "--aws"],
        &["doctor", "--aws"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}");
        assert!(err(&ran).contains("this `placet` was built without AWS"), "{}", err(&ran));
    }
}

#[test]
fn two_gates_are_never_named_at_once() {
    let place = Place::new("two-gates");
    for arguments in [
        &["policy", "push", "placet.toml"][..],
        &["client", "secret", "my-agent"],
        &["keys", "rotate"],
        &["doctor"],
        &["inbox"],
        &["link", "r1", "--reviewer", "bob"],
        &["list"],
        &["alert", "test"],
        &["alert", "list"],
    ] {
        let named = [arguments, &["--aws", "--url", "http://127.0.0.1:9"]].concat();
        let ran = place.run(&named);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}");
        assert!(err(&ran).contains("--aws and --url name two gates"), "{arguments:?}: {}", err(&ran));
    }
}

#[test]
fn the_check_names_every_fault_with_its_line() {
    let place = Place::new("check");
    let policy =
        "[[clients]]\nid = \"a b\"\n\n[[rules]]\nname = \"r\"\nwhen = 'acton == \"x\"'\ndecide = \"maybe\"\n";
    fs::write(place.0.join("bad.toml"), policy).unwrap();
    let checked = place.run(&["policy", "check", "bad.toml", "--json"]);
    assert_eq!(checked.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let lines: Vec<_> =
        report["faults"].as_array().unwrap().iter().map(|f| f["line"].as_u64().unwrap()).collect();
    assert_eq!((report["valid"].as_bool(), lines), (Some(false), vec![2, 6, 7]));
    let text = out(&place.run(&["policy", "check", "bad.toml"]));
    assert!(text.contains("bad.toml: line 6: ") && text.contains("`acton`"), "{text}");
    let serve = place.run(&["serve", "--policy", "bad.toml", "--listen", "127.0.0.1:0"]);
    assert_eq!((serve.status.code(), out(&serve)), (Some(1), String::new()));
    assert!(err(&serve).contains("line 7"), "{}", err(&serve));
}

#[test]
fn secrets_are_for_the_owner_and_change_with_a_rotation() {
    let place = Place::new("keys");
    assert_eq!(place.run(&["policy", "push", "placet.toml"]).status.code(), Some(0));
    let secret = || {
        let printed = place.run(&["client", "secret", "my-agent"]);
        assert_eq!(printed.status.code(), Some(0), "{}", err(&printed));
        out(&printed).lines().last().unwrap().to_owned()
    };
    let first = secret();
    let digits = first.strip_prefix("whsec_").unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    assert_eq!(secret(), first);
    let mode = |name: &str| fs::metadata(place.0.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("placet-data/keyring.json"), mode("placet-data")), (0o600, 0o700));
    assert_eq!(place.run(&["keys", "rotate"]).status.code(), Some(0));
    assert_ne!(secret(), first);
    assert_eq!(mode("placet-data/keyring.json"), 0o600);
    let unknown = place.run(&["client", "secret", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(
        err(&unknown),
        "placet: no client `nobody` is in the policy [no_such_client]\n  its clients are: my-agent, desk\n"
    );
}

#[test]
fn a_gate_says_when_it_is_ready_and_ends_cleanly_by_either_signal() {
    let place = Place::new("serve");
    for signal in [Signal::INT, Signal::TERM] {
        let gate = place.serve();
        assert!(place.0.join("placet-data/gate.url").exists());
        let doctor = place.run(&["doctor"]);
        assert_eq!(doctor.status.code(), Some(0), "{}", out(&doctor));
        assert!(out(&doctor).contains("a gate serves from here at http://127.0.0.1:"), "{}", out(&doctor));
        assert_eq!(gate.end_with(signal), Some(0));
        assert!(!place.0.join("placet-data/gate.url").exists());
    }
}

#[test]
fn the_demo_ends_as_its_reviewer_decides() {
    let place = Place::new("demo");
    let approved = place.run(&["demo", "--decide", "approve"]);
    assert_eq!(approved.status.code(), Some(0), "{}{}", out(&approved), err(&approved));
    for part in ["approved by bob", "verified", "already_redeemed"] {
        assert!(out(&approved).contains(part), "{part}: {}", out(&approved));
    }
    let rejected = place.run(&["demo", "--decide", "reject", "--json"]);
    assert_eq!(rejected.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&rejected.stdout).unwrap();
    assert_eq!(
        (&told["approval"]["status"], &told["verified"]["problem"]),
        (&"rejected".into(), &"not_approved".into())
    );
}

#[test]
fn a_request_waits_and_its_exit_code_is_the_decision() {
    let place = Place::new("request");
    fs::write(place.0.join("payload.json"), r#"{"amount": 5000}"#).unwrap();
    let gate = place.serve();
    for (name, code, way) in [("r1", 0, "approve"), ("r2", 1, "reject")] {
        let ask = ["request", "--action", "payment.send", "--summary", "pay", "--payload", "payload.json"];
        let more = ["--request-id", name, "--timeout", "1h", "--wait", "--json"];
        let asking = place
            .command(&[&ask[..], &more[..]].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let link = wait_for("the request", || {
            let link = place.run(&["link", name, "--reviewer", "bob", "--json"]);
            (link.status.code() == Some(0)).then(|| serde_json::from_slice::<Value>(&link.stdout).unwrap())
        });
        decide(link["link"].as_str().unwrap(), way);
        let ended = asking.wait_with_output().unwrap();
        let approval: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!((ended.status.code(), approval["decided_by"].clone()), (Some(code), vec!["bob"].into()));
        let token = approval["token"].as_str().unwrap();
        let verified = place.run(&["token", "verify", token, "--payload", "payload.json"]);
        assert_eq!(verified.status.code(), Some(code), "{}", out(&verified));
        let redeemed = place.run(&["token", "redeem", token, "--by", "test"]);
        assert_eq!(redeemed.status.code(), Some(code), "{}", err(&redeemed));
    }
    assert_eq!(gate.end_with(Signal::INT), Some(0));
}

#[test]
fn a_request_that_policy_decides_needs_no_gate_that_serves() {
    let place = Place::new("alone");
    fs::write(place.0.join("payload.json"), r#"{"amount": 19, "currency": "EUR"}"#).unwrap();
    let ask = ["request", "--action", "refund.create", "--summary", "refund", "--payload", "payload.json"];
    let before = place.run(&ask);
    assert_eq!(before.status.code(), Some(1));
    assert!(err(&before).contains("placet serve --policy placet.toml"), "{}", err(&before));
    let decided = place.run(&[&ask[..], &["--policy", "placet.toml"]].concat());
    assert_eq!(decided.status.code(), Some(0), "{}", err(&decided));
    assert!(out(&decided).starts_with("approved by policy:small refunds\n"), "{}", out(&decided));
}

/// `placet testgate`, steered line by line.
struct Steered {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Steered {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command = place.command(&[&["testgate"], arguments].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    fn say(&mut self, command: &Value) {
        use std::io::Write as _;
        writeln!(self.child.stdin.as_mut().unwrap(), "{command}").unwrap();
    }

    /// The answer to a command. Events before it are left out.
    fn ask(&mut self, command: &Value) -> Value {
        self.say(command);
        loop {
            let line = self.line().unwrap();
            if line.get("id") == command.get("id") {
                return line;
            }
        }
    }

    fn end(mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Steered {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The policy that the suites share.
const SHARED: &str = include_str!("../../../tests/fixtures/policy.toml");

#[test]
fn a_gate_for_tests_is_steered_by_lines_and_ends_with_its_runner() {
    let place = Place::new("testgate");
    let mut gate = Steered::start(&place, &["--policy", "-"]);
    gate.say(&json!({ "do": "policy", "text": SHARED }));
    let ready = gate.line().unwrap();
    assert_eq!((&ready["event"], &ready["pid"]), (&json!("ready"), &json!(gate.child.id())));
    let data = PathBuf::from(ready["data"].as_str().unwrap());
    let first = ready["secrets"]["agent"].clone();
    assert!(first.as_str().unwrap().starts_with("whsec_"), "{first}");

    let ask = ["request", "--action", "payment.send", "--summary", "pay", "--client", "agent", "--json"];
    let asked = place.command(&ask).arg("--data").arg(&data).output().unwrap();
    let asked: Value = serde_json::from_str(&out(&asked)).unwrap();
    let notified = loop {
        let line = gate.line().unwrap();
        if line["event"] == "notified" && line["reviewer"] == "bob" {
            break line;
        }
    };
    assert_eq!(notified["approval_id"], asked["approval_id"]);
    let again = gate.ask(&json!({
        "id": 1, "do": "link", "client": "agent", "request_id": asked["request_id"], "reviewer": "bob",
    }));
    assert_eq!((&again["link"], &again["may_approve"]), (&notified["url"], &json!(true)));
    let trail = gate.ask(&json!({ "id": 2, "do": "audit", "subject": asked["approval_id"] }));
    assert_eq!(trail["entries"][0]["subject"], asked["approval_id"]);
    let everything = gate.ask(&json!({ "id": "all", "do": "audit" }));
    assert_eq!(everything["entries"][0]["subject"], "policy");

    let rotated = gate.ask(&json!({ "id": 3, "do": "rotate" }));
    assert_eq!(rotated["epoch"], 2);
    assert_ne!(rotated["secrets"]["agent"], first);
    let old = gate.ask(&json!({ "id": 4, "do": "secret", "client": "agent", "epoch": 1 }));
    assert_eq!(old["secret"], first);
    let inbox = gate.ask(&json!({ "id": 5, "do": "inbox_link", "reviewer": "bob" }));
    assert!(inbox["inbox"].as_str().unwrap().contains("/inbox/"), "{inbox}");
    assert_eq!(gate.ask(&json!({ "id": 6, "do": "policy", "text": SHARED }))["version"], 1);
    for wrong in [
        json!({ "id": 7, "do": "policy", "text": "x = 1" }),
        json!({ "id": 8, "do": "secret", "client": "nobody" }),
        json!({ "id": 9, "do": "secret", "client": "agent", "epoch": 7 }),
        json!({ "id": 10, "do": "dance" }),
    ] {
        let refused = gate.ask(&wrong);
        assert!(refused["error"]["message"].is_string(), "{refused}");
    }
    assert_eq!(gate.end(), Some(0));
    assert!(!data.exists(), "its temporary folder is left");
}

#[test]
fn a_gate_for_tests_dies_without_a_word_and_comes_back_with_what_it_had() {
    let place = Place::new("testgate-killed");
    fs::write(place.0.join("placet.toml"), SHARED).unwrap();
    let arguments = ["--data", "data", "--policy", "placet.toml"];
    let mut gate = Steered::start(&place, &arguments);
    let secret = gate.line().unwrap()["secrets"]["agent"].clone();
    gate.say(&json!({ "do": "kill" }));
    assert_eq!((gate.line(), gate.child.wait().unwrap().code()), (None, None));
    assert!(place.0.join("data/gate.url").exists(), "it has cleaned up");

    let mut back = Steered::start(&place, &["--data", "data"]);
    assert_eq!(back.line().unwrap()["secrets"]["agent"], secret);
    let stop = json!({ "id": 1, "do": "stop" });
    assert_eq!(back.ask(&stop), json!({ "id": 1, "stopped": true }));
    assert_eq!(back.child.wait().unwrap().code(), Some(0));
    assert!(!place.0.join("data/gate.url").exists());

    fs::write(place.0.join("placet.toml"), "x = 1").unwrap();
    let mut broken = Steered::start(&place, &arguments);
    let failed = broken.line().unwrap();
    assert_eq!(failed["event"], "failed");
    assert!(failed["message"].as_str().unwrap().contains("no key `x`"), "{failed}");
    assert_eq!(broken.child.wait().unwrap().code(), Some(1));
}

#[test]
fn no_help_names_the_gate_for_tests() {
    let place = Place::new("testgate-hidden");
    for arguments in
        [&["--help"][..], &["completions", "bash"], &["completions", "zsh"], &["man"], &["man", "nothing"]]
    {
        let ran = place.run(arguments);
        assert!(!(out(&ran) + &err(&ran)).contains("testgate"), "{arguments:?}");
    }
    assert!(out(&place.run(&["completions", "bash"])).contains("placet,serve)"));
}

#[test]
fn no_tip_names_the_gate_for_tests() {
    let place = Place::new("testgate-tip");
    for typed in
        [&["testgat"][..], &["tstgate"], &["testgates"], &["testgat", "--json"], &["help", "testgat"]]
    {
        let ran = place.run(typed);
        let said = out(&ran) + &err(&ran);
        // What was typed comes back, and nothing beside it.
        let said = said.replace(typed.iter().find(|word| word.contains("gat")).unwrap(), "");
        assert_eq!(ran.status.code(), Some(2), "{typed:?}");
        assert!(said.contains("unrecognized subcommand") && !said.contains("testgate"), "{typed:?}: {said}");
    }
    // Commands that the help names are still meant.
    assert!(err(&place.run(&["serv"])).contains("'serve'"));
    assert!(out(&place.run(&["policy", "pushh", "--json"])).contains("'push'"));
}

/// Opens a reviewer's page and posts its form, with nothing but a socket.
fn decide(link: &str, decision: &str) {
    let (host, path) = link.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let page = exchange(host, &format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
    let (_, field) = page.split_once("name=\"nonce\"").unwrap();
    let nonce = field.split_once("value=\"").unwrap().1.split_once('"').unwrap().0;
    let form = format!("nonce={nonce}&decision={decision}&reason=");
    let answer = exchange(
        host,
        &format!(
            "POST /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        ),
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

fn exchange(host: &str, request: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn an_address_that_is_given_is_never_passed_over_for_the_folder() {
    let place = Place::new("address");
    let ask = [
        "request",
        "--policy",
        "placet.toml",
        "--action",
        "deploy.web",
        "--summary",
        "s",
        "--request-id",
        "r1",
    ];
    let asked = place.run(&[&ask[..], &["--json"]].concat());
    let status = |output: &Output| {
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default().get("status").cloned()
    };
    assert_eq!(status(&asked), Some(json!("pending")), "{asked:?}");
    let elsewhere = ["--url", "https://prod.invalid"];
    let asks_as_a_client: [&[&str]; 5] =
        [&["cancel", "r1"], &["show", "r1"], &["list"], &["report"], &["audit", "receipt", "r1"]];
    for command in asks_as_a_client {
        let output = place.run(&[&elsewhere[..], command].concat());
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command:?} {output:?}");
        assert!(told.contains("PLACET_SECRET is not set") && told.contains("placet client secret"), "{told}");
        // With a secret, somebody must be named whose secret it is.
        let unnamed = place.command(&[&elsewhere[..], command].concat()).env("PLACET_SECRET", "x").output();
        let told = unnamed.unwrap();
        assert_eq!(told.status.code(), Some(2), "{command:?} {told:?}");
        assert!(
            String::from_utf8_lossy(&told.stderr).contains("--client ID, or in PLACET_CLIENT"),
            "{told:?}"
        );
    }
    let is_for_the_operator: [&[&str]; 7] = [
        &["inbox"],
        &["link", "r1"],
        &["backup", "x.tar"],
        &["keys", "rotate"],
        &["policy", "push", "placet.toml"],
        &["channel", "list"],
        &["audit", "prune", "--older-than", "1d"],
    ];
    for command in is_for_the_operator {
        let output = place.run(&[&elsewhere[..], command].concat());
        assert_eq!(output.status.code(), Some(2), "{command:?} {output:?}");
    }
    let shown = place.run(&["show", "r1", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown.pointer("/approval/status"), Some(&json!("pending")), "{shown}");
}

#[test]
fn an_address_that_is_none_is_wrong_usage() {
    let place = Place::new("usage");
    for listen in ["foo", "127.0.0.1:notaport", "127.0.0.1:99999"] {
        let served = place.run(&["serve", "--policy", "placet.toml", "--listen", listen]);
        assert_eq!(served.status.code(), Some(2), "{served:?}");
    }
}
