//! The data directory and the small files in it: made on the first start, checked on every start.
//!
//! Invariants: the directory is `0700` and ours; key files are `0600`, written once, whole or not at all, and
//! never shown; every failure is one sentence that says what to do.

pub mod files;
mod home;
pub mod lock;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::id::{Ids, InstallationId};
use crate::secret::{Keyring, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(crate) use self::home::STORE;
pub use self::home::{Home, OpenError};
pub use self::lock::DirLock;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that is no directory stands there.
    #[error("{} is not a directory; choose another --data-dir", .0.display())]
    NotADirectory(PathBuf),
    /// It belongs to somebody else.
    #[error(
        "the data directory {} belongs to user {owner}, dogwatch runs as user {user}; run it as that user, or choose another --data-dir",
        .path.display()
    )]
    WrongOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// It cannot be written.
    #[error("cannot write to {}: permission denied; make it writable for this user, or choose another --data-dir", .0.display())]
    Denied(PathBuf),
    /// It is on a file system that cannot be written.
    #[error("cannot write to {}: the file system is read-only; choose another --data-dir", .0.display())]
    ReadOnly(PathBuf),
    /// The disk is full.
    #[error("no space left on the device that holds {}; free some space and start again", .0.display())]
    Full(PathBuf),
    /// Anything else that the operating system says.
    #[error("cannot use {}: {source}", .path.display())]
    Io {
        /// What could not be used.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} is damaged: expected {expected}; restore it from a backup", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// It is a directory of something else.
    #[error("{} is open to other users and holds files that are not dogwatch's; choose a --data-dir of its own", .0.display())]
    Shared(PathBuf),
    /// A file with a secret can be read by others.
    #[error("{} can be read by other users; run `chmod 600 {}`", .0.display(), .0.display())]
    Exposed(PathBuf),
}

impl Error {
    fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied(path),
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(path),
            io::ErrorKind::NotADirectory => Self::NotADirectory(path),
            _ => Self::Io { path, source },
        }
    }
}

/// One of these is in every directory that was ever used.
const OURS: [&str; 3] = ["installation", "root.key", "lock"];

/// A data directory that exists, is ours and can be written.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// Makes the directory if there is none, and checks it.
    pub fn prepare(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::from_io(path, source);
        match std::fs::metadata(path) {
            Ok(found) if !found.is_dir() => return Err(Error::NotADirectory(path.to_owned())),
            Ok(found) => {
                let user = rustix::process::geteuid().as_raw();
                if found.uid() != user {
                    return Err(Error::WrongOwner { path: path.to_owned(), owner: found.uid(), user });
                }
                if found.permissions().mode() & 0o077 != 0 {
                    // A typing error must not close /tmp or a home directory to everybody else.
                    let is_empty = std::fs::read_dir(path).map_err(fail)?.next().is_none();
                    if !is_empty && !OURS.iter().any(|name| path.join(name).exists()) {
                        return Err(Error::Shared(path.to_owned()));
                    }
                    tracing::warn!(path = %path.display(), "closing the data directory to other users");
                    let closed = std::fs::Permissions::from_mode(0o700);
                    std::fs::set_permissions(path, closed).map_err(fail)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)?;
            }
            Err(error) => return Err(fail(error)),
        }
        // Attempts are given paths in it, so they must not depend on where we stand.
        let path = std::fs::canonicalize(path).map_err(fail)?;
        // Only asked here: nothing may be written before the lock is ours.
        let can_write = rustix::fs::access(&path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
        can_write.map_err(|errno| fail(errno.into()))?;
        Ok(Self { path })
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes something, to be told here and clearly when the disk is full. To be called under the lock.
    pub fn probe(&self) -> Result<(), Error> {
        let probe = self.path.join("probe");
        let written = files::replace(&probe, b"written to see whether it can be");
        written
            .and_then(|()| std::fs::remove_file(&probe))
            .map_err(|source| Error::from_io(&self.path, source))
    }

    /// The root key of the API, and whether it was made just now.
    pub fn root_key(&self, ids: &dyn Ids) -> Result<(Secret, bool), Error> {
        let path = self.root_key_path();
        let mut bytes = [0u8; 32];
        ids.random(&mut bytes);
        let fresh = format!("dwk_{}\n", URL_SAFE_NO_PAD.encode(bytes));
        let (text, is_new) = self.read_or_create(&path, fresh.as_bytes())?;
        let text = String::from_utf8(text).ok().map(|text| text.trim().to_owned());
        let key = text.filter(|text| text.len() >= 32 && text.chars().all(|c| c.is_ascii_graphic()));
        let expected = "a key of at least 32 characters";
        key.map(|key| (Secret::new(key), is_new)).ok_or(Error::Damaged { path, expected })
    }

    /// The file with the root key.
    pub fn root_key_path(&self) -> PathBuf {
        self.path.join("root.key")
    }

    /// The keyring for secrets: of the file named, else the service manager's credential, else our own.
    pub fn keyring(&self, named: Option<&Path>, ids: &dyn Ids) -> Result<Keyring, Error> {
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
            .map(|dir| PathBuf::from(dir).join("dogwatch-secrets-key"))
            .filter(|path| path.exists());
        let foreign = named.map(Path::to_owned).or(credential);
        let (path, bytes) = match foreign {
            // The service manager decides who may read what it hands over, so only the content is checked.
            Some(path) => {
                let bytes = std::fs::read(&path).map_err(|source| Error::from_io(&path, source))?;
                (path, bytes)
            }
            None => {
                let path = self.path.join("secrets.key");
                let mut fresh = [0u8; 32];
                ids.random(&mut fresh);
                let bytes = self.read_or_create(&path, &fresh)?.0;
                (path, bytes)
            }
        };
        let expected = "exactly 32 bytes (make one with `head -c 32 /dev/urandom`)";
        let key = <[u8; 32]>::try_from(bytes).map_err(|_| Error::Damaged { path, expected })?;
        Ok(Keyring::new(key))
    }

    /// Who this installation is: in the label of everything it starts.
    pub fn installation(&self, ids: &dyn Ids) -> Result<InstallationId, Error> {
        let path = self.path.join("installation");
        let fresh = format!("{}\n", ids.installation_id());
        let (text, _) = self.read_or_create(&path, fresh.as_bytes())?;
        let id = String::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
        id.ok_or(Error::Damaged { path, expected: "an installation id (a uuid)" })
    }

    /// A directory in it, made if need be.
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|source| Error::from_io(&path, source))?;
        Ok(path)
    }

    fn read_or_create(&self, path: &Path, fresh: &[u8]) -> Result<(Vec<u8>, bool), Error> {
        let fail = |source| Error::from_io(path, source);
        let is_new = !path.exists() && files::create(path, fresh).map_err(fail)?;
        if std::fs::metadata(path).map_err(fail)?.permissions().mode() & 0o077 != 0 {
            return Err(Error::Exposed(path.to_owned()));
        }
        Ok((std::fs::read(path).map_err(fail)?, is_new))
    }
}

#[cfg(test)]
mod tests {
    use crate::clock::Timestamp;
    use crate::id::{AttemptKey, RandomIds};

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_first_start_makes_everything_private_and_the_second_finds_it() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        let dir = DataDir::prepare(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        dir.probe().unwrap();
        let (key, is_new) = dir.root_key(&RandomIds).unwrap();
        assert!(is_new && key.expose().starts_with("dwk_") && key.expose().len() == 47);
        let installation = dir.installation(&RandomIds).unwrap();
        let attempt = AttemptKey::new(RandomIds.job_id(Timestamp::from_millis(0)), 1);
        let token = dir.keyring(None, &RandomIds).unwrap().callback_token(attempt);
        for file in ["root.key", "secrets.key", "installation"] {
            assert_eq!(mode(&path.join(file)), 0o600, "{file}");
        }
        let dir = DataDir::prepare(&path).unwrap();
        let (again, is_new) = dir.root_key(&RandomIds).unwrap();
        assert!(!is_new && again == key);
        assert_eq!(dir.installation(&RandomIds).unwrap(), installation);
        assert_eq!(dir.keyring(None, &RandomIds).unwrap().callback_token(attempt), token);
        let left: Vec<_> =
            std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 3, "drafts or probes were left behind: {left:?}");
    }

    #[test]
    fn each_fault_is_named() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        std::fs::write(&file, b"x").unwrap();
        assert!(matches!(DataDir::prepare(&file), Err(Error::NotADirectory(_))));
        assert!(matches!(DataDir::prepare(&file.join("below")), Err(Error::NotADirectory(_))));
        assert!(matches!(
            DataDir::prepare(Path::new("/proc/dogwatch")),
            Err(Error::Io { .. } | Error::Denied(_))
        ));

        let dir = DataDir::prepare(&base.path().join("d")).unwrap();
        let secrets = dir.path().join("secrets.key");
        files::replace(&secrets, b"short").unwrap();
        assert!(matches!(dir.keyring(None, &RandomIds), Err(Error::Damaged { .. })));
        let named = base.path().join("named.key");
        std::fs::write(&named, [7u8; 32]).unwrap();
        dir.keyring(Some(&named), &RandomIds).unwrap();
        assert!(dir.keyring(Some(&base.path().join("missing")), &RandomIds).is_err());

        dir.root_key(&RandomIds).unwrap();
        std::fs::set_permissions(dir.root_key_path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = dir.root_key(&RandomIds).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn an_open_directory_is_closed() {
        let base = tempfile::tempdir().unwrap();
        std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        DataDir::prepare(base.path()).unwrap();
        assert_eq!(mode(base.path()), 0o700);
        // But not one that belongs to something else.
        std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(base.path().join("foreign"), b"").unwrap();
        assert!(matches!(DataDir::prepare(base.path()), Err(Error::Shared(_))));
        assert_eq!(mode(base.path()), 0o755);
    }

    #[test]
    fn a_full_disk_is_called_so() {
        let full = Error::from_io(Path::new("/d"), rustix::io::Errno::NOSPC.into());
        assert!(matches!(full, Error::Full(_)));
    }
}
