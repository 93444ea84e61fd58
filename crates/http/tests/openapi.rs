//! The contract that is checked in is the one that is served.

#[test]
fn the_checked_in_document_is_the_one_that_the_code_makes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let checked_in = std::fs::read_to_string(path).unwrap();
    assert!(
        checked_in == placet_http::openapi_document(),
        "crates/http/openapi.json is old; run: cargo run -p placet-http --example openapi > crates/http/openapi.json"
    );
}
