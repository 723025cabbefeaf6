//! `cargo xtask token`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::local;
use crate::project::Project;

/// The user of the curl lines that `up` prints; the same each time, so that yesterday's tasks are still theirs.
pub(crate) const DEMO_USER: &str = "0de30000-0000-4000-8000-000000000001";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Whose token: a UUID
    #[arg(long, default_value = DEMO_USER, value_parser = parse_user)]
    user: String,
    /// How long it is valid: 90s, 30m, 1h, 7d
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    ttl: Duration,
}

/// Prints a token signed with `JWT_SECRET`, or with the secret kept in `.local`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let secret = local::jwt_secret(&Project::find()?)?;
    println!("{}", stack::token::mint(&secret, &options.user, options.ttl));
    Ok(ExitCode::SUCCESS)
}

/// A UUID, in small letters.
pub(crate) fn parse_user(text: &str) -> Result<String> {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    if lengths != [8, 4, 4, 4, 12] || !text.chars().all(|letter| letter == '-' || letter.is_ascii_hexdigit())
    {
        bail!("a user is a UUID such as {DEMO_USER}");
    }
    Ok(text.to_lowercase())
}

fn parse_duration(text: &str) -> Result<Duration> {
    const ADVICE: &str = "a duration is a number and a unit: 90s, 30m, 1h, 7d";
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).context(ADVICE)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => bail!(ADVICE),
    };
    let seconds = number.parse::<u32>().context(ADVICE)?;
    Ok(Duration::from_secs(u64::from(seconds) * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_duration("7d").unwrap(), Duration::from_secs(604_800));
        for wrong in ["", "1", "h", "-1h", "1 h", "1é"] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_demo_user_is_a_user() {
        assert_eq!(parse_user(DEMO_USER).unwrap(), DEMO_USER);
        assert!(parse_user("demo").is_err());
    }
}
