//! Makes the library that stands between a program and its disk (`faultfs.c` says what it can do).

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles it into `dir`, for `LD_PRELOAD`.
pub(crate) fn compile(dir: &Path) -> PathBuf {
    let (source, library) = (dir.join("faultfs.c"), dir.join("faultfs.so"));
    std::fs::write(&source, include_str!("faultfs.c")).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).args(["-ldl", "-lpthread"]);
    let done = compiler.output().expect("a C compiler is installed (`apt-get install gcc`)");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    library
}
