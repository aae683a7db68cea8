//! Dogwatch: the REST API, the callback listener and the command line over `dogwatch-actors`.
pub mod api;
pub mod callbacks;
pub mod limits;
pub mod listener;
