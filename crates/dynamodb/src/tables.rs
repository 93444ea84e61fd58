//! The two tables: their names, their shape, and how long things stay in them.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::create_table::CreateTableInput;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use placet_gate::Fault;

use crate::items::{
    APPROVAL_ID, ATTEMPT, CLIENT, CREATED_AT, DUE_AT, DUE_PK, FORMAT_VERSION, PAYLOAD, PK, REQUEST_KEY, SEQ,
    SK, STATUS, SUBJECT,
};

/// What closes or must be sent, by time. Sparse: only what still waits is in it.
pub const DUE_INDEX: &str = "due";

/// Each client's requests, by age.
pub const LISTED_INDEX: &str = "listed";

/// The attribute that tells DynamoDB when it may delete an item, in both tables: epoch seconds.
pub const TTL_ATTRIBUTE: &str = crate::items::EXPIRES_AT;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The names of the two tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Requests, messages, subscriptions, policies, marks and counters.
    pub requests: String,
    /// The audit trail: items are put, and nothing else is ever done to them.
    pub audit: String,
}

/// How long DynamoDB keeps things before its TTL deletes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// A request after its end, and a message after it was due, in seconds.
    pub ended_seconds: i64,
    /// A request's audit entries, in seconds. The chains `policy` and `keys` stay for ever: their ends must be found.
    pub audit_seconds: i64,
}

impl Default for Keep {
    /// 90 days, and seven years for the trail.
    fn default() -> Self {
        Self { ended_seconds: 90 * DAY_SECONDS, audit_seconds: 2557 * DAY_SECONDS }
    }
}

/// Creates both tables: `requests`, then `audit`. For tests and trials; a deployment's template makes the same ones, and
/// switches TTL on by [`TTL_ATTRIBUTE`].
pub async fn create(client: &Client, tables: &Tables) -> Result<(), Fault> {
    let incomplete = |error: BuildError| Fault::new("a table could not be described", error);
    let described =
        [requests(&tables.requests).map_err(incomplete)?, audit(&tables.audit).map_err(incomplete)?];
    for table in described {
        client
            .create_table()
            .set_table_name(table.table_name)
            .set_attribute_definitions(table.attribute_definitions)
            .set_key_schema(table.key_schema)
            .set_global_secondary_indexes(table.global_secondary_indexes)
            .set_billing_mode(table.billing_mode)
            .send()
            .await
            .map_err(|error| Fault::new("a table could not be created", error))?;
    }
    Ok(())
}

fn requests(name: &str) -> Result<CreateTableInput, BuildError> {
    // A message is handed out from the index, so it is all in there; of a request, which may be long, only its keys.
    let due = Projection::builder()
        .projection_type(ProjectionType::Include)
        .set_non_key_attributes(Some(
            [REQUEST_KEY, PAYLOAD, ATTEMPT, CREATED_AT, FORMAT_VERSION].map(String::from).to_vec(),
        ))
        .build();
    let listed =
        Projection::builder().projection_type(ProjectionType::Include).non_key_attributes(STATUS).build();
    CreateTableInput::builder()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(vec![
            attribute(PK, ScalarAttributeType::S)?,
            attribute(SK, ScalarAttributeType::S)?,
            attribute(DUE_PK, ScalarAttributeType::S)?,
            attribute(DUE_AT, ScalarAttributeType::N)?,
            attribute(CLIENT, ScalarAttributeType::S)?,
            attribute(APPROVAL_ID, ScalarAttributeType::S)?,
        ]))
        .set_key_schema(Some(keys(PK, SK)?))
        .global_secondary_indexes(index(DUE_INDEX, DUE_PK, DUE_AT, due)?)
        .global_secondary_indexes(index(LISTED_INDEX, CLIENT, APPROVAL_ID, listed)?)
        .build()
}

fn audit(name: &str) -> Result<CreateTableInput, BuildError> {
    CreateTableInput::builder()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(vec![
            attribute(SUBJECT, ScalarAttributeType::S)?,
            attribute(SEQ, ScalarAttributeType::N)?,
        ]))
        .set_key_schema(Some(keys(SUBJECT, SEQ)?))
        .build()
}

fn attribute(name: &str, kind: ScalarAttributeType) -> Result<AttributeDefinition, BuildError> {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
}

fn keys(hash: &str, range: &str) -> Result<Vec<KeySchemaElement>, BuildError> {
    Ok(vec![
        KeySchemaElement::builder().attribute_name(hash).key_type(KeyType::Hash).build()?,
        KeySchemaElement::builder().attribute_name(range).key_type(KeyType::Range).build()?,
    ])
}

fn index(
    name: &str,
    hash: &str,
    range: &str,
    projection: Projection,
) -> Result<GlobalSecondaryIndex, BuildError> {
    GlobalSecondaryIndex::builder()
        .index_name(name)
        .set_key_schema(Some(keys(hash, range)?))
        .projection(projection)
        .build()
}
