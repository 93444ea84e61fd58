//! An embedded stand-in for DynamoDB behind the SDK's own client, and what can go wrong on the way to it.
//!
//! Nothing here is a test. Each call goes through the SDK's serialisation, signing and retries; only the wire is missing.

#![expect(clippy::missing_panics_doc, reason = "all of this runs in tests, where a panic is a failed test")]

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::{Client, Config};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use dynoxide::{Database, DynoxideError};
use placet_core::audit::AuditEntry;
use placet_dynamodb::{DynamoStore, Keep, TTL_ATTRIBUTE, Tables, create};
use placet_gate::ports::Clock as _;
use placet_testkit::{FixedClock, Subject, Trail};
use serde_json::{Value, json};

/// What goes wrong with one call.
#[derive(Clone, Debug)]
pub enum Mishap {
    /// It is done, and the answer does not arrive.
    AnswerLost,
    /// It is done, and the answer is an error of the server's.
    ServerError,
    /// It never arrives.
    Unreachable,
    /// It is refused, with that error.
    Refused(&'static str),
    /// The transaction is cancelled: each of its items is in use by another.
    Conflict,
}

/// The stand-in. Clones are the same one.
#[derive(Clone)]
pub struct StandIn {
    database: Arc<Database>,
    mishaps: Arc<Mutex<VecDeque<(&'static str, Mishap)>>>,
    calls: Arc<Mutex<Vec<String>>>,
    arrival: Arc<Mutex<Option<Arrival>>>,
}

/// What happens as a call arrives.
type Arrival = Box<dyn FnMut(&str) + Send>;

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StandIn")
    }
}

impl StandIn {
    /// An empty one.
    pub fn new() -> Self {
        Self::over(Database::memory().unwrap())
    }

    /// An empty one whose own clock is that one, too: for its TTL.
    pub fn with_clock(clock: Arc<FixedClock>) -> Self {
        Self::over(Database::memory_with_clock(Arc::new(ServerClock(clock))).unwrap())
    }

    fn over(database: Database) -> Self {
        Self {
            database: Arc::new(database),
            mishaps: Arc::default(),
            calls: Arc::default(),
            arrival: Arc::default(),
        }
    }

    /// A client that talks to it.
    pub fn client(&self) -> Client {
        let connector = SharedHttpConnector::new(self.clone());
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::from_keys("AKID", "secret", None))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        Client::from_conf(config)
    }

    /// What goes wrong next with calls of that operation, in this order.
    pub fn let_go_wrong(&self, operation: &'static str, mishaps: impl IntoIterator<Item = Mishap>) {
        self.mishaps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(mishaps.into_iter().map(|mishap| (operation, mishap)));
    }

    /// Does something whenever a call arrives, before anything else.
    pub fn on_arrival(&self, arrival: impl FnMut(&str) + Send + 'static) {
        *self.arrival.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(arrival));
    }

    /// The operations that were called since the last look.
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has the TTL delete what is over by the database's clock, in both tables; how many items.
    pub fn expire(&self) -> usize {
        for table in [tables().requests, tables().audit] {
            let specification = json!({ "AttributeName": TTL_ATTRIBUTE, "Enabled": true });
            let request = json!({ "TableName": table, "TimeToLiveSpecification": specification });
            // Switched on already the second time, which is refused.
            let _ = self.database.update_time_to_live(serde_json::from_value(request).unwrap());
        }
        self.database.sweep_ttl().unwrap()
    }

    /// All items of a table.
    pub fn items(&self, table: &str) -> Vec<Value> {
        let request = serde_json::from_value(json!({ "TableName": table })).unwrap();
        let answer = serde_json::to_value(self.database.scan(request).unwrap()).unwrap();
        answer["Items"].as_array().unwrap().clone()
    }

    /// Puts an item that is there already, changed: as another version of Placet might have written it.
    pub fn put(&self, table: &str, item: &Value, change: impl FnOnce(&mut Value)) {
        let mut item = item.clone();
        change(&mut item);
        let request = json!({ "TableName": table, "Item": item });
        self.database.put_item(serde_json::from_value(request).unwrap()).unwrap();
    }

    fn mishap(&self, operation: &str) -> Option<Mishap> {
        let mut mishaps = self.mishaps.lock().unwrap_or_else(PoisonError::into_inner);
        let place = mishaps.iter().position(|(of, _)| *of == operation)?;
        mishaps.remove(place).map(|(_, mishap)| mishap)
    }

    fn answer(&self, operation: &str, body: &[u8]) -> Result<HttpResponse, ConnectorError> {
        if let Some(arrival) = self.arrival.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            arrival(operation);
        }
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(operation.to_owned());
        match self.mishap(operation) {
            None => Ok(self.do_it(operation, body)),
            Some(Mishap::AnswerLost) => {
                self.do_it(operation, body);
                Err(ConnectorError::timeout("no answer".into()))
            }
            Some(Mishap::ServerError) => {
                self.do_it(operation, body);
                Ok(response(500, error("InternalServerError", &[]).to_string()))
            }
            Some(Mishap::Unreachable) => Err(ConnectorError::io("no connection".into())),
            Some(Mishap::Refused(code)) => Ok(response(400, error(code, &[]).to_string())),
            Some(Mishap::Conflict) => {
                let request: Value = serde_json::from_slice(body).unwrap();
                let count = request["TransactItems"].as_array().map_or(0, Vec::len);
                let reasons = vec![json!({ "Code": "TransactionConflict" }); count];
                Ok(response(400, error("TransactionCanceledException", &reasons).to_string()))
            }
        }
    }

    fn do_it(&self, operation: &str, body: &[u8]) -> HttpResponse {
        match self.run(operation, body) {
            Ok(answer) => response(200, answer),
            Err(error) => response(error.status_code(), error.to_json()),
        }
    }

    fn run(&self, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
        macro_rules! call {
            ($method:ident) => {{
                let request = serde_json::from_slice(body).unwrap();
                let answer = self.database.$method(request)?;
                Ok(serde_json::to_string(&answer).unwrap())
            }};
        }
        match operation {
            "BatchGetItem" => call!(batch_get_item),
            "CreateTable" => call!(create_table),
            "DeleteItem" => call!(delete_item),
            "GetItem" => call!(get_item),
            "PutItem" => call!(put_item),
            "Query" => call!(query),
            "Scan" => call!(scan),
            "TransactWriteItems" => call!(transact_write_items),
            "UpdateItem" => call!(update_item),
            other => panic!("the stand-in does not know {other}"),
        }
    }
}

struct ServerClock(Arc<FixedClock>);

impl dynoxide::storage_backend::Clock for ServerClock {
    fn now_unix_secs(&self) -> u64 {
        self.0.now().seconds().unsigned_abs()
    }

    fn now_unix_secs_f64(&self) -> f64 {
        Duration::from_millis(self.0.now().millis().unsigned_abs()).as_secs_f64()
    }
}

impl Default for StandIn {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpConnector for StandIn {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        let target = request.headers().get("x-amz-target").unwrap();
        let operation = target.rsplit('.').next().unwrap().to_owned();
        let body = request.body().bytes().unwrap().to_vec();
        // On a thread that may block: else one that waits for the database keeps the others from their turn.
        HttpConnectorFuture::new(async move {
            tokio::task::spawn_blocking(move || this.answer(&operation, &body)).await.unwrap()
        })
    }
}

fn response(status: u16, body: String) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    response
}

fn error(code: &str, reasons: &[Value]) -> Value {
    let mut error =
        json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "so be it" });
    if !reasons.is_empty() {
        error["CancellationReasons"] = reasons.into();
    }
    error
}

/// The names of the tables.
pub fn tables() -> Tables {
    Tables { requests: "requests".into(), audit: "audit".into() }
}

/// A new store in new tables of that stand-in.
pub async fn store_in(stand_in: &StandIn, clock: Arc<FixedClock>) -> DynamoStore {
    let client = stand_in.client();
    create(&client, &tables()).await.unwrap();
    stand_in.take_calls();
    DynamoStore::new(client, tables(), Keep::default(), clock)
}

struct InTables(DynamoStore);

#[async_trait]
impl Trail for InTables {
    async fn audit_of(&self, subject: &str) -> Vec<AuditEntry> {
        self.0.audit_of(subject).await.unwrap()
    }
}

/// A new store, as the contract and the histories want it.
pub async fn a_store_in_process(clock: Arc<FixedClock>) -> Subject {
    let store = store_in(&StandIn::new(), clock.clone()).await;
    Subject { store: Arc::new(store.clone()), trail: Arc::new(InTables(store)), clock }
}
