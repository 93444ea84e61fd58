//! The OpenAPI 3.1 document, made from the handlers' descriptions.

use utoipa::OpenApi;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, ResponseBuilder};

/// What the document says besides the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Placet",
        description = "A human-approval gate for AI-powered workflows. Clients sign their requests (HMAC-SHA256 over \
            method, path, time and body; see the README) or, where the policy allows it, send a bearer key. Errors are \
            RFC 9457 problems with a stable `code`. Callbacks and hooks follow Standard Webhooks.",
        license(name = "MIT", identifier = "MIT")
    ),
    components(schemas(crate::problem::Problem, crate::wire::Approval)),
    tags(
        (name = "requests", description = "ask, look, wait, list, cancel, answer"),
        (name = "tokens", description = "check and use decision tokens"),
        (name = "reviewers", description = "the pages that people decide on"),
        (name = "audit", description = "for auditors: the trail, its transparency log, receipts, the numbers, and flags"),
        (name = "hooks", description = "subscribe to events"),
        (name = "open", description = "keys, health and contract, for anyone")
    )
)]
struct Base;

/// Problems that every call by a client can meet.
const COMMON: [(&str, &str); 7] = [
    ("400", "`bad_request`: not HTTP as it must be, or a body that ends too early"),
    ("401", "`invalid_signature`, `unknown_client` or `clock_skew`"),
    ("403", "`forbidden`"),
    ("408", "`request_timeout`: the body did not arrive in time"),
    ("415", "`unsupported_media_type`: the body has a `Content-Encoding`"),
    ("422", "`invalid_request`; every bad field or query parameter is listed under `errors`"),
    ("503", "`no_policy` or `unavailable`; nothing was approved; see `Retry-After` where there is one"),
];

/// The document as JSON text, with a newline at the end: what is checked in. The copy that is checked in is served.
pub fn document() -> String {
    let (_, routes) = crate::client::described().split_for_parts();
    let mut document = Base::openapi();
    document.merge(routes);
    let (_, pages) = crate::reviewer::described().split_for_parts();
    document.merge(pages);
    add_security(&mut document);
    add_common_problems(&mut document);
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

fn add_security(document: &mut Document) {
    let components = document.components.get_or_insert_with(Default::default);
    let header = |name: &str, description: &str| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, description)))
    };
    for (scheme, name, description) in [
        ("client", "X-Placet-Client", "The client's id."),
        ("timestamp", "X-Placet-Timestamp", "Unix seconds; at most 300 away from the gate's clock."),
        (
            "signature",
            "X-Signature",
            "`v1=<hex>` of HMAC-SHA256 over `placet-v1`, timestamp, method, path and query, and hex(sha256(body)), one \
             a line.",
        ),
    ] {
        components.add_security_scheme(scheme, header(name, description));
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("`<client id>.<secret>`, for clients whose policy entry says `bearer = true`."))
        .build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let none: [&str; 0] = [];
    document.security = Some(vec![
        SecurityRequirement::new("client", none).add("timestamp", none).add("signature", none),
        SecurityRequirement::new("bearer", none),
    ]);
}

fn add_common_problems(document: &mut Document) {
    for (path, item) in &mut document.paths.paths {
        if !path.starts_with("/v1/") {
            continue;
        }
        let operations = [&mut item.get, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().filter_map(Option::as_mut) {
            for (status, description) in COMMON {
                let content =
                    ContentBuilder::new().schema(Some(RefOr::Ref(Ref::from_schema_name("Problem")))).build();
                let response = ResponseBuilder::new()
                    .description(description)
                    .content("application/problem+json", content)
                    .build();
                operation.responses.responses.entry(status.to_owned()).or_insert(RefOr::T(response));
            }
        }
    }
}
