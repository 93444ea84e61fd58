//! Leaves the tables for unwinding out of what is uploaded: an eighth of each function.
//!
//! A function ends at a panic (`panic = "abort"`), so nothing ever reads them, but the compiler writes them all the same
//! (`-C force-unwind-tables=no` changes nothing where a function has a personality, and the standard library comes with
//! its own). Only the small build is meant: one for tests unwinds.

#![expect(clippy::disallowed_methods, reason = "cargo tells a build script by the environment")]

use std::env::var;
use std::path::Path;

fn main() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("without-unwind-tables.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    if var("OPT_LEVEL").as_deref() == Ok("z") && var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}
