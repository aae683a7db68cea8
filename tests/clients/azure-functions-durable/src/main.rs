//! Drives the Durable Functions API of a server with the crate `azure-functions-durable`: `<base URL> <key>`.

use azure_functions_durable::{Client, ClientError, OrchestrationRuntimeStatus as Runtime};
use serde_json::{Value, json};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (base, key) = (arguments.next().expect("a URL"), arguments.next().expect("a key"));
    let query = format!("taskHub=hub&connection=Storage&code={key}");
    let client = Client::new(&format!("{base}/runtime/webhooks/durabletask/instances/x?{query}"));
    let runtime = tokio::runtime::current_thread::Runtime::new();
    runtime.unwrap().block_on(async {
        let until = async |id: &str, wanted: Runtime| loop {
            let status = client.instance_status(id, false, false, true).await.unwrap();
            if status.runtime_status == wanted {
                break status;
            }
        };
        let started = client.start_new("Hello", Some("h"), "Ada").await.unwrap();
        assert_eq!(started.instance_id, "h");
        assert!(started.status_query_get_uri.starts_with(&base));
        let status = until("h", Runtime::Completed).await;
        assert_eq!(status.output, Some(json!("Hello Ada!")));
        assert_eq!(status.input, Some(json!("Ada")));
        let status = client.instance_status("h", true, true, false).await.unwrap();
        let events = status.history_events.unwrap();
        let kinds: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(kinds, ["ExecutionStarted", "TaskCompleted", "ExecutionCompleted"]);
        assert_eq!(events[1].result, Some(json!("Hello Ada!")));

        let started = client.start_new("Waits", None, Value::Null).await.unwrap();
        let id = started.instance_id.as_str();
        until(id, Runtime::Running).await;
        client.raise_event(id, "go", json!({"n": 1})).await.unwrap();
        assert_eq!(until(id, Runtime::Completed).await.output, Some(json!({"n": 1})));
        let gone = client.raise_event(id, "go", json!(2)).await;
        assert!(matches!(gone, Err(ClientError::InstanceCompletedOrFailed)), "{gone:?}");

        client.start_new("Waits", Some("t"), Value::Null).await.unwrap();
        client.terminate("t", "enough").await.unwrap();
        assert_eq!(until("t", Runtime::Terminated).await.output, Some(json!("enough")));
        client.start_new("Fails", Some("f"), Value::Null).await.unwrap();
        until("f", Runtime::Failed).await;
        client.rewind("f", "again").await.unwrap();
        until("f", Runtime::Failed).await;

        let found = client
            .query_instances(
                None,
                None,
                Some(vec![Runtime::Terminated].into_iter()),
                Some(5),
                false,
                false,
                true,
            )
            .await
            .unwrap();
        assert_eq!(found.len(), 1);
        client.purge_history("t").await.unwrap();
        let missing = client.instance_status("t", false, false, true).await;
        assert!(matches!(missing, Err(ClientError::InstanceNotFound)), "{missing:?}");
        let from = Some("2001-01-01T00:00:00Z".parse().unwrap());
        let purged =
            client.purge_history_by_query(from, None, None::<std::vec::IntoIter<Runtime>>).await.unwrap();
        assert_eq!(purged, 3);
    });
    println!("everything was answered as this client expects");
}
