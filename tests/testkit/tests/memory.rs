//! The store's contract, on the store in memory that the gate's unit tests use.

placet_testkit::store_contract!(placet_testkit::a_store_in_memory);
