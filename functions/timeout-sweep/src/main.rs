//! What happens later: deadlines, messages, callbacks; behind a schedule and the deadline queue.

use std::process::ExitCode;

fn main() -> ExitCode {
    placet_aws::functions::timeout_sweep()
}
