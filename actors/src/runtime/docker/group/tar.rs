//! Writing a tar, as far as an engine needs one: files and directories with a mode and an owner (POSIX ustar).
//!
//! Not responsible for: long names, links, times. Invariant: the same entries give the same bytes.

/// The size of a block, which everything is padded to.
const BLOCK: usize = 512;

/// A tar that is being written.
#[derive(Debug, Default)]
pub(super) struct Tar(Vec<u8>);

impl Tar {
    /// Adds a file. The name has at most 100 bytes.
    pub(super) fn file(mut self, name: &str, mode: u32, owner: u32, content: &[u8]) -> Self {
        self.head(name, mode, owner, content.len(), b'0');
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// Adds a directory.
    pub(super) fn directory(mut self, name: &str, mode: u32) -> Self {
        self.head(name, mode, 0, 0, b'5');
        self
    }

    /// The whole.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }

    fn head(&mut self, name: &str, mode: u32, owner: u32, size: usize, kind: u8) {
        let mut head = [0u8; BLOCK];
        let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
        put(0, &name.as_bytes()[..name.len().min(100)]);
        put(100, format!("{mode:07o}\0").as_bytes());
        // Seven octal digits hold no id above two million; the binary form holds them all.
        put(108, &number(owner));
        put(116, &number(owner));
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, format!("{:011o}\0", 0).as_bytes());
        put(148, b"        ");
        put(156, &[kind]);
        put(257, b"ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&head);
    }
}

/// An id in its field of eight bytes: octal where it fits, else the base-256 form of GNU.
fn number(id: u32) -> [u8; 8] {
    let mut field = [0u8; 8];
    if id < 0o10_000_000 {
        field.copy_from_slice(format!("{id:07o}\0").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&id.to_be_bytes());
    }
    field
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_systems_own_tar_reads_it() {
        let tar = Tar::default()
            .directory("v/0", 0o1777)
            .file("a", 0o400, 1_000, b"hello")
            .file("b", 0o755, 2_000_000_000, &[7; 513])
            .finish();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tar");
        std::fs::write(&path, tar).unwrap();
        let listed = Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&path).output().unwrap();
        let text = String::from_utf8(listed.stdout).unwrap();
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let seen: Vec<_> = words.iter().map(|line| (line[0], line[1], line[2], line[5])).collect();
        assert_eq!(
            seen,
            [
                ("drwxrwxrwt", "0/0", "0", "v/0"),
                ("-r--------", "1000/1000", "5", "a"),
                ("-rwxr-xr-x", "2000000000/2000000000", "513", "b"),
            ],
            "{text}"
        );
    }
}
