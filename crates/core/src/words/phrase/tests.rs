use serde_json::json;

use super::super::title::Title;
use super::*;

#[test]
fn an_action_without_a_title_is_said_in_plain_words() {
    for (action, payload, expected) in [
        (
            "payment.send",
            json!({"amount": 5000, "currency": "EUR", "to": "ACME GmbH"}),
            "Pay 5,000.00 EUR to ACME GmbH",
        ),
        (
            "invoice.pay",
            json!({"amount": 12, "currency": "EUR", "vendor": {"name": "ACME"}, "invoice_id": 4711}),
            "Pay 12.00 EUR to ACME for invoice 4711",
        ),
        ("invoice.pay", json!({"invoice": "INV-7"}), "Pay invoice INV-7"),
        (
            "invoice.create",
            json!({"amount": 12, "currency": "EUR", "number": "INV-7"}),
            "Create invoice INV-7: 12.00 EUR",
        ),
        (
            "payment.cancel",
            json!({"amount": 12, "currency": "EUR", "id": "p-1"}),
            "Cancel payment p-1: 12.00 EUR",
        ),
        (
            "bank.transfer",
            json!({"amount_cents": 1250, "currency": "EUR", "iban": "DE89370400440532013000"}),
            "Transfer 12.50 EUR to DE89 3704 0044 0532 0130 00",
        ),
        ("file.transfer", json!({"path": "/srv/a"}), "Transfer file /srv/a"),
        (
            "email.send",
            json!({"to": "ann@example.com", "subject": "Hello", "body": "…"}),
            "Send an email to ann@example[.]com: Hello",
        ),
        ("gmail.send_email", json!({"to": ["a", "b", "c", "d"]}), "Send an email to a, b and 2 more"),
        ("email.delete", json!({"id": 7}), "Delete email 7"),
        ("slack.postMessage", json!({"channel": "general"}), "Send a Slack message to general"),
        ("sms.send", json!({"to": "Ann"}), "Send a text message to Ann"),
        (
            "refund.create",
            json!({"amount": 20, "currency": "EUR", "order": "A-1", "customer": "Ann"}),
            "Refund 20.00 EUR to Ann for order A-1",
        ),
        (
            "deploy.production",
            json!({"service": "api", "version": "2.3.1"}),
            "Deploy api 2.3.1 to production",
        ),
        (
            "deployment.create",
            json!({"app": "shop", "environment": "staging", "sha": "abc"}),
            "Deploy shop abc to staging",
        ),
        ("deployment.delete", json!({"name": "shop"}), "Delete deployment shop"),
        ("shell.run", json!({"command": "rm -rf build"}), "Run rm -rf build"),
        (
            "shell.exec",
            json!({"argv": ["rm", "-rf", "my files"], "host": "web-1"}),
            "Run rm -rf 'my files' on web-1",
        ),
        (
            "db.query",
            json!({"sql": "DROP TABLE users", "database": "shop"}),
            "Run SQL: DROP TABLE users on shop",
        ),
        ("user.delete", json!({"email": "ann@example.com"}), "Delete user ann@example[.]com"),
        ("github.pull_request.merge", json!({"number": 42, "repo": "shop"}), "Merge pull request 42"),
        ("aws.ec2.terminate_instances", json!({"ids": ["i-1"]}), "Terminate instances"),
        ("access.grant", json!({"role": "admin"}), "Grant access"),
        ("deploy.run", json!({"environment": "production"}), "Deploy to production"),
        ("deploy.run", json!({"to": "Ann"}), "deploy[.]run: to Ann"),
        ("deploy.first", json!({"amount": 5}), "deploy.first: amount 5"),
        ("unspecified", json!({"amount": 5}), "unspecified: amount 5"),
    ] {
        assert_eq!(Title::of(None, action, &payload).line(), expected, "{action}");
    }
}

#[test]
fn a_list_of_refunds_says_how_many_and_what_they_come_to() {
    let items: Vec<Value> =
        (1..=30).map(|n| json!({"order": n, "amount": f64::from(n) + 0.1, "currency": "EUR"})).collect();
    let title = |payload: &Value| Title::of(None, "refund.create", payload).line();
    assert_eq!(title(&json!({"refunds": items})), "Make 30 refunds: 468.00 EUR in all");
    let mut mixed = items.clone();
    mixed.push(json!({"order": 31, "amount": 1, "currency": "USD"}));
    assert_eq!(title(&json!({"refunds": mixed})), "Make 31 refunds");
    assert_eq!(
        title(&json!({"refunds": items, "total": 468, "currency": "EUR"})),
        "Refund 468.00 EUR in 30 refunds"
    );
}
