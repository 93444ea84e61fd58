//! The rotation of the keys, behind Secrets Manager.

use std::process::ExitCode;

use placet_aws::config::Function;
use placet_aws::lambda;

fn main() -> ExitCode {
    lambda::run(Function::RotateSecret, lambda::rotate_secret)
}
