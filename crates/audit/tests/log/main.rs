//! The log, beside other libraries, and against whatever can be done to it.

mod forms;
mod receipts;
mod support;
mod tampering;
