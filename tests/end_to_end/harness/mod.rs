//! Starts the app on real parts and offers typed calls to it.
//!
//! `shared()` is the one running app most tests use, each with a new user; `Setup` starts an app of a test's own.
//! Nothing here sleeps: waits poll with a deadline (`wait`).

pub(crate) mod answer;
pub(crate) mod app;
pub(crate) mod background;
pub(crate) mod checkout;
pub(crate) mod collector;
pub(crate) mod database;
pub(crate) mod environment;
pub(crate) mod event;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod node;
pub(crate) mod nudge;
pub(crate) mod openapi;
pub(crate) mod origins;
pub(crate) mod otlp;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod publish;
pub(crate) mod python;
pub(crate) mod raw;
pub(crate) mod route;
pub(crate) mod secrets;
pub(crate) mod server;
pub(crate) mod setup;
pub(crate) mod stub;
pub(crate) mod turn;
pub(crate) mod user;
pub(crate) mod wait;
pub(crate) mod wire;

pub(crate) use app::{App, Own, shared};
pub(crate) use route::Route;
pub(crate) use setup::Setup;
pub(crate) use user::User;
