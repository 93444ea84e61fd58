//! `--aws` in a build that has no AWS.

use std::future::{Ready, ready};
use std::path::PathBuf;

use placet_core::policy::Policy;
use placet_delivery::AlertWays;

use super::Opened;
use crate::cli::Globals;
use crate::failure::{Exit, Failure};

type Absent<T> = Ready<Result<T, Failure>>;

fn absent<T>() -> Absent<T> {
    ready(Err(Failure::usage("this `placet` was built without AWS")
        .with_code("built_without_aws")
        .advise("build it with: cargo build --release -p placet --features aws")))
}

pub(super) fn push(_: &Globals, _: Option<PathBuf>, _: &str) -> Absent<Exit> {
    absent()
}

pub(super) fn secret(_: &Globals, _: &str, _: &str) -> Absent<Exit> {
    absent()
}

pub(super) fn rotate(_: &Globals, _: &str, _: bool) -> Absent<Exit> {
    absent()
}

pub(super) fn doctor(_: &Globals, _: &str) -> Absent<Exit> {
    absent()
}

pub(super) fn open(_: &str) -> Absent<Opened> {
    absent()
}

pub(super) fn ways(_: &str) -> Absent<(AlertWays, Policy)> {
    absent()
}
