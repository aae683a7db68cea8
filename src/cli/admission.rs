//! `admission`: who waits and who runs, by tenant and by concurrency key.

use std::time::Duration;

use dogwatch_actors::admission::{AdmissionView, KeyView, Rate, TenantView};
use dogwatch_actors::clock::Timestamp;

use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, Paint, escape};
use super::table::{self, Cell};
use super::{Error, output};
use crate::client::Method;

pub(super) async fn run(context: &Context) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    let answer = client.about::<AdmissionView>(Method::GET, &["admission"], None, Duration::ZERO).await?;
    let shown = if context.json { answer.raw } else { text(&answer.value, context.paint) };
    output::data(&shown)?;
    Ok(Exit::OK)
}

fn text(view: &AdmissionView, paint: Paint) -> String {
    let tenants = std::iter::once(head(
        ["TENANT", "WEIGHT", "RUNNING", "OF", "AHEAD", "WAITING", "RATE", "NEXT"],
        paint,
    ));
    let mut text = table::render(&tenants.chain(view.tenants.iter().map(tenant)).collect::<Vec<_>>());
    if !view.keys.is_empty() {
        let keys = std::iter::once(head(["KEY", "HOLDING", "OF", "WAITING", "RATE", "NEXT"], paint));
        text.push('\n');
        text.push_str(&table::render(&keys.chain(view.keys.iter().map(key)).collect::<Vec<_>>()));
    }
    if view.truncated {
        text.push_str("there are more\n");
    }
    text
}

fn head<const N: usize>(titles: [&str; N], paint: Paint) -> Vec<Cell> {
    titles.map(|title| Cell::painted(title, paint.paint(Colour::Dim, title))).to_vec()
}

fn number(number: impl ToString) -> Cell {
    Cell::plain(number.to_string())
}

fn most(most: Option<u32>) -> Cell {
    Cell::plain(most.map_or_else(|| "-".to_owned(), |most| most.to_string()))
}

fn rate(rate: Option<Rate>) -> Cell {
    Cell::plain(rate.map_or_else(|| "-".to_owned(), |rate| format!("{}/{}", rate.limit, rate.per)))
}

fn next(at: Option<Timestamp>) -> Cell {
    Cell::plain(at.map_or_else(|| "-".to_owned(), |at| at.to_string()))
}

fn tenant(tenant: &TenantView) -> Vec<Cell> {
    vec![
        Cell::plain(escape(&tenant.name)),
        number(tenant.weight),
        number(tenant.running),
        most(tenant.max_running),
        number(tenant.ahead),
        number(tenant.waiting),
        rate(tenant.rate),
        next(tenant.next_at),
    ]
}

fn key(key: &KeyView) -> Vec<Cell> {
    vec![
        Cell::plain(escape(&key.key)),
        number(key.holding),
        most(key.limit),
        number(key.waiting),
        rate(key.rate),
        next(key.next_at),
    ]
}
