//! What every component of taskcast uses.
//!
//! A route is a component of about thirty lines; what two of them share is here. The layers, lowest first:
//!
//! | module | what it is |
//! |---|---|
//! | [`task`] | the types of the domain, each of which parses once |
//! | [`trace`] | correlation ids and W3C trace context |
//! | [`event`] | the CloudEvents of a change |
//! | [`error`] | the one error type, and the contract's JSON for it |
//! | [`config`] | the variables of `spin.toml`, read once per instance |
//! | [`log`] | JSON lines, each of a level |
//! | [`limit`] | how long something may take |
//! | [`auth`] | who is calling |
//! | [`turns`] | who has to wait for whom within an instance |
//! | [`counts`] | what deliveries have done, for the metrics |
//! | [`delivery`] | the types that the outbox and the store exchange |
//! | [`store`] | one function per SQL statement |
//! | [`dapr`] | the sidecar |
//! | [`outbox`] | claim, publish, settle |
//! | [`http`] | from a request to a route, and back |
//!
//! `task`, `trace`, `event` and `error` know nothing of Spin.

pub mod auth;
pub mod config;
pub mod counts;
pub mod dapr;
pub mod delivery;
pub mod error;
pub mod event;
#[cfg(feature = "faults")]
pub mod faults;
pub mod http;
pub mod limit;
pub mod log;
pub mod outbox;
pub mod store;
pub mod task;
pub mod trace;
pub mod turns;
