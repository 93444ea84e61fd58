//! The weekly report is put into the outbox once for each week, whatever happens to gates and clocks.

use placet_core::Timestamp;
use placet_core::audit::AuditEventKind;
use placet_gate::ports::OutboxMessage;
use placet_testkit::Trail as _;

use super::{POLICY, another, names, world};

const WEEKLY: &str = r#"
[[alerts]]
name = "ops"
way = "mail"
to = ["ops@example.com"]
[[alerts]]
name = "team"
way = "slack"
kinds = []
[report]
to = ["ops", "team"]
at = "Monday 09:00 Europe/Berlin"
"#;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn reports(messages: &[OutboxMessage]) -> Vec<String> {
    names(messages).into_iter().filter(|name| name.starts_with("report_")).collect()
}

#[tokio::test]
async fn each_week_is_sent_once_by_whichever_gate_sweeps_first() {
    let (world, store) = world().await;
    world.install(&format!("{POLICY}{WEEKLY}")).await;
    world.deliver_all().await;
    let other = another(&world, None);
    let sweep = async |now: &str| {
        world.clock.set(at(now));
        for gate in [&world.gate, &other.gate, &world.gate] {
            gate.sweep().await.unwrap();
        }
        // One that is started later remembers nothing.
        another(&world, None).gate.sweep().await.unwrap();
        reports(&world.deliver_all().await)
    };
    assert_eq!(sweep("2027-03-27T12:00:00Z").await, [""; 0], "too late for this week's");
    assert_eq!(sweep("2027-03-29T06:59:59.999Z").await, [""; 0], "Berlin has gone forward the day before");
    assert_eq!(sweep("2027-03-29T07:00:00Z").await, ["report_20906_ops", "report_20906_team"]);
    for again in
        ["2027-03-29T07:00:01Z", "2027-03-30T07:00:00Z", "2027-03-29T06:00:00Z", "2027-03-29T07:00:00Z"]
    {
        assert_eq!(sweep(again).await, [""; 0], "{again}");
    }
    // The clock jumps a week ahead and back again: that week was sent, and is not sent again.
    assert_eq!(sweep("2027-04-05T08:00:00Z").await, ["report_20913_ops", "report_20913_team"]);
    for again in ["2027-03-29T08:00:00Z", "2027-04-05T07:00:00Z", "2027-04-06T07:00:00Z"] {
        assert_eq!(sweep(again).await, [""; 0], "{again}");
    }
    // A gate that was down on Monday sends it on Tuesday, and not on Thursday.
    assert_eq!(sweep("2027-04-13T07:00:00Z").await, ["report_20920_ops", "report_20920_team"]);
    assert_eq!(sweep("2027-04-22T07:00:00Z").await, [""; 0]);
    let trail = store.audit_of("report-2027-W13").await;
    assert_eq!(trail.len(), 1);
    let entry = &trail[0];
    assert_eq!((entry.event, entry.actor.as_str()), (AuditEventKind::ReportSent, "gate"));
    assert_eq!(entry.detail.as_deref(), Some("the report of 2027-W13, to ops, team"));
}

#[tokio::test]
async fn another_day_of_the_week_makes_no_second_report_and_no_report_table_none() {
    let (world, _) = world().await;
    let monday = format!("{POLICY}{WEEKLY}");
    world.clock.set(at("2027-03-29T08:00:00Z"));
    world.gate.sweep().await.unwrap();
    assert_eq!(reports(&world.deliver_all().await), [""; 0], "the policy has no [report]");
    world.install(&monday).await;
    world.gate.sweep().await.unwrap();
    assert_eq!(reports(&world.deliver_all().await).len(), 2);
    world.install(&monday.replace("Monday", "Tuesday")).await;
    world.clock.set(at("2027-03-30T08:00:00Z"));
    world.gate.sweep().await.unwrap();
    assert_eq!(reports(&world.deliver_all().await), [""; 0], "this week was sent");
    world.clock.set(at("2027-04-06T08:00:00Z"));
    world.gate.sweep().await.unwrap();
    assert_eq!(reports(&world.deliver_all().await).len(), 2);
}
