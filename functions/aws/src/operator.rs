//! What the operator's command does on AWS.
