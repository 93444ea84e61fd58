//! The rotation of the keys, behind Secrets Manager.

use std::process::ExitCode;

fn main() -> ExitCode {
    placet_aws::rotation::rotate_secret()
}
