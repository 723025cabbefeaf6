//! A mutation, as the mode wants it.

use std::sync::Arc;

use shared::auth::Verifier;
use shared::error::Error;
use shared::task::{Action, NewTask, Task, TaskPatch};
use shared::trace::Trace;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::database::Database;
use crate::sidecar::Sidecar;
use crate::{direct, store};

/// What every request shares.
pub(crate) struct App {
    pub(crate) verifier: Verifier,
    pub(crate) database: Database,
    pub(crate) sidecar: Sidecar,
    pub(crate) delivery: Delivery,
}

/// How the events of a change are delivered.
pub(crate) enum Delivery {
    /// Never.
    Off,
    /// By the drain, which is told that something was committed.
    Outbox(Arc<Notify>),
    /// Before the response.
    Direct,
}

impl App {
    pub(crate) async fn create_task(&self, user: Uuid, new: &NewTask, trace: &Trace) -> Result<Task, Error> {
        match &self.delivery {
            Delivery::Direct => {
                let (task, change) = direct::create_task(&self.database, user, new, trace).await?;
                direct::publish(&self.sidecar, &change).await;
                Ok(task)
            }
            _ => {
                let task = store::create_task(&self.database, user, new, trace).await?;
                self.drain_afterwards();
                Ok(task)
            }
        }
    }

    pub(crate) async fn update_task(
        &self,
        user: Uuid,
        id: Uuid,
        action: Action,
        patch: &TaskPatch,
        trace: &Trace,
    ) -> Result<Task, Error> {
        match &self.delivery {
            Delivery::Direct => {
                let (task, change) =
                    direct::update_task(&self.database, user, id, action, patch, trace).await?;
                direct::publish(&self.sidecar, &change).await;
                Ok(task)
            }
            _ => {
                let task = store::update_task(&self.database, user, id, action, patch, trace).await?;
                self.drain_afterwards();
                Ok(task)
            }
        }
    }

    pub(crate) async fn delete_task(&self, user: Uuid, id: Uuid, trace: &Trace) -> Result<(), Error> {
        match &self.delivery {
            Delivery::Direct => {
                let change = direct::delete_task(&self.database, user, id, trace).await?;
                direct::publish(&self.sidecar, &change).await;
            }
            _ => {
                store::delete_task(&self.database, user, id, trace).await?;
                self.drain_afterwards();
            }
        }
        Ok(())
    }

    /// Wakes the drain, which has its own task: the response does not wait for it.
    fn drain_afterwards(&self) {
        if let Delivery::Outbox(committed) = &self.delivery {
            committed.notify_one();
        }
    }
}
