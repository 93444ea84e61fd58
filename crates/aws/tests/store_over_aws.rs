//! The store's contract and the histories, over DynamoDB as the Lambdas reach it: this crate's HTTP client, time limits
//! and retries, on the way to whatever `AWS_ENDPOINT_URL` names.
//!
//! Not part of `cargo test`, because it needs a local AWS: `tests/aws/test_store.py` starts one and runs this. Each test
//! makes tables of its own and leaves them there.

#![expect(clippy::disallowed_methods, reason = "the local AWS is named by the environment")]
#![expect(clippy::unwrap_used, reason = "all of this is tests, where a panic is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use placet_aws::config::Access;
use placet_aws::connect::sdk_config;
use placet_core::audit::AuditEntry;
use placet_dynamodb::{DynamoStore, Keep, Tables, create};
use placet_testkit::{FixedClock, Subject, Trail};

struct InTables(DynamoStore);

#[async_trait]
impl Trail for InTables {
    async fn audit_of(&self, subject: &str) -> Vec<AuditEntry> {
        self.0.audit_of(subject).await.unwrap()
    }
}

fn client() -> Client {
    let variable = |name: &str| std::env::var(name).ok();
    let access = Access::read(variable).unwrap();
    assert!(
        access.endpoint_url.is_some(),
        "AWS_ENDPOINT_URL must name a local AWS: this leaves tables behind"
    );
    Client::new(&sdk_config(&access, variable).unwrap())
}

async fn a_store_over_aws(clock: Arc<FixedClock>) -> Subject {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("store-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let tables = Tables { requests: format!("{name}-requests"), audit: format!("{name}-audit") };
    let client = client();
    create(&client, &tables).await.unwrap();
    let store = DynamoStore::new(client, tables, Keep::default(), Arc::clone(&clock) as _);
    Subject { store: Arc::new(store.clone()), trail: Arc::new(InTables(store)), clock }
}

placet_testkit::store_contract!(a_store_over_aws);

#[test]
fn every_history_goes_as_the_model_says() {
    placet_testkit::history::follows_the_model(a_store_over_aws);
}

#[test]
fn no_race_breaks_a_promise() {
    placet_testkit::history::survives_races(a_store_over_aws);
}
