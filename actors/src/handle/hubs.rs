//! Task hubs: namespaces of orchestrations and entities. The default one is always there; others are created.

use super::{Handle, entities, orchestrations};
use crate::durable::keys;
use crate::handle::orchestrations::InstanceFilter;
use crate::orchestration::id::{DEFAULT_HUB, is_hub};
use crate::store::{Batch, KeyRange, Order};

/// What one may ask about task hubs.
#[derive(Debug, Clone)]
pub struct TaskHubs {
    handle: Handle,
}

/// What may be answered instead of what was asked about task hubs.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be the name of one.
    #[error("`{0}` is not the name of a task hub; use 1 to 64 letters, digits, - and _")]
    Name(String),
    /// The default one stays.
    #[error("the task hub `{DEFAULT_HUB}` is always there; purge what is in it instead")]
    Default,
    /// It still has what cannot be deleted.
    #[error(
        "the task hub still has instances that are not over; they are being terminated, delete it again later"
    )]
    Busy,
    /// What may be answered about its instances.
    #[error(transparent)]
    Instances(#[from] orchestrations::Error),
    /// What may be answered about its entities.
    #[error(transparent)]
    Entities(#[from] entities::Error),
}

impl From<crate::store::Error> for Error {
    fn from(error: crate::store::Error) -> Self {
        Self::Instances(error.into())
    }
}

/// The result of a request about task hubs.
pub type Result<T> = std::result::Result<T, Error>;

impl Handle {
    /// What one may ask about task hubs.
    pub fn task_hubs(&self) -> TaskHubs {
        TaskHubs { handle: self.clone() }
    }
}

impl Handle {
    /// Whether there is a task hub of this name.
    pub(super) fn has_task_hub(&self, name: &str) -> crate::store::Result<bool> {
        Ok(name == DEFAULT_HUB || self.inner().store.get(&keys::task_hub(name))?.is_some())
    }
}

impl TaskHubs {
    /// Whether there is one of this name.
    pub fn exists(&self, name: &str) -> Result<bool> {
        Ok(self.handle.has_task_hub(name)?)
    }

    /// All of them.
    pub fn list(&self) -> Result<Vec<String>> {
        let prefix = keys::task_hub("");
        let rows =
            self.handle.inner().store.scan(KeyRange::prefix(prefix.clone()), Order::Ascending, usize::MAX)?;
        let names = rows.iter().filter_map(|(key, _)| key.strip_prefix(prefix.as_slice()));
        let names = names.map(|name| String::from_utf8_lossy(name).into_owned());
        Ok(std::iter::once(DEFAULT_HUB.to_owned()).chain(names).collect())
    }

    /// Creates one, unless it is there. Resolves when it is durable.
    pub async fn create(&self, name: &str) -> Result<()> {
        if !is_hub(name) {
            return Err(Error::Name(name.chars().take(128).collect()));
        }
        if self.exists(name)? {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.put(keys::task_hub(name), Vec::new());
        self.handle.inner().store.commit(batch).await?;
        Ok(())
    }

    /// Deletes one with everything in it; instances that are not over are terminated first.
    pub async fn delete(&self, name: &str) -> Result<()> {
        if name == DEFAULT_HUB {
            return Err(Error::Default);
        }
        let mut batch = Batch::new();
        batch.delete(keys::task_hub(name));
        self.clear(name).await?;
        self.handle.inner().store.commit(batch).await?;
        Ok(())
    }

    /// Deletes everything in one.
    pub async fn clear(&self, name: &str) -> Result<()> {
        let client = self.handle.orchestrations();
        let filter = InstanceFilter { hub: Some(name.to_owned()), ..InstanceFilter::default() };
        loop {
            let page = client.query(&filter)?;
            let mut is_busy = false;
            for instance in &page.instances {
                let id = instance.state.id;
                if !instance.state.status().is_some_and(|status| status.is_terminal()) {
                    let reason = Some("its task hub is deleted".to_owned());
                    drop(client.terminate(id, reason, false).await);
                }
                match client.purge(id).await {
                    Ok(_) | Err(orchestrations::Error::NotFound(_)) => {}
                    Err(orchestrations::Error::Conflict { .. }) => is_busy = true,
                    Err(error) => return Err(error.into()),
                }
            }
            if is_busy {
                return Err(Error::Busy);
            }
            if page.instances.is_empty() && page.next.is_none() {
                // Last: an instance that ends still speaks to entities.
                return Ok(self.handle.entities().clear(name).await?);
            }
        }
    }
}
