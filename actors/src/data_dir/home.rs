//! A data directory in use: locked and its keys read, its store opened for the supervisor that is built on it.
//! What an application needs to embed a supervisor in three lines, and what the server itself stands on.
//!
//! Not responsible for: configuration and the API's key, which are the server's.

use std::path::Path;
use std::sync::Arc;

use super::{DataDir, DirLock, lock};
use crate::backup;
use crate::bucket::{self, Bucket};
use crate::fault::{self, Point};
use crate::id::{InstallationId, RandomIds};
use crate::secret::Keyring;
use crate::store::{self, Kind, Store};
use crate::supervisor::{Builder, Supervisor};

/// The directory of the store in it.
pub(crate) const STORE: &str = "store";

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory or a file in it.
    #[error(transparent)]
    Dir(#[from] super::Error),
    /// Another supervisor uses it.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The directory of artifacts.
    #[error(transparent)]
    Bucket(#[from] bucket::Error),
    /// The thread that opened the store broke off.
    #[error("opening the store was interrupted; try again")]
    Interrupted,
}

/// A data directory in use. Whoever has it, or the supervisor built on it, is the only one.
#[derive(Debug)]
pub struct Home {
    dir: DataDir,
    lock: DirLock,
    keyring: Keyring,
    installation: InstallationId,
}

impl Home {
    /// Opens a directory, making it where there is none.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with_key(path, None).await
    }

    /// Opens a directory whose secrets are encrypted with the key in this file instead of its own.
    pub async fn open_with_key(path: impl AsRef<Path>, key: Option<&Path>) -> Result<Self, OpenError> {
        // Before anything is written: what a newer version left stays as it is.
        if let Err(error @ store::Error::NewerFormat { .. }) = store::check_format(&path.as_ref().join(STORE))
        {
            return Err(error.into());
        }
        let dir = DataDir::prepare(path.as_ref())?;
        let lock = DirLock::take(dir.path()).await?;
        dir.probe()?;
        let keyring = dir.keyring(key, &RandomIds)?;
        let installation = dir.installation(&RandomIds)?;
        Ok(Self { dir, lock, keyring, installation })
    }

    /// The directory.
    pub const fn dir(&self) -> &DataDir {
        &self.dir
    }

    /// Whose attempts are started from here.
    pub const fn installation(&self) -> InstallationId {
        self.installation
    }

    /// A supervisor on this directory, with the store that is there, or one of the default kind; what is left to name
    /// are the runtimes.
    pub async fn builder(self) -> Result<Builder, OpenError> {
        self.builder_on(None).await
    }

    /// The same with a store of this kind, and of no other. Opening may take a while after a crash.
    pub async fn builder_on(self, kind: impl Into<Option<Kind>>) -> Result<Builder, OpenError> {
        let kind = kind.into();
        fault::reach(Point::RecoveryLocked);
        let store = self.store(kind).await?;
        fault::reach(Point::RecoveryOpened);
        Ok(Supervisor::builder()
            .store(store)
            .keyring(self.keyring)
            .installation(self.installation)
            .logs_dir(self.dir.subdirectory("logs")?)
            .artifacts(Bucket::in_directory("artifacts", self.dir.subdirectory("artifacts")?)?)
            .staging_dir(self.dir.path().join("staging"))
            .lock(self.lock))
    }

    async fn store(&self, kind: Option<Kind>) -> Result<Arc<dyn Store>, OpenError> {
        let folder = self.dir.subdirectory(STORE)?;
        let opening = tokio::task::spawn_blocking(move || {
            let kind = kind.or_else(|| store::find(&folder)).unwrap_or_default();
            store::open(&folder, kind)
        });
        opening.await.map_err(|_| OpenError::Interrupted)?.map_err(OpenError::Store)
    }

    /// What a backup of this directory is made of, with no supervisor on it. Close the store afterwards.
    pub async fn backup_subject(&self, kind: Option<Kind>) -> Result<backup::Subject, OpenError> {
        let store = self.store(kind).await?;
        Ok(backup::Subject { store, keyring: self.keyring.clone(), installation: self.installation })
    }

    /// The runtime of processes on this directory.
    #[cfg(feature = "process")]
    pub fn processes(
        &self,
        shim: crate::runtime::process::Shim,
    ) -> crate::runtime::Result<Arc<crate::runtime::process::ProcessRuntime>> {
        use crate::runtime::process::{ProcessOptions, ProcessRuntime};
        let options = ProcessOptions::new(self.dir.path().join("processes"), self.installation);
        ProcessRuntime::new(options, shim).map(Arc::new)
    }

    /// The runtime of containers, on the engine of this host.
    #[cfg(feature = "docker")]
    pub fn containers(&self) -> crate::runtime::Result<Arc<crate::runtime::docker::DockerRuntime>> {
        use crate::runtime::docker::{DockerOptions, DockerRuntime};
        DockerRuntime::connect(DockerOptions::new(self.installation)).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn a_home_has_one_user_at_a_time_and_remembers_who_it_is() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("home");
        let home = Home::open(&path).await.unwrap();
        let installation = home.installation();
        let Err(OpenError::Lock(lock::Error::Held { .. })) = Home::open(&path).await else {
            panic!("opened twice");
        };
        drop(home);
        assert_eq!(Home::open(&path).await.unwrap().installation(), installation);
    }
}
