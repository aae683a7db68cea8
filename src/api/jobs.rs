//! The routes of jobs, one file each.

pub(crate) mod artifacts;
pub(crate) mod command;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod purge;
pub(crate) mod raise;
pub(crate) mod show;
pub(crate) mod submit;
pub(crate) mod webhooks;
