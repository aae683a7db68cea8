//! The program `dogwatch`. Everything is in the library; here is only the order of the first two steps.

use std::process::ExitCode;

use dogwatch::serve::assemble::Shim;

/// Many small values are made on one thread and dropped on another, which the system's allocator is slow at
/// (measured: a quarter of a submission).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // First of all: a process that was started as the shim of an attempt must not read any command line.
    let shim = Shim::enter();
    dogwatch::cli::main(shim)
}
