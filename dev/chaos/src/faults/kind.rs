//! What can be broken.

use std::fmt;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    KillHost,
    KillHostBeforePublish,
    KillHostBeforeSettle,
    StallPublisher,
    KillSidecar,
    PauseSidecar,
    RestartKafka,
    KillKafka,
    PauseKafka,
    RestartPostgres,
    KillPostgres,
    HoldSnapshot,
    HoldTransaction,
    SidecarWithoutKafka,
    ApplyComponents,
    ApplyResiliency,
    TicksAtOnce,
}

impl Kind {
    pub(crate) const ALL: [Self; 17] = [
        Self::KillHost,
        Self::KillHostBeforePublish,
        Self::KillHostBeforeSettle,
        Self::StallPublisher,
        Self::KillSidecar,
        Self::PauseSidecar,
        Self::RestartKafka,
        Self::KillKafka,
        Self::PauseKafka,
        Self::RestartPostgres,
        Self::KillPostgres,
        Self::HoldSnapshot,
        Self::HoldTransaction,
        Self::SidecarWithoutKafka,
        Self::ApplyComponents,
        Self::ApplyResiliency,
        Self::TicksAtOnce,
    ];

    /// Whether the API's own parts are untouched, so that its clients must notice nothing.
    pub(crate) fn spares_api(self) -> bool {
        !self.kills_host() && !self.ends_postgres()
    }

    /// Whether connections to a host break.
    pub(crate) fn kills_host(self) -> bool {
        matches!(self, Self::KillHost | Self::KillHostBeforePublish | Self::KillHostBeforeSettle)
    }

    /// Whether connections to the database break.
    pub(crate) fn ends_postgres(self) -> bool {
        matches!(self, Self::RestartPostgres | Self::KillPostgres)
    }

    /// Whether it takes 20 s in which nothing has to be done: other things are broken beside it.
    pub(crate) fn lasts(self) -> bool {
        matches!(self, Self::StallPublisher | Self::HoldSnapshot | Self::HoldTransaction)
    }

    /// Whether this would end another fault that lasts.
    pub(crate) fn ends(self, lasting: Self) -> bool {
        match lasting {
            Self::StallPublisher => self.kills_host(),
            Self::HoldSnapshot | Self::HoldTransaction => self.ends_postgres(),
            _ => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::KillHost => "host killed",
            Self::KillHostBeforePublish => "host killed between commit and publish",
            Self::KillHostBeforeSettle => "host killed between publish and settle",
            Self::StallPublisher => "publisher outlives its lease",
            Self::KillSidecar => "daprd killed",
            Self::PauseSidecar => "daprd hangs",
            Self::RestartKafka => "Kafka restarted",
            Self::KillKafka => "Kafka killed",
            Self::PauseKafka => "Kafka hangs",
            Self::RestartPostgres => "PostgreSQL restarted",
            Self::KillPostgres => "PostgreSQL's postmaster killed",
            Self::HoldSnapshot => "old snapshot held",
            Self::HoldTransaction => "transaction with a change left open",
            Self::SidecarWithoutKafka => "daprd started without Kafka",
            Self::ApplyComponents => "components applied every 200 ms",
            Self::ApplyResiliency => "Resiliency applied every 200 ms",
            Self::TicksAtOnce => "relays called at once",
        })
    }
}

/// One thing that was broken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Whose host or sidecar, where it is one replica's.
    pub(crate) replica: usize,
}
