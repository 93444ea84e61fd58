//! The store's contract, on the store in memory that the gate's unit tests use.

placet_testkit::store_contract!(placet_testkit::a_store_in_memory);

#[test]
fn every_history_goes_as_the_model_says() {
    placet_testkit::history::follows_the_model(placet_testkit::a_store_in_memory);
}

#[test]
fn no_race_breaks_a_promise() {
    placet_testkit::history::survives_races(placet_testkit::a_store_in_memory);
}
