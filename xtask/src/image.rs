//! The image that the tests run: a static busybox with its applets, imported from a tar made here, because
//! tests may not depend on a registry.
//!
//! Invariant: the tar depends on the busybox binary alone (fixed order, times and owners).

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::{Fault, Outcome, find, output};
use crate::packages;

/// The image of the tests.
pub(crate) const TEST_IMAGE: &str = "dogwatch-test:latest";
/// The name that examples and the README use; only given when nothing has it.
const PUBLIC_NAME: &str = "busybox:latest";
/// Raised whenever the contents change, so that an older image is replaced.
const REVISION: &str = "1";

/// Makes sure that the image of the tests is there.
pub(crate) fn ensure() -> Outcome {
    let label = "{{index .Config.Labels \"dev.dogwatch.test-image\"}}";
    let present = output(Command::new("docker").args(["image", "inspect", "--format", label, TEST_IMAGE]));
    if present.is_none_or(|revision| revision.trim() != REVISION) {
        import()?;
    }
    if output(Command::new("docker").args(["image", "inspect", PUBLIC_NAME])).is_none() {
        docker(&["tag", TEST_IMAGE, PUBLIC_NAME])?;
        eprintln!("xtask: tagged the test image as {PUBLIC_NAME} too, since there was none");
    }
    Ok(())
}

fn docker(arguments: &[&str]) -> Outcome {
    let done = output(Command::new("docker").args(arguments));
    done.map(drop).ok_or_else(|| Fault::new(format!("`docker {}` failed", arguments.join(" "))))
}

fn import() -> Outcome {
    if find("busybox").is_none() {
        packages::install(&["busybox-static"])?;
    }
    let busybox = find("busybox").ok_or_else(|| Fault::new("busybox-static installed no busybox"))?;
    let tar = tar_of(&busybox)?;
    let failed = |error: std::io::Error| Fault::new(format!("`docker import` failed: {error}"));
    let mut command = Command::new("docker");
    command.args(["import", "--change", "CMD [\"sh\"]"]);
    command.args(["--change", &format!("LABEL dev.dogwatch.test-image={REVISION}"), "-", TEST_IMAGE]);
    let mut import = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map_err(failed)?;
    import.stdin.take().expect("it was piped").write_all(&tar).map_err(failed)?;
    let status = import.wait().map_err(failed)?;
    if !status.success() {
        return Err(Fault::new(format!("`docker import` failed: {status}")));
    }
    eprintln!("xtask: imported {TEST_IMAGE} ({} KiB)", tar.len() / 1024);
    Ok(())
}

fn tar_of(busybox: &Path) -> Outcome<Vec<u8>> {
    let unreadable = |error: std::io::Error| Fault::new(format!("{}: {error}", busybox.display()));
    let binary = std::fs::read(busybox).map_err(unreadable)?;
    // A dynamic executable would need its loader in the image: it names one in its program header.
    if binary.windows(8).take(4096).any(|bytes| bytes == b"/ld-linu" || bytes == b"ld-linux") {
        return Err(Fault::new(format!("{} is not static; install busybox-static", busybox.display())));
    }
    let applets = output(Command::new(busybox).arg("--list"))
        .ok_or_else(|| Fault::new(format!("`{} --list` failed", busybox.display())))?;
    let mut tar = Tar::default();
    for (directory, mode) in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777)] {
        tar.directory(directory, mode);
    }
    tar.file("bin/busybox", 0o755, &binary);
    for applet in applets.lines().filter(|name| !matches!(*name, "busybox" | "")) {
        tar.link(&format!("bin/{applet}"), "busybox");
    }
    // What the tests of failing starts need: a file that may not be executed, and one that cannot be.
    tar.file("bin/not-executable", 0o644, b"#!/bin/sh\n");
    tar.file("bin/wrong-format", 0o755, b"\x7fELF is not what this is\n");
    tar.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n");
    tar.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n");
    Ok(tar.finish())
}

/// A tar in the ustar format: only what an image needs.
#[derive(Debug, Default)]
struct Tar(Vec<u8>);

impl Tar {
    const BLOCK_BYTES: usize = 512;

    fn directory(&mut self, path: &str, mode: u32) {
        self.header(&format!("{path}/"), mode, 0, b'5', "");
    }

    fn link(&mut self, path: &str, to: &str) {
        self.header(path, 0o777, 0, b'2', to);
    }

    fn file(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.header(path, mode, contents.len(), b'0', "");
        self.0.extend_from_slice(contents);
        let end = self.0.len().next_multiple_of(Self::BLOCK_BYTES);
        self.0.resize(end, 0);
    }

    fn header(&mut self, path: &str, mode: u32, size: usize, kind: u8, link: &str) {
        assert!(path.len() < 100 && link.len() < 100, "the paths of this image are short");
        let mut block = [0u8; Self::BLOCK_BYTES];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, path.as_bytes());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
    }

    fn finish(mut self) -> Vec<u8> {
        // Two empty blocks end an archive.
        self.0.resize(self.0.len() + 2 * Self::BLOCK_BYTES, 0);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_contents_make_the_same_tar_and_tar_can_read_it() {
        let build = || {
            let mut tar = Tar::default();
            tar.directory("tmp", 0o1777);
            tar.file("tmp/a", 0o644, b"hello");
            tar.link("tmp/b", "a");
            tar.finish()
        };
        assert_eq!(build(), build());
        let mut listing = Command::new("tar")
            .args(["-t", "-v"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar is everywhere");
        listing.stdin.take().expect("piped").write_all(&build()).expect("tar reads");
        let listing = listing.wait_with_output().expect("tar ends");
        let text = String::from_utf8_lossy(&listing.stdout);
        assert!(listing.status.success(), "{text}");
        assert!(text.contains("drwxrwxrwt") && text.contains("tmp/b -> a"), "{text}");
    }
}
