//! What is measured, by name.

mod callbacks;
mod reads;
mod submit;

use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::plan::Plan;

/// All that run when none is named.
const ALL: &[&str] = &["submit", "callbacks", "reads"];

/// Those that run only when they are named.
const NAMED: &[&str] = &[];

/// The scenarios of these names; of none, all.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static str>> {
    let known = || ALL.iter().chain(NAMED).copied();
    let find = |name: &String| {
        let unknown = || Error::Void(format!("there is no `{name}`; there are {}", known().collect::<Vec<_>>().join(", ")));
        known().find(|known| known == name).ok_or_else(unknown)
    };
    if names.is_empty() { Ok(ALL.to_vec()) } else { names.iter().map(find).collect() }
}

/// Measures one.
pub(crate) async fn run(name: &str, plan: &Plan) -> Result<Vec<Figure>> {
    match name {
        "submit" => submit::measure(plan).await,
        "callbacks" => callbacks::measure(plan).await,
        "reads" => reads::measure(plan).await,
        _ => Err(Error::Void(format!("there is no `{name}`"))),
    }
}
