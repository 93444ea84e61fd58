//! `--aws` in a build that has no AWS.

use std::future::{Ready, ready};
use std::path::PathBuf;

use crate::cli::Globals;
use crate::failure::{Exit, Failure};

type Absent = Ready<Result<Exit, Failure>>;

fn absent() -> Absent {
    ready(Err(Failure::usage("this `placet` was built without AWS")
        .advise("build it with: cargo build --release -p placet --features aws")))
}

pub(super) fn push(_: &Globals, _: Option<PathBuf>, _: &str) -> Absent {
    absent()
}

pub(super) fn secret(_: &Globals, _: &str, _: &str) -> Absent {
    absent()
}

pub(super) fn rotate(_: &Globals, _: &str) -> Absent {
    absent()
}

pub(super) fn doctor(_: &Globals, _: &str) -> Absent {
    absent()
}
