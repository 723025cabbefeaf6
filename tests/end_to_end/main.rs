//! Everything a user of taskcast sees, tested from outside on the real parts. `cargo xtask test` runs it.
//!
//! | what | modules |
//! |---|---|
//! | the routes, row by row of docs/contract.md | [`tasks`], [`task`], [`complete`], [`uncomplete`], [`health`] |
//! | what holds on every route | [`authentication`], [`origin_and_cors`], [`errors`], [`correlation`] |
//! | the events | [`events`], [`publishing`], [`bulk`], [`kafka`], [`deployed_sidecar`] |
//! | what it says of itself | [`logs`], [`traces`] |
//! | what fails | [`outbox`], [`relay`], [`leases`], [`sidecar_faults`], [`database_faults`], [`disconnects`], [`panics`] |
//! | the repository | [`statements`], [`upgrade`], [`database_roles`], [`routes`], [`manifests`], [`bad_environments`] |

#[cfg(test)]
mod authentication;
#[cfg(test)]
mod bad_environments;
#[cfg(test)]
mod bulk;
#[cfg(test)]
mod complete;
#[cfg(test)]
mod correlation;
#[cfg(test)]
mod database_faults;
#[cfg(test)]
mod database_roles;
#[cfg(test)]
mod deployed_sidecar;
#[cfg(test)]
mod disconnects;
#[cfg(test)]
mod drains;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod events;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod health;
#[cfg(test)]
mod kafka;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod origin_and_cors;
#[cfg(test)]
mod outbox;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod publishing;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod sidecar_faults;
#[cfg(test)]
mod statements;
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
