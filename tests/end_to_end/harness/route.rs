//! The seven task routes, for what must hold on each of them.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// One row of docs/contract.md's table of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    List,
    Create,
    Read,
    Update,
    Delete,
    Complete,
    Uncomplete,
}

impl Route {
    /// `Delete` comes last: the others need the task.
    pub(crate) const ALL: [Self; 7] =
        [Self::List, Self::Create, Self::Read, Self::Update, Self::Complete, Self::Uncomplete, Self::Delete];

    /// The routes that name a task.
    pub(crate) fn of_one_task() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|route| !matches!(route, Self::List | Self::Create))
    }

    /// The routes that change something.
    pub(crate) fn mutations() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|route| !matches!(route, Self::List | Self::Read))
    }

    pub(crate) fn method(self) -> Method {
        match self {
            Self::List | Self::Read => Method::GET,
            Self::Create | Self::Complete | Self::Uncomplete => Method::POST,
            Self::Update => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }

    /// The path for the task `id`, which need not be a UUID.
    pub(crate) fn path(self, id: &str) -> String {
        match self {
            Self::List | Self::Create => "/api/v1/tasks".to_owned(),
            Self::Read | Self::Update | Self::Delete => format!("/api/v1/tasks/{id}"),
            Self::Complete => format!("/api/v1/tasks/{id}/complete"),
            Self::Uncomplete => format!("/api/v1/tasks/{id}/uncomplete"),
        }
    }

    /// A body that the route accepts.
    pub(crate) fn body(self) -> Option<Value> {
        match self {
            Self::Create => Some(json!({"title": "From a list of all routes"})),
            Self::Update => Some(json!({"title": "Changed from a list of all routes"})),
            _ => None,
        }
    }

    pub(crate) fn success(self) -> u16 {
        if self == Self::Create { 201 } else { 200 }
    }
}

/// A task id that no task has.
pub(crate) fn unknown_id() -> String {
    Uuid::new_v4().to_string()
}
