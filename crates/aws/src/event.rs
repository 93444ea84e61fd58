//! What the HTTP API hands to a function, made safe for `lambda_http`.
//!
//! That library ends the process for a URL that it cannot put together, and who calls chooses parts of the URL: one
//! byte in a query would cost each caller's next answer a cold start.

use lambda_http::http::{HeaderValue, Uri, header};
use lambda_http::request::LambdaRequest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What neither a path nor a query holds as it is. A percent sign stays: it begins what is encoded already.
const NOT_HELD: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/')
    .remove(b'?')
    .remove(b'%');

/// The same event, with a URL that can be put together.
pub(crate) fn presentable(event: LambdaRequest) -> LambdaRequest {
    match event {
        LambdaRequest::ApiGatewayV2(mut call) => {
            call.raw_query_string = call.raw_query_string.map(|query| escaped(&query));
            call.raw_path = call.raw_path.map(|path| escaped(&path));
            let host = call.headers.get(header::HOST).and_then(|host| host.to_str().ok());
            if !host.is_some_and(is_authority) {
                call.headers.insert(header::HOST, HeaderValue::from_static("localhost"));
            }
            // The API speaks nothing else, and the word is part of the URL.
            call.headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
            LambdaRequest::ApiGatewayV2(call)
        }
        other => other,
    }
}

/// A host, perhaps with a port, as a URL may have it.
fn is_authority(host: &str) -> bool {
    !host.is_empty()
        && !host.contains('@')
        && format!("https://{host}/").parse::<Uri>().is_ok()
        && is_plain(host)
}

/// Whether WHATWG's parser, which is stricter about hosts, takes it as well.
fn is_plain(host: &str) -> bool {
    placet_core::grammar::HostPattern::parse(host).is_ok()
}

/// A path or a query with everything percent-encoded that RFC 3986 does not let it hold.
fn escaped(text: &str) -> String {
    utf8_percent_encode(text, &NOT_HELD).to_string()
}

#[cfg(test)]
mod tests {
    use lambda_http::Request;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn arrived(path: &str, query: &str, headers: &serde_json::Value) -> Request {
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": headers,
            "isBase64Encoded": false,
            "requestContext": {
                "accountId": "1", "apiId": "a", "domainName": "a.execute-api.eu-central-1.amazonaws.com",
                "domainPrefix": "a", "requestId": "r", "routeKey": "$default", "stage": "$default",
                "time": "26/Nov/2026:20:00:00 +0000", "timeEpoch": 1,
                "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "x"},
            },
        });
        presentable(serde_json::from_value(event).unwrap()).into()
    }

    #[test]
    fn a_url_that_is_right_stays_as_it_is() {
        let host = json!({"host": "gate.example.com", "x-forwarded-proto": "https"});
        let call = arrived("/v1/requests", "limit=5&cursor=01J%2B", &host);
        assert_eq!(call.uri().to_string(), "https://gate.example.com/v1/requests?limit=5&cursor=01J%2B");
    }

    #[test]
    fn what_a_url_cannot_hold_ends_nothing() {
        let host = json!({"host": "gate.example.com"});
        for query in ["a=<b>", "a=\"b\"", "a=`", "a=b c", "a=ä", "a=\\", "a={}|^[]", "#"] {
            assert_eq!(arrived("/r/x", query, &host).uri().path(), "/r/x", "{query}");
        }
        for headers in [
            json!({"host": "a b"}),
            json!({"host": "a@b"}),
            json!({"host": ""}),
            json!({"host": "a:99999"}),
            json!({"host": "[::1"}),
            json!({"host": "gate.example.com", "x-forwarded-proto": "a b"}),
            json!({}),
        ] {
            assert_eq!(arrived("/r/<x>", "", &headers).uri().path(), "/r/%3Cx%3E", "{headers}");
        }
    }

    proptest! {
        #[test]
        fn no_call_ends_the_process(path in "/\\PC*", query in "\\PC*", host in "[ -~]*", scheme in "[ -~]*") {
            arrived(&path, &query, &json!({"host": host, "x-forwarded-proto": scheme}));
        }
    }
}
