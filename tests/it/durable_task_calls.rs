//! The Durable Task protocol call by call: who gets in, what is answered to what makes no sense, task hubs, and
//! clients that do not behave. With a client made of the contract, which sends what no SDK would.

use dogwatch::durable_task::proto::task_hub_sidecar_service_client::TaskHubSidecarServiceClient;
use dogwatch::durable_task::proto::*;
use reqwest::Method;
use serde_json::json;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request};

use crate::bench::{Bench, On};

type Client = TaskHubSidecarServiceClient<Channel>;

/// Calls as one who has a key, of one task hub.
#[derive(Clone)]
struct Caller {
    client: Client,
    key: String,
    hub: &'static str,
}

impl Caller {
    async fn of(bench: &Bench) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", bench.grpc())).unwrap();
        let client = Client::new(endpoint.connect().await.unwrap()).max_decoding_message_size(64 << 20);
        Self { client, key: bench.key(), hub: "" }
    }

    fn in_hub(&self, hub: &'static str) -> Self {
        Self { hub, ..self.clone() }
    }

    fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    fn asks<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if !self.key.is_empty() {
            let key = MetadataValue::try_from(format!("Bearer {}", self.key)).unwrap();
            request.metadata_mut().insert("authorization", key);
        }
        if !self.hub.is_empty() {
            request.metadata_mut().insert("taskhub", MetadataValue::from_static(self.hub));
        }
        request
    }
}

/// What a call comes to: `Ok` or the name of its status.
macro_rules! call {
    ($caller:expr, $method:ident, $message:expr) => {{
        let mut client = $caller.client.clone();
        client.$method($caller.asks($message)).await.map(tonic::Response::into_inner)
    }};
}

macro_rules! code {
    ($caller:expr, $method:ident, $message:expr) => {
        call!($caller, $method, $message).map(drop).map_err(|status| status.code())
    };
}

fn create(id: &str, name: &str) -> CreateInstanceRequest {
    CreateInstanceRequest { instance_id: id.to_owned(), name: name.to_owned(), ..Default::default() }
}

fn get(id: &str) -> GetInstanceRequest {
    GetInstanceRequest { instance_id: id.to_owned(), get_inputs_and_outputs: true }
}

#[tokio::test]
async fn nobody_gets_in_without_a_key_unless_that_was_said() {
    let bench = Bench::start(On::Process).await;
    let caller = Caller::of(&bench).await;
    assert_eq!(code!(caller, hello, ()), Ok(()));
    for key in ["", "wrong", &"k".repeat(43)] {
        let stranger = caller.with_key(key);
        assert_eq!(code!(stranger, hello, ()), Err(Code::Unauthenticated), "{key}");
        assert_eq!(code!(stranger, get_instance, get("a")), Err(Code::Unauthenticated));
        assert_eq!(code!(stranger, get_work_items, Default::default()), Err(Code::Unauthenticated));
        assert_eq!(code!(stranger, complete_activity_task, Default::default()), Err(Code::Unauthenticated));
    }
    let open = Bench::start_with(On::Process, &[("DOGWATCH_GRPC__ALLOW_WITHOUT_KEY", "true")]).await;
    let caller = Caller::of(&open).await.with_key("");
    assert_eq!(code!(caller, hello, ()), Ok(()));
}

#[tokio::test]
async fn it_speaks_tls_with_a_certificate() {
    let (dir, name) = (tempfile::tempdir().unwrap(), "dogwatch.example".to_owned());
    let made = rcgen::generate_simple_self_signed([name.clone()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let env = [
        ("DOGWATCH_GRPC__TLS_CERT", cert.to_str().unwrap()),
        ("DOGWATCH_GRPC__TLS_KEY", key.to_str().unwrap()),
    ];
    let bench = Bench::start_with(On::Process, &env).await;
    let address = bench.grpc();
    let address = address.strip_prefix("https://").expect("it says that it speaks TLS");
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(made.cert.pem())).domain_name(name);
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    let caller = Caller { client: Client::new(endpoint.connect().await.unwrap()), key: bench.key(), hub: "" };
    assert_eq!(code!(caller, hello, ()), Ok(()));
    let plain = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await;
    if let Ok(channel) = plain {
        let caller = Caller { client: Client::new(channel), ..caller };
        assert!(code!(caller, hello, ()).is_err(), "no key goes over the wire in plain");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_told_so() {
    let bench = Bench::start(On::Process).await;
    let caller = Caller::of(&bench).await;
    assert_eq!(code!(caller, start_instance, create("one", "order")), Ok(()));
    for (id, name, expected) in [
        ("one", "order", Code::AlreadyExists),
        ("a b", "order", Code::InvalidArgument),
        ("a/b", "order", Code::InvalidArgument),
        ("@a@b", "order", Code::InvalidArgument),
        (&"x".repeat(191), "order", Code::InvalidArgument),
        ("two", "", Code::InvalidArgument),
        ("two", &"n".repeat(300), Code::InvalidArgument),
    ] {
        assert_eq!(code!(caller, start_instance, create(id, name)), Err(expected), "{id} {name}");
    }
    let large = CreateInstanceRequest { input: Some("x".repeat(5 << 20)), ..create("two", "order") };
    assert_eq!(code!(caller, start_instance, large), Err(Code::InvalidArgument));
    let too_large = CreateInstanceRequest { input: Some("x".repeat(65 << 20)), ..create("two", "order") };
    assert!(code!(caller, start_instance, too_large).is_err());
    // Nobody, and a text that is nobody's id.
    for id in ["nobody", "", "a b", "a/b"] {
        let id = id.to_owned();
        let raise = RaiseEventRequest { instance_id: id.clone(), name: "go".to_owned(), input: None };
        assert_eq!(code!(caller, raise_event, raise), Err(Code::NotFound), "{id}");
        let suspend = SuspendRequest { instance_id: id.clone(), reason: None };
        assert_eq!(code!(caller, suspend_instance, suspend), Err(Code::NotFound), "{id}");
        let resume = ResumeRequest { instance_id: id.clone(), reason: None };
        assert_eq!(code!(caller, resume_instance, resume), Err(Code::NotFound), "{id}");
        let terminate = TerminateRequest { instance_id: id.clone(), ..Default::default() };
        assert_eq!(code!(caller, terminate_instance, terminate), Err(Code::NotFound), "{id}");
        let rewind = RewindInstanceRequest { instance_id: id.clone(), reason: None };
        assert_eq!(code!(caller, rewind_instance, rewind), Err(Code::NotFound), "{id}");
        let restart = RestartInstanceRequest { instance_id: id.clone(), restart_with_new_instance_id: false };
        assert_eq!(code!(caller, restart_instance, restart), Err(Code::NotFound), "{id}");
        let history = StreamInstanceHistoryRequest { instance_id: id.clone(), ..Default::default() };
        assert_eq!(code!(caller, stream_instance_history, history), Err(Code::NotFound), "{id}");
        assert!(!call!(caller, get_instance, get(&id)).unwrap().exists, "{id}");
        let purge = PurgeInstancesRequest {
            request: Some(purge_instances_request::Request::InstanceId(id.clone())),
            ..Default::default()
        };
        assert_eq!(call!(caller, purge_instances, purge).unwrap().deleted_instance_count, 0, "{id}");
    }
    // In the wrong state.
    let restart =
        RestartInstanceRequest { instance_id: "one".to_owned(), restart_with_new_instance_id: false };
    assert_eq!(code!(caller, restart_instance, restart), Err(Code::FailedPrecondition));
    let rewind = RewindInstanceRequest { instance_id: "one".to_owned(), reason: None };
    assert_eq!(code!(caller, rewind_instance, rewind), Err(Code::FailedPrecondition));
    assert_eq!(code!(caller, purge_instances, Default::default()), Err(Code::InvalidArgument));
    let cursor = InstanceQuery { continuation_token: Some("nonsense".to_owned()), ..Default::default() };
    let query = QueryInstancesRequest { query: Some(cursor) };
    assert_eq!(code!(caller, query_instances, query), Err(Code::InvalidArgument));
    let list =
        ListInstanceIdsRequest { last_instance_key: Some("nonsense".to_owned()), ..Default::default() };
    assert_eq!(code!(caller, list_instance_ids, list), Err(Code::InvalidArgument));
    let batch = InstanceBatch { instance_ids: vec!["a".to_owned(); 501] };
    let skip = SkipGracefulOrchestrationTerminationsRequest { instance_batch: Some(batch), reason: None };
    assert_eq!(code!(caller, skip_graceful_orchestration_terminations, skip), Err(Code::InvalidArgument));
    // What completes work is never told of an error.
    let nonsense = "nonsense".to_owned();
    let answer = ActivityResponse { completion_token: nonsense.clone(), ..Default::default() };
    assert_eq!(code!(caller, complete_activity_task, answer), Ok(()));
    let answer = OrchestratorResponse { completion_token: nonsense.clone(), ..Default::default() };
    assert_eq!(code!(caller, complete_orchestrator_task, answer), Ok(()));
    let answer = EntityBatchResult { completion_token: nonsense.clone(), ..Default::default() };
    assert_eq!(code!(caller, complete_entity_task, answer), Ok(()));
    let abandon = AbandonOrchestrationTaskRequest { completion_token: nonsense };
    assert_eq!(code!(caller, abandon_task_orchestrator_work_item, abandon), Ok(()));
    assert!(call!(caller, get_instance, get("one")).unwrap().exists, "others are unharmed");
}

/// Bytes instead of messages.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl tonic::codec::Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for Raw {
    type Item = Vec<u8>;
    type Error = tonic::Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), tonic::Status> {
        bytes::BufMut::put_slice(into, &item);
        Ok(())
    }
}

impl tonic::codec::Decoder for Raw {
    type Item = ();
    type Error = tonic::Status;

    fn decode(&mut self, _: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<()>, tonic::Status> {
        Ok(Some(()))
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_harm_nobody() {
    let bench = Bench::start(On::Process).await;
    let caller = Caller::of(&bench).await;
    let channel = Endpoint::from_shared(format!("http://{}", bench.grpc())).unwrap().connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    for garbage in [vec![0xff; 100], vec![0x0a, 0x7f, 1], b"{\"instanceId\": 1}".to_vec()] {
        for path in ["StartInstance", "CompleteOrchestratorTask", "NoSuchCall"] {
            grpc.ready().await.unwrap();
            let path = format!("/TaskHubSidecarService/{path}").parse().unwrap();
            let answer = grpc.unary(caller.asks(garbage.clone()), path, Raw).await;
            assert!(matches!(answer.unwrap_err().code(), Code::Internal | Code::Unimplemented));
        }
    }
    assert_eq!(code!(caller, start_instance, create("one", "order")), Ok(()));
}

#[tokio::test]
async fn task_hubs_are_namespaces_that_are_created_and_deleted() {
    let bench = Bench::start_with(On::Process, &[("DOGWATCH_GRPC__TASK_HUBS", "green")]).await;
    let default = Caller::of(&bench).await;
    let (blue, green) = (default.in_hub("blue"), default.in_hub("green"));
    for code in [
        code!(blue, hello, ()),
        code!(blue, start_instance, create("one", "order")),
        code!(blue, get_work_items, Default::default()),
        code!(blue, delete_task_hub, DeleteTaskHubRequest {}),
    ] {
        assert_eq!(code, Err(Code::NotFound));
    }
    let odd = default.in_hub("no hub!");
    assert_eq!(code!(odd, create_task_hub, Default::default()), Err(Code::InvalidArgument));
    assert_eq!(code!(blue, create_task_hub, Default::default()), Ok(()));
    for (hub, name) in [(&default, "a"), (&blue, "b"), (&green, "c")] {
        assert_eq!(code!(hub, start_instance, create("one", name)), Ok(()));
        let state = call!(hub, get_instance, get("one")).unwrap().orchestration_state.unwrap();
        assert_eq!((state.name.as_str(), state.instance_id.as_str()), (name, "one"));
        let query = QueryInstancesRequest { query: Some(InstanceQuery::default()) };
        let found = call!(hub, query_instances, query).unwrap().orchestration_state;
        assert_eq!(found.iter().map(|state| state.name.as_str()).collect::<Vec<_>>(), [name]);
    }
    // A worker has the work of its task hub only.
    let mut items = call!(blue, get_work_items, GetWorkItemsRequest::default()).unwrap();
    let item = loop {
        match items.message().await.unwrap().unwrap() {
            WorkItem { request: Some(work_item::Request::HealthPing(_)), .. } => {}
            item => break item,
        }
    };
    let Some(work_item::Request::OrchestratorRequest(request)) = item.request else { panic!("{item:?}") };
    let Some(history_event::EventType::ExecutionStarted(started)) = &request.new_events[1].event_type else {
        panic!("{request:?}")
    };
    assert_eq!(started.name, "b");
    // The other fronts know it by the name of its task hub.
    assert_eq!(bench.get("/v1/orchestrations/blue%2Fone").await["name"], "b");
    assert_eq!(bench.get("/v1/orchestrations/one").await["name"], "a");
    let listed = bench.get("/v1/orchestrations?task_hub=green").await;
    assert_eq!(listed["instances"][0]["id"], "green/one");
    let shown = bench.request(Method::GET, "/runtime/webhooks/durabletask/instances/one?taskHub=green");
    let shown: serde_json::Value = shown.send().await.unwrap().json().await.unwrap();
    assert_eq!((&shown["instanceId"], &shown["name"]), (&json!("one"), &json!("c")));
    assert_eq!(code!(blue, delete_task_hub, DeleteTaskHubRequest {}), Ok(()));
    assert_eq!(code!(blue, hello, ()), Err(Code::NotFound));
    assert_eq!(code!(blue, create_task_hub, Default::default()), Ok(()));
    assert!(!call!(blue, get_instance, get("one")).unwrap().exists);
    assert!(call!(default, get_instance, get("one")).unwrap().exists);
    assert_eq!(code!(default, delete_task_hub, DeleteTaskHubRequest {}), Err(Code::FailedPrecondition));
}

#[tokio::test]
async fn instances_are_the_same_from_every_side() {
    let bench = Bench::start(On::Process).await;
    let caller = Caller::of(&bench).await;
    let input = "{\"amount\": 12345678901234567890123}".to_owned();
    let order = CreateInstanceRequest { input: Some(input.clone()), ..create("grpc", "order") };
    assert_eq!(code!(caller, start_instance, order), Ok(()));
    let shown = bench.get("/v1/orchestrations/grpc").await;
    assert_eq!((&shown["name"], &shown["status"]), (&json!("order"), &json!("pending")));
    let explained = bench.get("/v1/orchestrations/grpc/explain").await;
    assert!(explained["sentence"].as_str().unwrap().contains("no worker"), "{explained}");
    let body = json!({ "name": "order", "id": "rest", "input": { "amount": 1 } });
    let started = bench.request(Method::POST, "/v1/orchestrations").json(&body).send().await.unwrap();
    assert_eq!(started.status(), 202);
    let functions =
        bench.request(Method::POST, "/runtime/webhooks/durabletask/orchestrators/order/functions");
    assert_eq!(functions.json(&json!({ "amount": 2 })).send().await.unwrap().status(), 202);
    for (id, expected) in
        [("grpc", input.as_str()), ("rest", r#"{"amount":1}"#), ("functions", r#"{"amount":2}"#)]
    {
        let state = call!(caller, get_instance, get(id)).unwrap().orchestration_state.unwrap();
        assert_eq!(state.input.as_deref(), Some(expected), "{id}");
    }
    let terminate = TerminateRequest {
        instance_id: "rest".to_owned(),
        output: Some("{\"why\": \"done\"}".to_owned()),
        recursive: true,
    };
    assert_eq!(code!(caller, terminate_instance, terminate), Ok(()));
    let ended =
        call!(caller, wait_for_instance_completion, get("rest")).unwrap().orchestration_state.unwrap();
    assert_eq!(ended.orchestration_status(), OrchestrationStatus::Terminated);
    assert_eq!(ended.output.as_deref(), Some("{\"why\": \"done\"}"), "as it was written");
    assert_eq!(bench.get("/v1/orchestrations/rest").await["status"], "terminated");
}

/// One that is given work and never reads it has no more than it has room for; others go on, and what it had does when
/// it has gone.
#[tokio::test]
async fn one_that_never_reads_holds_up_nobody_else() {
    let bench = Bench::start(On::Process).await;
    let caller = Caller::of(&bench).await;
    let deaf = Caller::of(&bench).await;
    let limits = GetWorkItemsRequest { max_concurrent_orchestration_work_items: 5, ..Default::default() };
    let unread = call!(deaf, get_work_items, limits).unwrap();
    let large = "x".repeat(100_000);
    for number in 0..20 {
        let order =
            CreateInstanceRequest { input: Some(large.clone()), ..create(&format!("i{number}"), "order") };
        assert_eq!(code!(caller, start_instance, order), Ok(()));
    }
    let mut items = call!(caller, get_work_items, GetWorkItemsRequest::default()).unwrap();
    let mut done = 0;
    let mut unread = Some((unread, deaf));
    while done < 20 {
        let item = items.message().await.unwrap().unwrap();
        let Some(work_item::Request::OrchestratorRequest(request)) = item.request else { continue };
        let complete = CompleteOrchestrationAction {
            orchestration_status: OrchestrationStatus::Completed as i32,
            ..Default::default()
        };
        let action = orchestrator_action::OrchestratorActionType::CompleteOrchestration(complete);
        let answer = OrchestratorResponse {
            instance_id: request.instance_id,
            actions: vec![OrchestratorAction { id: -1, orchestrator_action_type: Some(action) }],
            completion_token: item.completion_token,
            ..Default::default()
        };
        assert_eq!(code!(caller, complete_orchestrator_task, answer), Ok(()));
        done += 1;
        if done == 15 {
            // Connection and all.
            drop(unread.take());
        }
    }
    for number in 0..20 {
        let state = call!(caller, wait_for_instance_completion, get(&format!("i{number}"))).unwrap();
        assert_eq!(state.orchestration_state.unwrap().orchestration_status(), OrchestrationStatus::Completed);
    }
}

/// Thousands of calls at once on one connection are answered, all of them.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_calls_on_one_connection_wait_their_turn() {
    let bench = Bench::start(On::Process).await;
    let caller = Caller::of(&bench).await;
    let starts = (0..3_000).map(|number| {
        let caller = caller.clone();
        async move { call!(caller, start_instance, create(&format!("many-{number}"), "order")) }
    });
    let answers = futures_util::future::join_all(starts).await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    let holds = (0..3_000).map(|number| {
        let caller = caller.clone();
        tokio::spawn(
            async move { code!(caller, wait_for_instance_completion, get(&format!("many-{number}"))) },
        )
    });
    let holds: Vec<_> = holds.collect();
    let ends = (0..3_000).map(|number| {
        let caller = caller.clone();
        let terminate = TerminateRequest { instance_id: format!("many-{number}"), ..Default::default() };
        async move { call!(caller, terminate_instance, terminate) }
    });
    let answers = futures_util::future::join_all(ends).await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    for hold in holds {
        hold.await.unwrap().unwrap();
    }
}
