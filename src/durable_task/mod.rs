//! The Durable Task protocol: clients and workers of the existing SDKs, over gRPC, on the same instances as every other
//! front.
//!
//! A client's request becomes one of [`Handle`](dogwatch_actors::handle::Handle); a worker's stream is fed by
//! [`Remote`](dogwatch_actors::orchestration::executor::Remote). Not responsible for: any rule of an instance, and for
//! which worker gets what.
//!
//! Invariants: what is answered is durable; a worker is never told of an error when it completes work; texts go through
//! as they were written.

mod clients;
mod convert;
mod entities;
mod gate;
mod history;
mod refusal;
pub mod server;
mod service;
pub mod sockets;
mod workers;

#[expect(missing_docs, unused_qualifications, reason = "generated from the contract")]
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    clippy::nursery,
    reason = "generated from the contract"
)]
pub mod proto {
    //! The messages and the service of the contract, as they are generated.
    tonic::include_proto!("_");
}
