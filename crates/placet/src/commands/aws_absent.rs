//! `--aws` in a build that has no AWS.

use std::future::{Ready, ready};
use std::path::PathBuf;

use placet_core::chat::ChannelSettings;
use placet_core::policy::Policy;
use placet_delivery::{AlertWays, Notification, SendOutcome};

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

/// What a stack keeps for its channels: there is none here.
pub(super) enum Kept {}

pub(super) fn kept(_: &str) -> Absent<Kept> {
    absent()
}

impl Kept {
    pub(super) fn read(&self) -> Absent<ChannelSettings> {
        match *self {}
    }

    pub(super) fn change(&self, _: &(dyn Fn(&mut ChannelSettings) + Sync)) -> Absent<()> {
        match *self {}
    }

    pub(super) fn url(&self) -> String {
        match *self {}
    }

    pub(super) fn send(&self, _: &Notification) -> Absent<SendOutcome> {
        match *self {}
    }
}

pub(super) fn open(_: &str) -> Absent<Opened> {
    absent()
}

pub(super) fn ways(_: &str) -> Absent<(AlertWays, Policy)> {
    absent()
}
