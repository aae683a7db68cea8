//! The client against a server that speaks the API.

use std::time::Duration;

use dogwatch::client::{Client, Error, EventItem, ListQuery, LogsQuery, install_tls};
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::handle::Command;
use dogwatch_actors::id::JobId;
use dogwatch_actors::job::view::{HistoryEntry, JobState};
use dogwatch_actors::secret::Secret;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::cli_fake::{FakeApi, ID, KEY, Play, Submission, job};

fn client(server: &FakeApi) -> Client {
    install_tls();
    Client::new(server.url(), Some(Secret::new(KEY))).unwrap()
}

pub(crate) fn entry(seq: u64, kind: &str) -> HistoryEntry {
    HistoryEntry {
        seq,
        at: Timestamp::from_millis(1_795_229_674_123),
        kind: kind.to_owned(),
        state: JobState::Running,
        attempt: Some(1),
        message: Some(format!("the event {kind}")),
        data: Value::Null,
    }
}

#[actix_web::test]
async fn an_answer_is_read_and_kept_as_it_was_written() {
    let server = FakeApi::start(Play::new(job(JobState::Running)));
    let client = client(&server);
    let answer = client.job(ID, None).await.unwrap();
    assert_eq!(answer.value, job(JobState::Running));
    assert_eq!(answer.raw, serde_json::to_string(&job(JobState::Running)).unwrap());
    assert!(client.is_alive().await);
    assert_eq!(client.version().await.unwrap(), "9.9.9");
    let readiness = client.readiness().await.unwrap();
    assert_eq!((readiness.ready, readiness.reasons), (false, vec!["the store is full".to_owned()]));
    assert_eq!(client.list(&ListQuery::default()).await.unwrap().value.jobs.len(), 1);
    client.purge(ID).await.unwrap();
    client.command(ID, Command::Suspend).await.unwrap();
    let receipt = client.raise(ID, "approved", &json!({"by": "me"})).await.unwrap();
    assert_eq!(receipt.value.state, JobState::Running);
}

#[actix_web::test]
async fn a_submission_carries_its_key() {
    let server = FakeApi::start(Play::new(job(JobState::Queued)));
    let spec = json!({"args": ["true"]});
    client(&server).submit(&spec, Some("k")).await.unwrap();
    assert_eq!(server.submissions(), [Submission { spec, key: Some("k".to_owned()) }]);
}

#[actix_web::test]
async fn a_refusal_is_a_typed_error() {
    let server = FakeApi::start(Play::new(job(JobState::Succeeded)));
    let good = client(&server);
    let other = JobId::from_bytes([9; 16]);
    assert_eq!(good.job(other, None).await.unwrap_err().status(), Some(404));
    assert_eq!(good.command(ID, Command::Cancel).await.unwrap_err().status(), Some(409));
    let wrong = Client::new(server.url(), Some(Secret::new("wrong"))).unwrap();
    assert_eq!(wrong.job(ID, None).await.unwrap_err().status(), Some(401));
    let error =
        Client::new(&format!("{}/nowhere", server.url()), None).unwrap().job(ID, None).await.unwrap_err();
    assert!(matches!(error, Error::NotDogwatch { status: 404, .. }), "{error}");
}

#[actix_web::test]
async fn a_server_that_is_gone_is_said_to_be() {
    let server = FakeApi::start(Play::new(job(JobState::Running)));
    let client = client(&server);
    let following = LogsQuery { follow: true, ..LogsQuery::default() };
    server.play(|play| play.logs = vec![(vec!["one".to_owned()], vec![])]);
    let mut log = client.logs(ID, following).await.unwrap();
    assert_eq!(log.next().await.unwrap().unwrap(), "one\n");
    let waiting = client.job(ID, Some(Duration::from_secs(30)));
    drop(server);
    assert!(waiting.await.unwrap_err().is_gone());
    let error = client.job(ID, None).await.unwrap_err();
    assert!(error.is_gone() && error.to_string().contains("dogwatch serve"), "{error}");
    assert!(!client.is_alive().await);
}

#[actix_web::test]
async fn events_come_behind_the_last_one() {
    let mut play = Play::new(job(JobState::Running));
    play.history = vec![entry(1, "submitted"), entry(2, "attempt_started")];
    let server = FakeApi::start(play);
    let mut events = client(&server).events(Some(1)).await.unwrap();
    assert!(matches!(events.next().await, Some(Ok(EventItem::Heartbeat))));
    let Some(Ok(EventItem::Event(event))) = events.next().await else { panic!("no event") };
    assert_eq!(
        (event.value.id, event.value.job, event.value.entry.kind.as_str()),
        (2, ID, "attempt_started")
    );
}
