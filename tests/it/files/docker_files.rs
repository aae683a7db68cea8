//! In containers.

use serde_json::json;

use super::{artifacts, content, start};
use crate::bench::{IMAGE, On};

super::every_case!(On::Docker);

/// Absolute paths, and the user that a container runs as.
#[tokio::test]
async fn absolute_paths_and_the_owner_of_inputs() {
    let bench = start(On::Docker).await;
    let script = "cat /etc/app/conf > /tmp/seen; stat -c %u:%g:%a /etc/app/conf >> /tmp/seen";
    let id = bench
        .submit(&json!({
            "image": IMAGE, "args": ["sh", "-c", script], "network": "none", "user": "1000:1000",
            "inputs": [{"path": "/etc/app/conf", "content": "x\n", "mode": "0600"}], "outputs": ["/tmp/seen"],
        }))
        .await;
    let over = bench.over(&id).await;
    assert_eq!(over["state"], "succeeded", "{over}");
    assert_eq!(artifacts(&bench, &id).await.len(), 1);
    assert_eq!(content(&bench, &id, "tmp/seen").await, "x\n1000:1000:600\n");
}
