//! The store's contract, on a database in a folder.

mod folder;

placet_testkit::store_contract!(folder::store_in_a_folder);
