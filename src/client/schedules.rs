//! What a client asks about schedules.

use dogwatch_actors::schedule::{Preview, ScheduleView};
use reqwest::Method;
use serde_json::Value;

use super::{Answer, Client, Result, escape, with_query};
use crate::api::{ScheduleList, TriggeredSchedule};

/// What may be asked of one schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleCommand {
    /// Fire no more at its times.
    Pause,
    /// Fire at its times again.
    Resume,
}

impl Client {
    /// Declares a schedule.
    pub async fn put_schedule(&self, name: &str, spec: &Value) -> Result<Answer<ScheduleView>> {
        self.ask(self.request(Method::PUT, &path(name)).json(spec)).await
    }

    /// All schedules.
    pub async fn schedules(&self) -> Result<Answer<ScheduleList>> {
        self.ask(self.request(Method::GET, "/v1/schedules")).await
    }

    /// One schedule.
    pub async fn schedule(&self, name: &str) -> Result<Answer<ScheduleView>> {
        self.ask(self.request(Method::GET, &path(name))).await
    }

    /// Commands a schedule.
    pub async fn command_schedule(
        &self,
        name: &str,
        command: ScheduleCommand,
    ) -> Result<Answer<ScheduleView>> {
        let verb = match command {
            ScheduleCommand::Pause => "pause",
            ScheduleCommand::Resume => "resume",
        };
        self.ask(self.request(Method::POST, &format!("{}/{verb}", path(name)))).await
    }

    /// Lets a schedule fire now.
    pub async fn trigger_schedule(&self, name: &str) -> Result<Answer<TriggeredSchedule>> {
        self.ask(self.request(Method::POST, &format!("{}/trigger", path(name)))).await
    }

    /// Deletes a schedule.
    pub async fn delete_schedule(&self, name: &str) -> Result<()> {
        let answer = self.send(self.request(Method::DELETE, &path(name))).await?;
        self.text(answer).await.map(drop)
    }

    /// The times that a schedule would have.
    pub async fn preview_schedule(
        &self,
        spec: &Value,
        after: Option<&str>,
        count: Option<usize>,
    ) -> Result<Answer<Preview>> {
        let pairs = (after.iter().map(|after| ("after", (*after).to_owned())))
            .chain(count.iter().map(|count| ("count", count.to_string())));
        self.ask(self.request(Method::POST, &with_query("/v1/schedules/preview", pairs)).json(spec)).await
    }
}

fn path(name: &str) -> String {
    format!("/v1/schedules/{}", escape(name))
}
