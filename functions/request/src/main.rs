//! What clients call, behind API Gateway.

use std::process::ExitCode;

fn main() -> ExitCode {
    placet_aws::functions::request()
}
