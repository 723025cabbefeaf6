//! How each kind of fault is brought about, and mended.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use stack::resources::Reapply;
use stack::system::APP_TOKEN;
use stack::{Process, System, probe};

use super::kind::Kind;
use super::lasting::LASTS;
use super::pace::Pace;
use super::rest;
use crate::clients::Clients;
use crate::mutation::{Action, Mutation, Outcome};
use crate::random::Random;
use crate::secrets::IN_TITLES;

/// How long a host lives on after it was told where to stop.
const HOLD: (u64, u64) = (300, 1_500);

/// Pause between two writes of a resource file.
const APPLY_EVERY: Duration = Duration::from_millis(200);

pub(super) struct Breaking<'a> {
    pub(super) system: &'a mut System,
    pub(super) clients: &'a Clients,
    pub(super) random: &'a mut Random,
    pub(super) pace: &'a Pace,
    pub(super) replica: usize,
    /// Calls of a relay that were not answered with 200.
    pub(super) relay_failures: &'a mut Vec<String>,
    /// Changes that no client made.
    pub(super) changes: &'a mut Vec<Mutation>,
}

impl Breaking<'_> {
    /// Returns when all is mended. Of a kind that lasts, it returns when it has begun, with the session that it goes on in.
    pub(super) fn run(&mut self, kind: Kind) -> Result<Option<Process>> {
        match kind {
            Kind::KillHost => self.kill_host(),
            Kind::KillHostBeforePublish => self.kill_host_at("hold-before-publish"),
            Kind::KillHostBeforeSettle => self.kill_host_at("hold-before-settle"),
            // Others take over what the publisher has leased, and then it goes on.
            Kind::StallPublisher => self.inject("stall-before-settle"),
            Kind::KillSidecar => self.kill_sidecar(),
            Kind::PauseSidecar => self.pause_sidecar(),
            Kind::RestartKafka => self.end_kafka(System::stop_kafka),
            Kind::KillKafka => self.end_kafka(System::kill_kafka),
            Kind::PauseKafka => self.pause_kafka(),
            Kind::RestartPostgres => self.end_postgres(System::stop_postgres),
            Kind::KillPostgres => self.end_postgres(System::kill_postgres),
            Kind::HoldSnapshot => return self.hold_snapshot().map(Some),
            Kind::HoldTransaction => return self.hold_transaction().map(Some),
            Kind::SidecarWithoutKafka => self.start_sidecar_without_kafka(),
            Kind::ApplyComponents => self.apply_components(),
            Kind::ApplyResiliency => self.apply_resiliency(),
            Kind::TicksAtOnce => self.tick_at_once(),
        }?;
        Ok(None)
    }

    fn kill_host(&mut self) -> Result<()> {
        self.system.kill_host(self.replica)?;
        self.wait(self.pace.down)?;
        self.system.start_host(self.replica)
    }

    fn kill_host_at(&mut self, point: &'static str) -> Result<()> {
        self.inject(point)?;
        self.wait(HOLD)?;
        self.kill_host()
    }

    /// The next request that creates a task there takes the fault along.
    fn inject(&mut self, point: &'static str) -> Result<()> {
        self.clients.arm(self.replica, point);
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.clients.is_armed() {
            rest(Duration::from_millis(10))?;
            if Instant::now() > deadline {
                bail!("no client created a task within 10 s");
            }
        }
        Ok(())
    }

    fn kill_sidecar(&mut self) -> Result<()> {
        self.system.kill_sidecar(self.replica)?;
        self.wait(self.pace.down)?;
        self.system.start_sidecar(self.replica)
    }

    fn pause_sidecar(&mut self) -> Result<()> {
        self.system.pause_sidecar(self.replica)?;
        self.wait(self.pace.hang)?;
        self.system.resume_sidecar(self.replica)
    }

    fn end_kafka(&mut self, end: fn(&mut System) -> Result<()>) -> Result<()> {
        end(self.system)?;
        self.wait(self.pace.down)?;
        self.system.start_kafka()
    }

    fn pause_kafka(&mut self) -> Result<()> {
        self.system.pause_kafka()?;
        self.wait(self.pace.hang)?;
        self.system.resume_kafka()
    }

    fn end_postgres(&mut self, end: fn(&mut System) -> Result<()>) -> Result<()> {
        end(self.system)?;
        self.wait(self.pace.down)?;
        self.system.start_postgres()
    }

    /// No row that dies meanwhile can be removed.
    fn hold_snapshot(&mut self) -> Result<Process> {
        self.system.open_session(&format!(
            "begin isolation level repeatable read; select count(*) from user_streams; select pg_sleep({}); commit",
            LASTS.as_secs()
        ))
    }

    /// A change that commits long after everything around it, by a session that a drain may count on meanwhile.
    fn hold_transaction(&mut self) -> Result<Process> {
        let (user, task, trace) = (self.random.uuid(), self.random.uuid(), self.random.uuid());
        let correlation = format!("chaos-open-{}", self.changes.len() + 1);
        let traceparent = format!("00-{}-00f067aa0ba902b7-01", trace.simple());
        let session = self.system.open_session(&format!(
            "begin; select create_task('{task}', '{user}', 'Left open, {IN_TITLES}', null, '{correlation}', \
             '{traceparent}', null), left_to_drain(); select pg_sleep({}); commit",
            LASTS.as_secs()
        ))?;
        self.changes.push(Mutation {
            user: user.to_string(),
            action: Action::Created,
            task_id: Some(task.to_string()),
            correlation,
            traceparent: Some(traceparent),
            // When it is committed, the database's sequence numbers tell.
            outcome: Outcome::Unavailable,
            replica: self.replica,
            started: Instant::now(),
            took: LASTS,
        });
        Ok(session)
    }

    /// The sidecar gives up, and is started again when Kafka is there, as Kubernetes would.
    fn start_sidecar_without_kafka(&mut self) -> Result<()> {
        self.system.stop_kafka()?;
        self.system.kill_sidecar(self.replica)?;
        if self.system.start_sidecar(self.replica).is_ok() {
            println!("      the sidecar started although Kafka is down");
        }
        self.system.start_kafka()?;
        self.system.kill_sidecar(self.replica)?;
        self.system.start_sidecar(self.replica)
    }

    /// All sidecars read what is applied, again and again; at the end the resources are as they were.
    fn apply(&mut self, resources: &[Reapply]) -> Result<()> {
        let until = Instant::now() + self.random.millis(self.pace.hang.0, self.pace.hang.1);
        let mut number = 0;
        while Instant::now() < until {
            number += 1;
            resources.iter().try_for_each(|resource| resource.apply(number))?;
            rest(APPLY_EVERY)?;
        }
        Ok(())
    }

    /// The sidecars close and open the component that publishes and the binding that calls the relay.
    fn apply_components(&mut self) -> Result<()> {
        let resources = self.system.resources();
        let components = [Reapply::pubsub(resources)?, Reapply::ticks(resources)?];
        self.apply(&components)?;
        drop(components);
        self.wait_for_sidecars()
    }

    /// The sidecars start their whole runtime anew.
    fn apply_resiliency(&mut self) -> Result<()> {
        let resiliency = [Reapply::resiliency(self.system.resources())?];
        self.apply(&resiliency)?;
        drop(resiliency);
        self.wait_for_sidecars()
    }

    /// A sidecar ends when Kafka does not answer it within 5 s; it is started again, as Kubernetes would.
    fn wait_for_sidecars(&mut self) -> Result<()> {
        for number in 0..self.system.replicas() {
            if let Err(error) = self.system.wait_for_sidecar(number) {
                stack::interrupt::check()?;
                println!("      sidecar {number} is started again: {error:#}");
                self.system.kill_sidecar(number)?;
                self.system.start_sidecar(number)?;
            }
        }
        Ok(())
    }

    /// Several calls of every replica's relay, all at once, some times over.
    fn tick_at_once(&mut self) -> Result<()> {
        let ports = (0..self.system.replicas()).map(|number| self.system.host_port(number));
        let ports = ports.collect::<Result<Vec<_>>>()?;
        for _ in 0..10 {
            let answers: Vec<_> = thread::scope(|scope| {
                let calls: Vec<_> = ports
                    .iter()
                    .flat_map(|port| [*port; 4])
                    .map(|port| scope.spawn(move || tick(port)))
                    .collect();
                calls.into_iter().map(|call| call.join().unwrap_or_default()).collect()
            });
            let failed = answers.into_iter().filter(|answer| *answer != Some(200));
            self.relay_failures.extend(failed.map(|answer| match answer {
                Some(status) => format!("a relay answered {status}"),
                None => "a relay did not answer within 30 s".to_owned(),
            }));
            self.wait((100, 500))?;
        }
        Ok(())
    }

    fn wait(&mut self, (from_millis, to_millis): (u64, u64)) -> Result<()> {
        rest(self.random.millis(from_millis, to_millis))
    }
}

fn tick(port: u16) -> Option<u16> {
    probe::post(port, "/internal/relay", ("dapr-api-token", APP_TOKEN), Duration::from_secs(30))
}
