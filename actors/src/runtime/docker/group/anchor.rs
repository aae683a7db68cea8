//! The anchor: a container of our own that does nothing, and thereby keeps a group's network namespace and volumes.
//!
//! Its image is made here, of a program of a few instructions, because nothing may depend on a registry. It has a mount
//! point for each volume that everybody may write to: an engine gives a new volume the mode of the directory that it is
//! first mounted on. Not responsible for: when the anchor is started or ended.

use super::super::engine::Engine;
use super::super::errors::Fault;
use super::super::own_image;
use super::tar::Tar;
use crate::limits::{ENGINE_QUERY_TIMEOUT, VOLUMES_MAX};
use crate::runtime::{Error, Result, StartFault};

/// The image's name and version. A change of what is in it is a new version.
const NAME: &str = "dogwatch-anchor";
const VERSION: &str = "1";

/// The program in it.
pub(super) const PROGRAM: &str = "/pause";

/// The whole name of the image.
pub(super) fn image() -> String {
    format!("{NAME}:{VERSION}")
}

/// Where volume number `index` is mounted in the anchor.
pub(super) fn mount_point(index: usize) -> String {
    format!("/v/{index}")
}

/// Gives the engine the image.
pub(super) async fn import(engine: &Engine) -> Result<()> {
    let ask = async |client: bollard::Docker| client.info().await;
    let info = engine.connection.call(ENGINE_QUERY_TIMEOUT, ask).await.map_err(Fault::unknown)?;
    let architecture = info.architecture.unwrap_or_default();
    let Some(program) = program(&architecture) else {
        let message = format!(
            "groups of containers are not supported on an engine of architecture `{architecture}`; use x86_64 or aarch64"
        );
        return Err(Error::Start { fault: StartFault::Rejected, message });
    };
    let points = (0..VOLUMES_MAX).map(mount_point);
    let tar = points.fold(Tar::default().directory("v", 0o755), |tar, point| {
        tar.directory(point.trim_start_matches('/'), 0o1777)
    });
    let tar = tar.file(PROGRAM.trim_start_matches('/'), 0o755, 0, &program);
    own_image::import(engine, NAME, VERSION, tar.finish().into()).await
}

/// A static program that waits for ever: `loop { pause() }`. A signal ends it, as it is not the first process.
fn program(architecture: &str) -> Option<Vec<u8>> {
    let (machine, page, code): (u16, u64, &[u8]) = match architecture {
        // mov eax, 34 (pause); syscall; jmp to the first.
        "x86_64" | "amd64" => (0x3e, 0x1000, &[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]),
        // mov x0..x4, 0; mov x8, 73 (ppoll); svc 0; b to the first.
        "aarch64" | "arm64" => (
            0xb7,
            0x1_0000,
            &[
                0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x80, 0xd2, 0x02, 0x00, 0x80, 0xd2, 0x03, 0x00, 0x80,
                0xd2, 0x04, 0x00, 0x80, 0xd2, 0x28, 0x09, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4, 0xf9, 0xff,
                0xff, 0x17,
            ],
        ),
        _ => return None,
    };
    const HEADERS: u64 = 64 + 56;
    const BASE: u64 = 0x40_0000;
    let size = HEADERS + code.len() as u64;
    // The header of the file: 64 bits, little endian, an executable; one program header right behind it.
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    for half in [2, machine] {
        elf.extend_from_slice(&half.to_le_bytes());
    }
    elf.extend_from_slice(&1u32.to_le_bytes());
    for word in [BASE + HEADERS, 64, 0] {
        elf.extend_from_slice(&word.to_le_bytes());
    }
    elf.extend_from_slice(&0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        elf.extend_from_slice(&half.to_le_bytes());
    }
    // The one segment: all of the file, readable and executable.
    for word in [1u32, 5] {
        elf.extend_from_slice(&word.to_le_bytes());
    }
    for word in [0, BASE, BASE, size, size, page] {
        elf.extend_from_slice(&word.to_le_bytes());
    }
    elf.extend_from_slice(code);
    Some(elf)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn the_program_of_this_machine_waits_until_it_is_ended() {
        let Some(program) = program(std::env::consts::ARCH) else { return };
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, program).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut child = std::process::Command::new(&path).spawn().unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it did not crash by itself");
    }

    #[test]
    fn every_known_machine_has_a_program() {
        for architecture in ["x86_64", "amd64", "aarch64", "arm64"] {
            assert_eq!(&program(architecture).unwrap()[..4], b"\x7fELF");
        }
        assert!(program("s390x").is_none());
    }
}
