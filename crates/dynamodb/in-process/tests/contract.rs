//! The store's contract, over the stand-in for DynamoDB.

placet_testkit::store_contract!(in_process::a_store_in_process);
