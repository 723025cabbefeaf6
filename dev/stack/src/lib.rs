//! Starts and ends the real parts that a running taskcast needs. Shared by `cargo xtask` and the end-to-end tests.
//!
//! | part | here |
//! |---|---|
//! | a child process that never outlives its parent | [`process`] |
//! | PostgreSQL, a private cluster | [`postgres`]; databases and migrations in [`database`], an oracle for atomicity in [`atomicity`] |
//! | the Dapr sidecar and its resource files | [`sidecar`], [`resources`]; applied again in [`resources::Reapply`] |
//! | Apache Kafka | [`kafka`], its topics in [`topics`], its rights in [`acls`]; who reads them by group in [`kafka_consumer`] |
//! | the API itself, on `spin` or the embedded host | [`app`] |
//! | what a consumer of the events sees | [`subscriber`] |
//! | tokens for the API | [`token`] |
//! | a whole system of them, to break or to measure | [`system`] |
//!
//! Everything is synchronous and ends when its value is dropped.

pub mod acls;
pub mod app;
pub mod atomicity;
pub mod database;
pub mod database_address;
pub mod interrupt;
pub mod kafka;
pub mod kafka_consumer;
mod launch;
pub mod pipe;
pub mod ports;
pub mod postgres;
pub mod probe;
pub mod process;
pub mod programs;
pub mod random;
pub mod resources;
pub mod service_user;
pub mod sidecar;
mod spawner;
pub mod subscriber;
pub mod system;
pub mod token;
pub mod topics;

pub use acls::Acl;
pub use app::{App, AppOptions, Host};
pub use atomicity::Atomicity;
pub use database_address::DatabaseAddress;
pub use kafka::{Kafka, KafkaOptions, Secured};
pub use kafka_consumer::KafkaConsumer;
pub use launch::{Launch, OnLine};
pub use ports::free_port;
pub use postgres::{Postgres, PostgresOptions};
pub use process::Process;
pub use resources::{Broker, Deliver, write_resources};
pub use sidecar::{Sidecar, SidecarOptions};
pub use system::{System, SystemOptions};
