//! The API's statements by `pgbench`, without any service: more than that nothing can reach on this database.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use stack::postgres;

/// As `create_task.sql`, for a user of many.
pub(crate) const CREATE: &str = "\\set number random(1, 200)
select create_task(gen_random_uuid(), md5('floor ' || :number)::uuid, 'Task number ' || :number, null::bigint,
    gen_random_uuid()::text, null::text, null::text), left_to_drain();\n";

/// As `find_task.sql`. Whether the task exists makes no difference that can be seen.
pub(crate) const GET: &str = "\\set number random(1, 200)
select user_id, title, completed, due_date, created_at, updated_at from read_task(md5('floor ' || :number)::uuid);\n";

/// Statements per second, from so many sessions that never pause. `mode` is pgbench's `--protocol`.
pub(crate) fn run(url: &str, script: &str, mode: &str, sessions: usize, time: Duration) -> Result<f64> {
    let mut pgbench = Command::new(postgres::program("pgbench")?)
        .args(["--no-vacuum", "--file", "-", "--protocol", mode, "--jobs", "2"])
        .args(["--client", &sessions.to_string(), "--time", &time.as_secs().to_string(), url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start pgbench")?;
    pgbench.stdin.take().context("pgbench has no input")?.write_all(script.as_bytes())?;
    let output = pgbench.wait_with_output().context("wait for pgbench")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let rate = printed.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    match rate {
        Some(rate) if output.status.success() => Ok(rate),
        _ => bail!("pgbench failed: {printed}{}", String::from_utf8_lossy(&output.stderr)),
    }
}
