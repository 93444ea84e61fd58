//! The rotation of the keys, behind Secrets Manager.

use std::process::ExitCode;

use placet_aws::config::Function;

fn main() -> ExitCode {
    placet_aws::lambda::run(Function::RotateSecret)
}
