//! A worker without any SDK: it connects to dogwatch and runs the activity `shout`, as an instance of a pool.
//!
//! A pool starts it when the activity waits for a worker, as a process or in a container, and stops it when there is
//! nothing left to do. Where it connects, and with which token, it finds in its environment:
//!
//! ```text
//! PUT /v1/pools/shouting
//! {"activities": [{"name": "shout"}], "job": {"args": ["/usr/local/bin/activity_worker"]}, "idle": "30s"}
//! ```

use std::env::var;
use std::error::Error;

use dogwatch::durable_task::proto::task_hub_sidecar_service_client::TaskHubSidecarServiceClient;
use dogwatch::durable_task::proto::work_item::Request as Work;
use dogwatch::durable_task::proto::{
    ActivityRequest, ActivityResponse, GetWorkItemsRequest, TaskFailureDetails, WorkItem,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Request, Status};

/// What runs the activity: the result, or why there is none. Both are JSON.
fn run(activity: &ActivityRequest) -> Result<String, String> {
    match activity.name.as_str() {
        "shout" => Ok(activity.input.clone().unwrap_or_default().to_uppercase()),
        other => Err(format!("there is no activity `{other}` here")),
    }
}

/// Puts token and task hub on every call.
fn signed(mut request: Request<()>) -> Result<Request<()>, Status> {
    let header = |name: &str, text: String| -> Result<MetadataValue<Ascii>, Status> {
        text.parse().map_err(|_| Status::internal(format!("{name} is no text")))
    };
    let token = var("DOGWATCH_GRPC_TOKEN").unwrap_or_default();
    let hub = var("DOGWATCH_TASK_HUB").unwrap_or_default();
    let token = header("DOGWATCH_GRPC_TOKEN", format!("Bearer {token}"))?;
    request.metadata_mut().insert("authorization", token);
    request.metadata_mut().insert("taskhub", header("DOGWATCH_TASK_HUB", hub)?);
    Ok(request)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = var("DOGWATCH_GRPC_ENDPOINT").map_err(|_| "start it as an instance of a pool")?;
    loop {
        // A server that is started again is there again in a moment.
        match serve(&address).await {
            Ok(()) => eprintln!("the stream of work has ended; connecting again"),
            Err(error) => eprintln!("{error}; connecting again"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// Takes work until the connection is lost.
async fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let mut client = TaskHubSidecarServiceClient::with_interceptor(channel, signed);
    let request = GetWorkItemsRequest { max_concurrent_activity_work_items: 10, ..Default::default() };
    let mut work = client.get_work_items(request).await?.into_inner();
    while let Some(WorkItem { request, completion_token }) = work.message().await? {
        let Some(Work::ActivityRequest(activity)) = request else { continue };
        let (result, failure_details) = match run(&activity) {
            Ok(result) => (Some(result), None),
            Err(error_message) => {
                let error_type = "unknown_activity".to_owned();
                (None, Some(TaskFailureDetails { error_type, error_message, ..Default::default() }))
            }
        };
        let instance_id = activity.orchestration_instance.map(|of| of.instance_id).unwrap_or_default();
        let task_id = activity.task_id;
        client
            .complete_activity_task(ActivityResponse {
                instance_id,
                task_id,
                result,
                failure_details,
                completion_token,
            })
            .await?;
    }
    Ok(())
}
