//! Random histories of the whole gate, over the stand-in for DynamoDB.

#[test]
fn every_history_goes_as_the_model_says() {
    placet_testkit::history::follows_the_model(in_process::a_store_in_process);
}

#[test]
fn no_race_breaks_a_promise() {
    placet_testkit::history::survives_races(in_process::a_store_in_process);
}
