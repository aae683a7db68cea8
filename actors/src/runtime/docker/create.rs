//! Creating the container of an attempt, or adopting the one that is there.
//!
//! Invariants: the name is the claim. Whatever a create brought — a conflict, a fault, silence — the name is
//! looked up afterwards, and only what is found there decides (FACTS docker 2). Nothing is looked up before: the engine
//! says by itself that the name is taken or the image missing, and a busy one takes long for every question.

use std::sync::Arc;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateContainerOptionsBuilder;
use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};

use super::create_body::create_body;
use super::engine::{Engine, One};
use super::errors::{Answer, of_start};
use super::group;
use super::image_reference::Reference;
use super::pull::{PullKey, pull};
use super::single_flight::SingleFlight;
use crate::job::spec::RegistryCredential;
use crate::limits::{CLAIM_SETTLE_POLL, CLAIM_SETTLE_WAIT, ENGINE_CHANGE_TIMEOUT};
use crate::runtime::{Error, Plan, Result, StartFault};

/// Makes the attempt's container exist.
pub(super) async fn create(engine: Arc<Engine>, pulls: Arc<SingleFlight<PullKey>>, plan: Plan) -> Result<()> {
    let rejected = |message: &str| Error::Start { fault: StartFault::Rejected, message: message.into() };
    let image = plan.image.as_deref().ok_or_else(|| rejected("a docker job needs an image; name one"))?;
    if plan.installation != engine.options.installation {
        return Err(rejected("the attempt belongs to another installation than this runtime"));
    }
    let image = Reference::parse(image)?;
    if !plan.group.is_plain() {
        return group::create(&engine, &pulls, &plan).await;
    }
    let body = create_body(&plan, &image, &engine.options.defaults, &engine.boot)?;
    create_one(&engine, &pulls, &One::main(plan.key), &image, body, &plan.registry_credentials).await
}

/// Makes one container exist, or adopts it.
pub(super) async fn create_one(
    engine: &Arc<Engine>,
    pulls: &SingleFlight<PullKey>,
    one: &One,
    image: &Reference,
    body: ContainerCreateBody,
    logins: &[RegistryCredential],
) -> Result<()> {
    match post(engine, one, body.clone()).await {
        // It is not here, or under another platform.
        Err(fault) if fault.is_absent() && fault.to_string().contains("No such image") => {
            fetch(engine, pulls, image, logins).await?;
            settle(engine, one, post(engine, one, body).await).await
        }
        outcome => settle(engine, one, outcome).await,
    }
}

async fn fetch(
    engine: &Arc<Engine>,
    pulls: &SingleFlight<PullKey>,
    image: &Reference,
    logins: &[RegistryCredential],
) -> Result<()> {
    let login = image.login(logins).cloned();
    let key = PullKey::new(image, login.as_ref());
    let (engine, image) = (Arc::clone(engine), image.clone());
    pulls.run(key, async move { pull(&engine, &image, login).await }.boxed()).await
}

pub(super) async fn post(engine: &Engine, one: &One, body: ContainerCreateBody) -> Answer<()> {
    let options = CreateContainerOptionsBuilder::new().name(&engine.name_of(one)).build();
    let ask = async |client: bollard::Docker| client.create_container(Some(options), body).await;
    let created = engine.connection.call(ENGINE_CHANGE_TIMEOUT, ask).await?;
    for warning in created.warnings {
        tracing::debug!(container = %one, warning, "the engine warns about a new container");
    }
    Ok(())
}

/// What a create that did not simply succeed has left behind.
pub(super) async fn settle(engine: &Engine, one: &One, outcome: Answer<()>) -> Result<()> {
    let Err(fault) = outcome else { return Ok(()) };
    let deadline = Instant::now() + CLAIM_SETTLE_WAIT;
    let mut found = engine.find_one(one).await;
    // The engine reserves a name a moment before the container that has it can be found.
    while fault.is_conflict() && matches!(found, Ok(None)) && Instant::now() < deadline {
        sleep(CLAIM_SETTLE_POLL).await;
        found = engine.find_one(one).await;
    }
    match found {
        Ok(Some(_)) => Ok(()),
        Err(foreign @ Error::Foreign { .. }) => Err(foreign),
        // Nothing there, or not known: then the fault itself is what there is to say.
        _ if fault.is_conflict() => Err(fault.not_done("claim the container's name")),
        _ => Err(of_start(fault)),
    }
}
