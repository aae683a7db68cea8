//! Who fetches the files of attempts and keeps what they leave.

use async_trait::async_trait;

use crate::files::Collected;
use crate::runtime::{Plan, Result, Runtime};

/// Carries the files of attempts. Either call may be made again until it went well, and dropped at any await.
#[async_trait]
pub trait FileKeeper: Send + Sync + 'static {
    /// Has all inputs of an attempt where it finds them.
    async fn place(&self, runtime: &dyn Runtime, plan: &Plan) -> Result<()>;

    /// Collects all outputs of an ended attempt and keeps them.
    async fn collect(&self, runtime: &dyn Runtime, plan: &Plan) -> Result<Collected>;
}

/// For a fleet whose attempts have no files.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug, Clone, Copy)]
pub struct NoFiles;

#[cfg(any(test, feature = "testing"))]
#[async_trait]
impl FileKeeper for NoFiles {
    async fn place(&self, runtime: &dyn Runtime, plan: &Plan) -> Result<()> {
        runtime.put_files(plan, &[]).await
    }

    async fn collect(&self, _: &dyn Runtime, _: &Plan) -> Result<Collected> {
        Ok(Collected::failed("nobody keeps files here"))
    }
}
