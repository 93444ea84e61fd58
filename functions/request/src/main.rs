//! What clients call, behind API Gateway.

use std::process::ExitCode;

use placet_aws::config::Function;

fn main() -> ExitCode {
    placet_aws::lambda::run(Function::Request)
}
