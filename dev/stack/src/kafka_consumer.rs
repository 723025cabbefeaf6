//! A consumer of Kafka's by group: the console consumer that Kafka brings, whose groups are the real ones.

use std::path::Path;

use crate::Launch;
use crate::kafka::java;

/// What it reads, and from where.
pub struct KafkaConsumer<'a> {
    /// The directory with Kafka's jars.
    pub libraries: &'a Path,
    /// `host:port` of a broker.
    pub bootstrap: &'a str,
    /// The topics.
    pub topics: &'a [&'a str],
    /// The group whose position it keeps; without one, it keeps none.
    pub group: Option<&'a str>,
    /// Whether it begins with the oldest event and not with the next one, where its group has no position.
    pub from_beginning: bool,
}

impl KafkaConsumer<'_> {
    /// Prints the value of each record on a line of its own. Asked to end, it gives back what it has not printed and
    /// keeps its group's position; killed, it leaves that as it was, and the next one of the group prints again what it has
    /// printed.
    pub fn launch(&self) -> Launch {
        let launch = java(
            self.libraries,
            "Kafka's console consumer",
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
        )
        .args(["--bootstrap-server", self.bootstrap, "--include", &self.topics.join("|")]);
        let launch = match self.group {
            Some(group) => settings().fold(launch.args(["--group", group]), |launch, setting| {
                launch.args(["--command-property", &setting])
            }),
            None => launch,
        };
        if self.from_beginning { launch.arg("--from-beginning") } else { launch }
    }
}

/// How it belongs to its group.
fn settings() -> impl Iterator<Item = String> {
    [
        // Left to itself it would also keep a position every 5 s, past what nobody has read yet.
        ("auto.commit.interval.ms", i32::MAX),
        // The next one of the group waits for so long for one that was killed; 45 s by default.
        ("session.timeout.ms", 6_000),
        ("heartbeat.interval.ms", 2_000),
    ]
    .into_iter()
    .map(|(name, value)| format!("{name}={value}"))
}
