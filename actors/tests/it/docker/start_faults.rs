//! An attempt that can never start says which part of its spec is at fault, and stays as it was created.

use dogwatch_actors::runtime::{Error, Observation, Plan, Runtime as _, StartFault};

use super::Rig;

async fn fault(rig: &Rig, plan: &Plan) -> (StartFault, String) {
    match rig.start(plan).await {
        Err(Error::Start { fault, message }) => (fault, message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_command_that_does_not_exist() {
    let rig = Rig::new().await;
    for command in ["nope", "/bin/nope", "./nope"] {
        let plan = rig.plan_of([command]);
        let (fault, message) = fault(&rig, &plan).await;
        assert_eq!(fault, StartFault::CommandNotFound, "{message}");
        assert!(message.contains(command), "{message}");
        assert_eq!(rig.docker.observe(plan.key).await.unwrap(), Observation::Created);
        // Asked again, the same: it was never started.
        assert!(matches!(rig.docker.start(plan.key).await, Err(Error::Start { .. })));
        rig.docker.remove(plan.key).await.unwrap();
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_executed() {
    let rig = Rig::new().await;
    for command in ["/bin/not-executable", "not-executable", "/etc"] {
        let plan = rig.plan_of([command]);
        let (fault, message) = fault(&rig, &plan).await;
        assert_eq!(fault, StartFault::CommandNotExecutable, "{message}");
    }
}

#[tokio::test]
async fn a_command_is_found_wherever_the_container_would_find_it() {
    let rig = Rig::new().await;
    for command in ["true", "/bin/true", "bin/true", "/bin/busybox"] {
        let plan = rig.plan_of([command, "true"]);
        assert_eq!(rig.run(&plan).await.code, Some(0), "{command}");
    }
}

#[tokio::test]
async fn a_working_directory_that_is_none() {
    let rig = Rig::new().await;
    for directory in ["/etc/passwd", "relative"] {
        let plan = Plan { working_dir: Some(directory.into()), ..rig.plan("true") };
        let (fault, message) = fault(&rig, &plan).await;
        assert_eq!(fault, StartFault::WorkingDirectory, "{message}");
    }
}

#[tokio::test]
async fn a_user_that_the_image_does_not_know() {
    let rig = Rig::new().await;
    let plan = Plan { user: Some("ghost".into()), ..rig.plan("true") };
    let (fault, message) = fault(&rig, &plan).await;
    assert_eq!(fault, StartFault::Rejected, "{message}");
}

#[tokio::test]
async fn more_cores_than_there_are() {
    let rig = Rig::new().await;
    let mut plan = rig.plan("true");
    plan.resources.cpu = Some(10_000.0);
    let (fault, message) = fault(&rig, &plan).await;
    assert_eq!(fault, StartFault::Rejected, "{message}");
    assert!(message.contains("CPU"), "{message}");
}

#[tokio::test]
async fn an_image_name_that_cannot_be_one() {
    let rig = Rig::new().await;
    for image in ["../containers/json", "UPPER case"] {
        let plan = Plan { image: Some(image.into()), ..rig.plan("true") };
        assert_eq!(fault(&rig, &plan).await.0, StartFault::Rejected);
    }
    let without = Plan { image: None, ..rig.plan("true") };
    assert_eq!(fault(&rig, &without).await.0, StartFault::Rejected);
}
