//! What happens later: deadlines, messages, callbacks; behind a schedule and the deadline queue.

use std::process::ExitCode;

use placet_aws::config::Function;
use placet_aws::lambda;

fn main() -> ExitCode {
    lambda::run(Function::TimeoutSweep, lambda::timeout_sweep)
}
