//! Images that a program makes itself: imported from a tar, because nothing may depend on a registry.
//!
//! Not responsible for: what is in them, or when they go.

use bollard::body_full;
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptions};
use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::engine::Engine;
use super::errors::Fault;
use crate::limits::ENGINE_CHANGE_TIMEOUT;
use crate::runtime::Result;

/// Imports a file system as the image `name:tag`; an older one of that name loses it.
pub(super) async fn import(engine: &Engine, name: &str, tag: &str, tar: Bytes) -> Result<()> {
    let options = CreateImageOptionsBuilder::new().from_src("-").repo(name).tag(tag).build();
    let ask = async move |client: bollard::Docker| {
        client.create_image(Some(options), Some(body_full(tar)), None).try_for_each(async |_| Ok(())).await
    };
    engine.connection.call(ENGINE_CHANGE_TIMEOUT, ask).await.map_err(Fault::unknown)
}

/// Removes an image; one that is not there is no error.
pub(super) async fn remove(engine: &Engine, image: &str) -> Result<()> {
    let ask = async |client: bollard::Docker| {
        client.remove_image(image, None::<RemoveImageOptions>, None).await.map(drop)
    };
    match engine.connection.call(ENGINE_CHANGE_TIMEOUT, ask).await {
        Err(fault) if !fault.is_absent() => Err(fault.not_done("the image was not removed")),
        _ => Ok(()),
    }
}
