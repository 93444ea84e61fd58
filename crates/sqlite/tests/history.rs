//! Random histories of the whole gate, on a database in a folder.

mod folder;

#[test]
fn every_history_goes_as_the_model_says() {
    placet_testkit::history::follows_the_model(folder::store_in_a_folder);
}

#[test]
fn no_race_breaks_a_promise() {
    placet_testkit::history::survives_races(folder::store_in_a_folder);
}
