//! What no log may show: it is where it could get into one, and is looked for at the end.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stack::system::{APP_TOKEN, SECRET};
use stack::{DatabaseAddress, System, probe, token};

/// In the title of every task.
pub(crate) const IN_TITLES: &str = "which is private";

/// What the apps show their sidecars.
pub(crate) const API_TOKEN: &str = "what-the-apps-of-the-chaos-run-show-their-sidecars";

/// Shown to each relay once, which must say that it was refused, but not what it was shown.
const GUESS: &str = "a-guess-at-the-token-of-a-sidecar";

/// What the relay says then. Once in each log, which shows that it is the log that was looked through.
const REFUSED: &str = "internal call refused";

/// What is secret, where it must not be, and in which lines it is.
pub(crate) struct Secrets {
    values: Vec<(&'static str, String)>,
    logs: Vec<PathBuf>,
}

impl Secrets {
    /// Of a system that was started with [`API_TOKEN`]; has a stranger call each relay. `others` are more logs of ours.
    pub(crate) fn plant(system: &System, others: Vec<PathBuf>) -> Result<Self> {
        for number in 0..system.replicas() {
            let header = ("dapr-api-token", GUESS);
            let port = system.host_port(number)?;
            let answer = probe::post(port, "/internal/relay", header, Duration::from_secs(30));
            ensure!(answer == Some(401), "a relay answered {answer:?} to a stranger");
        }
        let address = DatabaseAddress::parse(system.database_url())?;
        let password = address.password().context("the database has a password")?.to_owned();
        // The first part is the same for all users.
        let user_token = token::mint(SECRET, "anybody", Duration::ZERO);
        let user_token = user_token.split('.').next().context("a token has parts")?.to_owned();
        let values = vec![
            ("a title", IN_TITLES.to_owned()),
            ("a user's token", user_token),
            ("the secret of users' tokens", SECRET.to_owned()),
            ("the sidecars' token", API_TOKEN.to_owned()),
            ("the apps' token", APP_TOKEN.to_owned()),
            ("a token that was refused", GUESS.to_owned()),
            ("the database's password", password),
        ];
        let logs = (0..system.replicas()).map(|number| system.host_log(number)).chain(others).collect();
        Ok(Self { values, logs })
    }

    /// The lines that show one of them, each with what it shows, and not the secret itself.
    pub(crate) fn find(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut refusals = 0;
        for log in &self.logs {
            let bytes = fs::read(log).with_context(|| format!("read {}", log.display()))?;
            let text = String::from_utf8_lossy(&bytes);
            refusals += text.matches(REFUSED).count();
            for (number, line) in text.lines().enumerate() {
                found.extend(
                    shown(&self.values, line).map(|what| format!("{what}: {}:{}", log.display(), number + 1)),
                );
            }
        }
        ensure!(refusals > 0, "no log says that a stranger was refused: these are not the components' logs");
        Ok(found)
    }
}

fn shown<'a>(values: &'a [(&'static str, String)], line: &'a str) -> impl Iterator<Item = &'static str> + 'a {
    values.iter().filter(|(_, value)| line.contains(value.as_str())).map(|(what, _)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_named_for_each_secret_that_it_shows() {
        let values = [("a title", IN_TITLES.to_owned()), ("a password", "p".to_owned())];
        let shown = |line| shown(&values, line).collect::<Vec<_>>();
        assert_eq!(shown("{\"error\":\"Task 1, which is private\"}"), ["a title", "a password"]);
        assert!(shown("no secret").is_empty());
    }
}
