//! What clients call, behind API Gateway.

use std::process::ExitCode;

use placet_aws::config::Function;
use placet_aws::lambda;

fn main() -> ExitCode {
    lambda::run(Function::Request, lambda::request)
}
