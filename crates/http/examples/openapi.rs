//! Writes the OpenAPI document to the terminal: `cargo run -p placet-http --example openapi > crates/http/openapi.json`.

fn main() {
    print!("{}", placet_http::openapi_document());
}
