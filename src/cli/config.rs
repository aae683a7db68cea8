//! `config`: the configuration in force.

use super::context::Context;
use super::exit::Exit;
use super::{Error, output};

pub(super) fn run(context: &Context) -> Result<Exit, Error> {
    if context.json {
        let text = serde_json::to_string_pretty(&context.loaded.to_json()).expect("a JSON value is JSON");
        output::data(&text)?;
    } else {
        output::data(&context.loaded.to_toml())?;
    }
    Ok(Exit::OK)
}
