//! A function from its start to its last event: start the log, run the loop, log what it failed with.

#![expect(clippy::disallowed_methods, reason = "the one place where a function reads its environment")]

use std::process::ExitCode;

use aws_types::SdkConfig;
use lambda_runtime::Diagnostic;
use placet_core::Fault;

use crate::config::{Base, ConfigFaults};
use crate::connect::sdk_config;
use crate::telemetry;

/// Why a function could not start, or ended.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Config(#[from] ConfigFaults),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the runtime failed: {0}")]
    Runtime(String),
}

/// Runs a function until Lambda ends it. Nothing of AWS is called before the first event.
///
/// `read` is the function's own configuration, `base` the part of it that all have. Each function names its own way to
/// `serve`, so that its binary holds nothing of the others.
pub(crate) fn run<C, F>(
    read: Result<C, ConfigFaults>,
    base: fn(&C) -> &Base,
    serve: impl FnOnce(C, SdkConfig) -> F,
) -> ExitCode
where
    F: Future<Output = Result<(), lambda_runtime::Error>>,
{
    match &read {
        Ok(config) => telemetry::start(base(config).log_level, &base(config).gate),
        Err(_) => telemetry::start(tracing::Level::INFO, "placet"),
    }
    match start(read, base, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            let cause = match &trouble {
                Trouble::Fault(fault) => fault.chain(),
                Trouble::Config(_) | Trouble::Runtime(_) => trouble.to_string(),
            };
            tracing::error!(error = cause, "the function cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn start<C, F>(
    read: Result<C, ConfigFaults>,
    base: fn(&C) -> &Base,
    serve: impl FnOnce(C, SdkConfig) -> F,
) -> Result<(), Trouble>
where
    F: Future<Output = Result<(), lambda_runtime::Error>>,
{
    let config = read?;
    let sdk = sdk_config(&base(&config).access, variable)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::Runtime(error.to_string()))?;
    runtime.block_on(serve(config, sdk)).map_err(|error| Trouble::Runtime(error.to_string()))
}

/// A variable of the environment: the only place where a function reads it.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Logs the cause, once; what Lambda is told ends in the caller's own log.
pub(crate) fn failed(fault: &Fault) -> Diagnostic {
    tracing::error!(error = fault.chain(), "an event could not be dealt with");
    Diagnostic { error_type: "Fault".to_owned(), error_message: fault.to_string() }
}
