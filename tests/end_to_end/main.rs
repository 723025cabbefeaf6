//! Everything a user of taskcast sees, tested from outside on the real parts. `cargo xtask test` runs it.
//!
//! | what | modules |
//! |---|---|
//! | the routes, row by row of docs/contract.md | [`tasks`], [`lists`], [`task`], [`complete`], [`uncomplete`], [`health`], [`reference`] |
//! | what holds on every route | [`authentication`], [`keys`], [`cookies`], [`cors`], [`isolation`], [`errors`], [`correlation`] |
//! | docs/openapi.yaml, which every call is held against | [`openapi`], [`generated_client`], [`schemathesis`] |
//! | the events | [`events`], [`publishing`], [`bulk`], [`kafka`], [`deployed_sidecar`], [`asyncapi`], [`schemas`] |
//! | what fails | [`outbox`], [`atomicity`], [`relay`], [`leases`], [`drains`], [`stalls`], [`sidecar_faults`], [`reloads`], [`database_faults`], [`disconnects`], [`panics`] |
//! | what is too much | [`abuse`] |
//! | what no library would send | [`raw_requests`] |
//! | what Spin and the embedded host do for the components | [`hosts`] |
//! | what an operator sees | [`metrics`], [`logs`], [`traces`] |
//! | databases as others run them | [`pooler`], [`database_tls`], [`oldest_postgresql`] |
//! | the commands | [`tail`], [`bad_environments`] |
//! | the repository | [`statements`], [`upgrade`], [`migrations_job`], [`database_roles`], [`routes`], [`manifests`], [`documents`] |

#[cfg(test)]
mod abuse;
#[cfg(test)]
mod asyncapi;
#[cfg(test)]
mod atomicity;
#[cfg(test)]
mod authentication;
#[cfg(test)]
mod bad_environments;
#[cfg(test)]
mod bulk;
#[cfg(test)]
mod complete;
#[cfg(test)]
mod cookies;
#[cfg(test)]
mod correlation;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod database_faults;
#[cfg(test)]
mod database_roles;
#[cfg(test)]
mod database_tls;
#[cfg(test)]
mod deployed_sidecar;
#[cfg(test)]
mod disconnects;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod drains;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod events;
#[cfg(test)]
mod generated_client;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod head;
#[cfg(test)]
mod health;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod kafka;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod migrations_job;
#[cfg(test)]
mod oldest_postgresql;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod outbox;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod pooler;
#[cfg(test)]
mod publishing;
#[cfg(test)]
mod raw_requests;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod reloads;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod schemathesis;
#[cfg(test)]
mod sidecar_faults;
#[cfg(test)]
mod stalls;
#[cfg(test)]
mod statements;
#[cfg(test)]
mod tail;
#[cfg(test)]
mod task;
#[cfg(test)]
mod tasks;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod uncomplete;
#[cfg(test)]
mod upgrade;
