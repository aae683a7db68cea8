//! The image of the demonstration: this program and the libraries that it has loaded, nothing else, so that a
//! container engine is enough and no registry is asked.
//!
//! Invariant: the libraries are where the loader looks for them, because they are where it found them here.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// Where the program is in the image.
pub(super) const PROGRAM: &str = "/dogwatch";

/// The file system of the image, a tar.
pub(super) fn tar(program: &Path) -> io::Result<Bytes> {
    let mut tar = tar::Builder::new(Vec::new());
    add(&mut tar, program, Path::new(PROGRAM))?;
    for library in libraries(&fs::read_to_string("/proc/self/maps")?) {
        for place in places(&library) {
            add(&mut tar, &library, &place)?;
        }
    }
    Ok(tar.into_inner()?.into())
}

fn add(tar: &mut tar::Builder<Vec<u8>>, file: &Path, place: &Path) -> io::Result<()> {
    let content = fs::read(file)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    let relative = place.strip_prefix("/").unwrap_or(place);
    tar.append_data(&mut header, relative, content.as_slice())
}

/// The shared objects of a list of mappings (`proc_pid_maps(5)`: the path is the sixth column).
fn libraries(maps: &str) -> BTreeSet<PathBuf> {
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let is_library = |path: &&str| path.starts_with('/') && path.contains(".so");
    paths.filter(is_library).map(PathBuf::from).collect()
}

/// Where a library has to be: where it is, without the `/usr` of systems that merged the two, and, the loader
/// itself, where programs name it.
fn places(library: &Path) -> BTreeSet<PathBuf> {
    let mut places = BTreeSet::from([library.to_owned()]);
    if let Ok(short) = library.strip_prefix("/usr") {
        places.insert(Path::new("/").join(short));
    }
    let name = library.file_name().unwrap_or_default();
    if name.to_string_lossy().starts_with("ld-") {
        places.extend(["/lib", "/lib64"].map(|directory| Path::new(directory).join(name)));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_shared_objects_that_are_mapped() {
        let maps = "55d0-55d1 r--p 00000000 fe:01 12 /usr/bin/dogwatch\n\
                    7f00-7f01 r--p 00000000 fe:01 13 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                    7f01-7f02 r-xp 00001000 fe:01 13 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                    7f02-7f03 rw-p 00000000 00:00 0 \n\
                    7ffc-7ffd rw-p 00000000 00:00 0 [stack]\n";
        let found: Vec<PathBuf> = libraries(maps).into_iter().collect();
        assert_eq!(found, [PathBuf::from("/usr/lib/x86_64-linux-gnu/libc.so.6")]);
    }

    #[test]
    fn the_loader_is_also_where_programs_name_it() {
        let loader = Path::new("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
        assert!(places(loader).contains(Path::new("/lib64/ld-linux-x86-64.so.2")));
        assert!(places(loader).contains(Path::new("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")));
        assert_eq!(places(Path::new("/opt/lib/libx.so.1")).len(), 1);
    }
}
