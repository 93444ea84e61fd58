//! Events as AWS sends them.

use placet_core::payload::sha256_hex;
use serde_json::{Map, Value, json};

use crate::sign::Proof;

/// A call of the HTTP API, payload format 2.0.
/// Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>.
pub(crate) fn http(method: &str, path_and_query: &str, headers: &[(&str, &str)], body: &str) -> Value {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let mut all: Map<String, Value> =
        headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    all.insert("host".into(), "gate.example.com".into());
    all.insert("x-forwarded-for".into(), "192.0.2.1".into());
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": all,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "bench",
            "domainName": "gate.example.com",
            "domainPrefix": "gate",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "bench"},
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
            "time": "25/Nov/2026:00:00:00 +0000",
            "timeEpoch": 1_795_564_800_000_i64,
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

/// A signed call of a client.
pub(crate) fn signed(proof: &Proof<'_>) -> Value {
    let message = proof.headers();
    let Ok(body) = std::str::from_utf8(proof.body) else { return Value::Null };
    http(proof.method, proof.path, &message, body)
}

/// A reviewer's form, sent as the page's script sends it.
pub(crate) fn form(path: &str, body: &str) -> Value {
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")];
    http("POST", path, &headers, body)
}

/// Messages of the deadline queue.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>.
pub(crate) fn queue(bodies: &[String]) -> Value {
    let records: Vec<Value> = bodies
        .iter()
        .map(|body| {
            json!({
                "messageId": sha256_hex(body.as_bytes()),
                "receiptHandle": "bench",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:deadlines",
                "awsRegion": "us-east-1",
            })
        })
        .collect();
    json!({ "Records": records })
}

/// The schedule's.
pub(crate) fn schedule() -> Value {
    json!({"source": "placet.schedule"})
}

/// A step of a rotation.
pub(crate) fn rotation(step: &str, token: &str) -> Value {
    json!({"Step": step, "SecretId": "keyring", "ClientRequestToken": token})
}
