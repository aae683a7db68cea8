//! Making a group, or the rest of one that was begun.
//!
//! Invariants: every step adopts what is there, so that a crash between any two is mended by doing all again; the main
//! container comes last, so that whoever finds it finds everything; nothing of the user's runs yet.

use std::sync::Arc;

use super::super::create::{create_one, post, settle};
use super::super::engine::{Engine, One};
use super::super::errors::{Fault, of_start};
use super::super::image_reference::Reference;
use super::super::pull::PullKey;
use super::super::single_flight::SingleFlight;
use super::{ANCHOR, anchor, bodies, of_part, volumes};
use crate::limits::ENGINE_CHANGE_TIMEOUT;
use crate::runtime::{Error, Observation, Plan, Result, StartFault};
use bollard::query_parameters::StartContainerOptions;

/// Makes the volumes, the anchor, which is started, and all containers, of which none is.
pub(in super::super) async fn create(
    engine: &Arc<Engine>,
    pulls: &SingleFlight<PullKey>,
    plan: &Plan,
) -> Result<()> {
    let mut plan = plan.clone();
    volumes::create(engine, &mut plan).await?;
    run_anchor(engine, &plan).await?;
    volumes::write_secrets(engine, &plan).await?;
    for member in plan.group.init.iter().chain(&plan.group.sidecars) {
        let one = One::part(plan.key, &member.name);
        let make = async {
            let image = Reference::parse(&member.image)?;
            let body = bodies::member(engine, &plan, member, &image)?;
            create_one(engine, pulls, &one, &image, body, &plan.registry_credentials).await
        };
        make.await.map_err(|error| of_part(&one, error))?;
    }
    let message = "a docker job needs an image; name one".to_owned();
    let missing = Error::Start { fault: StartFault::Rejected, message };
    let image = Reference::parse(plan.image.as_deref().ok_or(missing)?)?;
    let body = bodies::main(engine, &plan, &image)?;
    create_one(engine, pulls, &One::main(plan.key), &image, body, &plan.registry_credentials).await
}

async fn run_anchor(engine: &Engine, plan: &Plan) -> Result<()> {
    let one = One::part(plan.key, ANCHOR);
    let body = bodies::anchor(engine, plan);
    match post(engine, &one, body.clone()).await {
        Err(fault) if fault.is_absent() && fault.to_string().contains("No such image") => {
            anchor::import(engine).await?;
            settle(engine, &one, post(engine, &one, body).await).await?;
        }
        outcome => settle(engine, &one, outcome).await?,
    }
    // It is the one container that may be started again: it does nothing, and nothing of the attempt has begun.
    if matches!(engine.see(&one).await?, Observation::Running(_)) {
        return Ok(());
    }
    let name = engine.name_of(&one);
    let ask =
        async |client: bollard::Docker| client.start_container(&name, None::<StartContainerOptions>).await;
    match engine.connection.call(ENGINE_CHANGE_TIMEOUT, ask).await {
        Err(fault @ Fault::Unanswered(_)) => Err(fault.unknown()),
        Err(fault) => Err(of_part(&one, of_start(fault))),
        Ok(()) => Ok(()),
    }
}
