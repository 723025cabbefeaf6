//! Each call in a file, for whoever asks why the API was slow: at what time, under what, and for how long.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::mutation::{Mutation, Outcome};
use crate::timeline::{self, Timeline};

/// One line for each, as CSV: when it began (milliseconds since 1970), on which replica, what was broken, what it did,
/// what it came to, and how long it took (milliseconds).
pub(crate) fn write(file: &Path, mutations: &[Mutation], timeline: &Timeline) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut out = BufWriter::new(File::create(file)?);
        writeln!(out, "began,replica,broken,correlation,user,action,outcome,took")?;
        for mutation in mutations {
            let began = timeline::clock(mutation.started);
            let fault = timeline.at(mutation.started).and_then(|phase| phase.fault);
            let broken = fault.map_or("nothing".to_owned(), |fault| fault.kind.to_string());
            let outcome = match mutation.outcome {
                Outcome::Acknowledged { .. } => "acknowledged",
                Outcome::Refused => "refused",
                Outcome::NotSent => "not sent",
                Outcome::Unavailable => "503",
                Outcome::Failed(_) => "failed",
            };
            let Mutation { replica, correlation, user, action, took, .. } = mutation;
            let (action, took) = (action.name(), took.as_secs_f64() * 1_000.0);
            writeln!(out, "{began},{replica},{broken},{correlation},{user},{action},{outcome},{took:.2}")?;
        }
        out.flush()
    };
    write().with_context(|| format!("write {}", file.display()))
}
