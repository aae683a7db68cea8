//! The server of the real binary over attempts that cost nothing: the same listeners, store and supervisor, with
//! [`crate::ghost`] for a runtime. It tells its addresses as the real one does.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use dogwatch::api::Auth;
use dogwatch::api::server::{self, ServerOptions};
use dogwatch::callbacks;
use dogwatch::serve::addresses::Addresses;
use dogwatch_actors::data_dir::Home;
use dogwatch_actors::fleet::Budget;
use dogwatch_actors::id::RandomIds;
use dogwatch_actors::store::Kind;

use crate::error::{Error, Result, file};
use crate::ghost::Ghosts;

/// Serves the directory until the standard input closes or the process is ended.
pub(crate) fn serve(dir: &Path, attempts_max: usize, store: Kind, queued_max: usize) -> Result<()> {
    actix::System::new().block_on(async {
        let home = Home::open(dir).await?;
        let (root_key, _) = home.dir().root_key(&RandomIds)?;
        let budget = Budget { attempts_max, ..Budget::default() };
        let builder = home.builder_on(store).await?.runtime(Arc::new(Ghosts::default()));
        let supervisor = builder.budget(budget).queued_max(queued_max).start().await?;
        let handle = supervisor.handle();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let callbacks = callbacks::server::bind(&[address], handle.clone())?;
        let auth = Auth::keys([&root_key]).map_err(|error| Error::Void(error.to_string()))?;
        let api = server::bind(ServerOptions { address, handle, auth, allow_remote: false })?;
        let url =
            |addresses: &[SocketAddr]| addresses.first().map(|a| format!("http://{a}")).unwrap_or_default();
        let addresses = Addresses {
            api: url(&api.addresses),
            callback: url(&callbacks.addresses),
            grpc: None,
            pid: std::process::id(),
        };
        actix::spawn(api.server);
        actix::spawn(callbacks.server);
        addresses.write(dir).map_err(file(dir))?;
        let (told, over) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
            told.send(()).ok();
        });
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .map_err(|source| Error::Program { program: "signal handling".to_owned(), source })?;
        tokio::select! {
            _ = over => {}
            _ = terminate.recv() => {}
        }
        supervisor.shutdown().await;
        Ok(())
    })
}
