//! `serve`: the server, until a signal.

use clap::Args;

use super::context::Context;
use super::exit::Exit;
use super::{Error, output};
use crate::config::Flag;
use crate::serve::notify::{Notice, notify};
use crate::serve::signals::StopSignals;
use crate::serve::{self, Role, Server, own_process};

/// The arguments of `serve`: each sets the configuration key of the same name.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Where the API listens [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// Where callbacks from attempts arrive [default: 127.0.0.1:7071]
    #[arg(long, value_name = "ADDR:PORT")]
    pub callback_listen: Option<String>,
    /// Where workers and clients of the Durable Task SDKs connect [default: 127.0.0.1:7072]
    #[arg(long, value_name = "ADDR:PORT")]
    pub grpc_listen: Option<String>,
    /// Which runtimes are offered: auto, docker or process
    #[arg(long, value_name = "RUNTIME")]
    pub runtime: Option<String>,
    /// Let other machines reach the API
    #[arg(long)]
    pub allow_remote: bool,
}

impl ServeArgs {
    /// The flags as settings.
    pub fn flags(&self) -> Vec<Flag> {
        let allow_remote = self.allow_remote.then(|| "true".to_owned());
        [
            ("--listen", "server.listen", &self.listen),
            ("--callback-listen", "callback.listen", &self.callback_listen),
            ("--grpc-listen", "grpc.listen", &self.grpc_listen),
            ("--runtime", "server.runtime", &self.runtime),
            ("--allow-remote", "server.allow_remote", &allow_remote),
        ]
        .into_iter()
        .filter_map(|(name, key, value)| Some(Flag { name, key, value: value.clone()? }))
        .collect()
    }
}

pub(super) async fn run(context: Context) -> Result<Exit, Error> {
    context.start_log(false)?;
    #[cfg(feature = "fault-points")]
    arm_faults()?;
    own_process::prepare();
    // Before anything is started: a signal that comes meanwhile is a graceful stop too.
    let mut signals = StopSignals::listen().map_err(serve::Error::Signals)?;
    let mut server = Server::start(&context.loaded, context.shim.clone(), Role::Standalone).await?;
    let addresses = server.addresses();
    let grpc = addresses.grpc.as_deref().unwrap_or("none");
    tracing::info!(api = %addresses.api, callback = %addresses.callback, grpc, data_dir = %server.data_dir().display(), "listening");
    if let Some(path) = server.new_root_key() {
        output::note(&format!(
            "dogwatch: first start: the root key of the API is in {} (commands on this machine find it by themselves)",
            path.display()
        ));
    }
    notify(Notice::Ready);
    let ended = tokio::select! {
        request = signals.next() => {
            tracing::info!(signal = %request, "stopping; running attempts go on");
            Ok(Exit::OK)
        }
        error = server.failed() => Err(error),
    };
    notify(Notice::Stopping);
    server.shutdown().await;
    Ok(ended?)
}

/// Arms the fault points that `DOGWATCH_FAULT` names; only in a build for tests.
#[cfg(feature = "fault-points")]
fn arm_faults() -> Result<(), Error> {
    let faults = std::env::var("DOGWATCH_FAULT").unwrap_or_default();
    dogwatch_actors::fault::arm(&faults).map_err(|error| Error::Usage(format!("DOGWATCH_FAULT: {error}")))
}
