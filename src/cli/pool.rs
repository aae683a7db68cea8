//! `pool`: declare pools of workers, and look at them.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::Method;
use clap::{Args, Subcommand};
use dogwatch_actors::pool::PoolView;
use serde_json::Value;

use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, Paint, escape};
use super::table::{self, Cell};
use super::{Error, output, spec_args};
use crate::api::PoolList;

/// The verbs of `pool`.
#[derive(Debug, Subcommand)]
pub enum PoolCommand {
    /// Create a pool, or replace it
    Put(PutArgs),
    /// List pools
    Ls,
    /// Show a pool
    Show(PoolArg),
    /// Stop the instances of a pool and delete it
    Rm(PoolArg),
}

/// The arguments of `pool put`.
#[derive(Debug, Args)]
pub struct PutArgs {
    /// The pool: lower-case letters, digits and `-`
    #[arg(value_name = "POOL")]
    pub pool: String,
    /// Its spec, JSON, TOML or YAML; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// One pool.
#[derive(Debug, Args)]
pub struct PoolArg {
    /// The pool
    #[arg(value_name = "POOL")]
    pub pool: String,
}

pub(super) async fn run(context: &Context, command: PoolCommand) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    let (method, pool, body) = match command {
        PoolCommand::Ls => {
            let answer = client.about::<PoolList>(Method::GET, &["pools"], None, Duration::ZERO).await?;
            let shown = if context.json { answer.raw } else { rows(&answer.value.pools, context.paint) };
            output::data(&shown)?;
            return Ok(Exit::OK);
        }
        PoolCommand::Put(args) => (Method::PUT, args.pool, Some(Value::Object(spec_args::read(&args.file)?))),
        PoolCommand::Show(args) => (Method::GET, args.pool, None),
        PoolCommand::Rm(args) => (Method::DELETE, args.pool, None),
    };
    let path = ["pools", pool.as_str()];
    let answer =
        client.about::<Option<PoolView>>(method.clone(), &path, body.as_ref(), Duration::ZERO).await?;
    let shown = match answer.value {
        Some(view) if method == Method::GET && !context.json => rows(&[view], context.paint),
        Some(_) if context.json => answer.raw,
        _ => pool,
    };
    output::data(&shown)?;
    Ok(Exit::OK)
}

fn rows(pools: &[PoolView], paint: Paint) -> String {
    let row = |pool: &PoolView| {
        let work = pool.spec.queue.clone().unwrap_or_else(|| {
            pool.spec.activities.iter().map(|activity| activity.name.as_str()).collect::<Vec<_>>().join(",")
        });
        vec![
            Cell::plain(pool.name.clone()),
            Cell::plain(escape(&work)),
            Cell::plain(pool.instances.len().to_string()),
            Cell::plain(format!("{}-{}", pool.spec.min, pool.spec.max)),
            Cell::plain(pool.waiting.to_string()),
            Cell::plain(pool.running.to_string()),
            Cell::plain(escape(&pool.message)),
        ]
    };
    let head = ["POOL", "WORK", "INSTANCES", "OF", "WAITING", "RUNNING", "NOW"];
    let head = head.map(|title| Cell::painted(title, paint.paint(Colour::Dim, title))).to_vec();
    table::render(&std::iter::once(head).chain(pools.iter().map(row)).collect::<Vec<_>>())
}
