//! The log, beside other libraries, and against whatever can be done to it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a panic is a failed test, and these logs are small"
)]

mod forms;
mod receipts;
mod support;
mod tampering;
