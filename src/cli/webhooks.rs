//! `webhooks`: how the telling of a job's end is going, and another try for what was given up.

use clap::Args;
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::webhook::WebhookView;

use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, Paint, escape};
use super::table::{self, Cell};
use super::{Error, human, output};

/// The arguments of `webhooks`.
#[derive(Debug, Args)]
pub struct WebhooksArgs {
    /// The job: its id, its name (then the newest of that name), or a part of its id
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Try again those that were given up
    #[arg(long)]
    pub replay: bool,
}

pub(super) async fn run(context: &Context, args: WebhooksArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    let id = context.find_job(&client, &args.job).await?;
    let mut answer = client.webhooks(id).await?;
    if args.replay {
        let parked: Vec<u16> = (answer.value.webhooks.iter())
            .filter(|webhook| webhook.state == "parked")
            .map(|webhook| webhook.target)
            .collect();
        for target in parked {
            answer = client.replay_webhook(id, target).await?;
        }
    }
    if context.json {
        output::data(&answer.raw)?;
    } else {
        output::data(&rows(&answer.value.webhooks, context.now(), context.paint))?;
    }
    Ok(Exit::OK)
}

fn rows(webhooks: &[WebhookView], now: Timestamp, paint: Paint) -> String {
    let row = |webhook: &WebhookView| {
        let next = webhook.next_at.map_or_else(String::new, |at| human::relative(at, now));
        vec![
            Cell::plain(webhook.target.to_string()),
            Cell::plain(webhook.state.clone()),
            Cell::plain(webhook.delivered.to_string()),
            Cell::plain(webhook.pending.to_string()),
            Cell::plain(webhook.tries.to_string()),
            Cell::plain(next),
            Cell::plain(escape(&webhook.url)),
            Cell::plain(escape(webhook.last_error.as_deref().unwrap_or_default())),
        ]
    };
    let head = ["#", "STATE", "DELIVERED", "PENDING", "TRIES", "NEXT", "URL", "WHY"];
    let head = head.map(|title| Cell::painted(title, paint.paint(Colour::Dim, title))).to_vec();
    table::render(&std::iter::once(head).chain(webhooks.iter().map(row)).collect::<Vec<_>>())
}
