# A thin front for the usual commands: `just` lists them. Everything works without it, too.

# list the recipes
default:
    @just --list --unsorted

# build the command, without AWS
build:
    cargo build -p placet

# see the main job: an agent asks, you decide on a page
demo *arguments:
    cargo run -p placet -- demo {{ arguments }}

# format everything
format:
    tests/run format

# lint everything that is not Rust, and check links and spelling
lint:
    tests/run lint

# formatting, lints, unit and contract tests: before every commit
quick:
    tests/run quick

# one stage, or all of them; arguments go to the stage's runner
test *stage:
    tests/run {{ stage }}

# the tests of one crate, such as `just crate core silence`
crate name *filter:
    cargo test -p placet-{{ name }} {{ filter }}

# one story against the local gate, by a part of its name
story name:
    tests/run e2e -k {{ quote(name) }}

# write openapi.json anew after a route or a field has changed
openapi:
    cargo run -p placet-http --example openapi > crates/http/openapi.json.new && mv crates/http/openapi.json.new crates/http/openapi.json

# licences, bans and sources of dependencies
deny:
    tests/run deny

# change the rules one place at a time, and see whether a test notices (needs cargo-mutants): `just mutants --file crates/core/src/token.rs`
mutants *arguments:
    cargo mutants --package placet-core --output target {{ arguments }} -- --lib --test fixtures -- --skip words::

# the benchmarks of the local gate
bench *arguments:
    cargo run --release -p placet-bench -- {{ arguments }}
