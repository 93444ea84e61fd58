//! "This was a mistake", said by whoever holds the link of a report.

use placet_core::policy::Decision;
use placet_gate::ports::Clock as _;
use placet_testkit::question;
use serde_json::json;

use super::{asked, code, link, stored, world};

#[tokio::test]
async fn a_reports_link_flags_what_was_asked_in_its_week_and_knows_of_nothing_else() {
    let (world, _) = world().await;
    let request = asked(&world, question("r1", "payment.send", &json!({ "amount": 1 }))).await;
    let bobs = link(&world, &request, "bob").await;
    world.decide(&bobs, Decision::Approve, None).await.unwrap();
    let today = u32::try_from(world.clock.now().day()).unwrap();
    let (client, id) = (&request.asked().client, &request.asked().request_id);
    for (until_day, expected) in
        [(today, "not_found"), (today + 8, "not_found"), (today + 1, "ok"), (today + 7, "ok")]
    {
        let link = world.gate.report_link(until_day).await.unwrap().to_string();
        let nonce = world.gate.linked_report(&link).await.unwrap().nonce;
        let said = code(world.gate.flag_in_report(&link, &nonce, client, id).await);
        assert_eq!(said, expected, "{until_day} beside {today}");
        assert_eq!(stored(&world, &request).await.state().flag().is_some(), expected == "ok", "{until_day}");
        if expected == "ok" {
            break;
        }
    }
}
