//! What happens later: deadlines, messages, callbacks; behind a schedule and the deadline queue.

use std::process::ExitCode;

use placet_aws::config::Function;

fn main() -> ExitCode {
    placet_aws::lambda::run(Function::TimeoutSweep)
}
