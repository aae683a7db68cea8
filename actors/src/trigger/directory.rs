//! One look at a directory: which files are in it, by what they are called, how large they are and when they changed.
//!
//! Symbolic links are not followed, whatever they lead to. A look that failed anywhere says so, so that nothing that was
//! merely not seen is taken for gone.
//!
//! Not responsible for: which of them are new.

use std::collections::VecDeque;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::object::{Kind, Object};
use super::pattern::{Pattern, is_unfinished};
use super::spec::Directory;
use crate::clock::Timestamp;
use crate::limits::{TRIGGER_DEPTH_MAX, TRIGGER_DIRECTORIES_MAX, TRIGGER_LOOK_MAX, TRIGGER_OBJECT_BYTES_MAX};

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The files.
    pub(super) objects: Vec<Object>,
    /// The directory, and those below it that were looked into.
    pub(super) directories: Vec<PathBuf>,
    /// Everything was seen that is there.
    pub(super) is_whole: bool,
    /// What is wrong, for people.
    pub(super) fault: Option<String>,
}

impl Found {
    /// Nothing, for this reason.
    pub(super) fn fault(reason: impl Into<String>) -> Self {
        Self { fault: Some(reason.into()), ..Self::default() }
    }

    pub(super) fn incomplete(&mut self, reason: String) {
        self.is_whole = false;
        self.fault.get_or_insert(reason);
    }
}

/// Looks at a directory, which has to be where it was when it was allowed.
pub(super) fn look(spec: &Directory, root: Option<&str>) -> Found {
    let path = match fs::canonicalize(&spec.path) {
        Ok(path) => path,
        Err(error) => return Found::fault(format!("{}: {error}", spec.path)),
    };
    if let Some(root) = root.filter(|root| Path::new(root) != path) {
        return Found::fault(format!(
            "{} is {} now, and was {root} when it was declared; declare the trigger again",
            spec.path,
            path.display()
        ));
    }
    let patterns: Vec<Pattern> = spec.patterns.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
    let mut look = Look { spec, patterns, found: Found { is_whole: true, ..Found::default() } };
    let mut left = VecDeque::from([(path, String::new(), 0)]);
    while let Some((directory, below, depth)) = left.pop_front() {
        if let Err(error) = look.read_one(&directory, &below, depth, &mut left) {
            look.found.incomplete(format!("{}: {error}", directory.display()));
        }
        look.found.directories.push(directory);
    }
    // The same order each time, so that what there is no room for yet has its turn.
    look.found
        .objects
        .sort_by(|left, right| (left.modified_at, &left.name).cmp(&(right.modified_at, &right.name)));
    look.found
}

struct Look<'a> {
    spec: &'a Directory,
    patterns: Vec<Pattern>,
    found: Found,
}

impl Look<'_> {
    fn read_one(
        &mut self,
        directory: &Path,
        below: &str,
        depth: usize,
        left: &mut VecDeque<(PathBuf, String, usize)>,
    ) -> std::io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            // One that has no name in UTF-8 cannot be told of in JSON, and is nobody's object.
            let Ok(name) = entry.file_name().into_string() else {
                self.found.fault.get_or_insert_with(|| {
                    format!("{} has a name that is no UTF-8, and is left alone", entry.path().display())
                });
                continue;
            };
            if !self.spec.hidden && is_unfinished(&name) {
                continue;
            }
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() && self.spec.recursive {
                if depth >= TRIGGER_DEPTH_MAX
                    || left.len() + self.found.directories.len() >= TRIGGER_DIRECTORIES_MAX
                {
                    self.found
                        .incomplete("it has too many directories below it, or too deep ones".to_owned());
                    continue;
                }
                left.push_back((entry.path(), path, depth + 1));
                continue;
            }
            let fits = self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.fits(&path));
            if !kind.is_file() || !fits {
                continue;
            }
            if self.found.objects.len() >= TRIGGER_LOOK_MAX {
                self.found.incomplete(format!("it has more than {TRIGGER_LOOK_MAX} files"));
                return Ok(());
            }
            match entry.metadata() {
                Ok(metadata) => self.take(&path, &metadata),
                // It went in this moment.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, below: &str, metadata: &Metadata) {
        let name = format!("{}/{below}", self.spec.path.trim_end_matches('/'));
        if name.len() > TRIGGER_OBJECT_BYTES_MAX {
            self.found.fault.get_or_insert_with(|| "a path in it is too long, and left alone".to_owned());
            return;
        }
        let nanos = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        let millis = i64::try_from(nanos.div_euclid(1_000_000)).ok();
        self.found.objects.push(Object {
            source: Kind::Directory,
            name,
            version: format!("{}-{nanos}-{}", metadata.len(), metadata.ino()),
            size: metadata.len(),
            modified_at: millis.map(Timestamp::from_millis),
            content_type: None,
            body: None,
        });
    }
}
