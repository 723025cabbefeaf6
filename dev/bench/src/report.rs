//! What was measured: a table for people, and JSON for programs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::load::Seen;

/// A scenario's figures, in the order in which they were added.
pub(crate) struct Report {
    name: &'static str,
    settings: Value,
    rows: Vec<Row>,
}

struct Row {
    what: String,
    shown: String,
    value: Value,
}

/// Several measurements of the same thing.
pub(crate) struct Spread {
    sorted: Vec<f64>,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { sorted: values }
    }

    pub(crate) fn median(&self) -> f64 {
        let middle = self.sorted.len() / 2;
        let at = |index: usize| self.sorted.get(index).copied().unwrap_or(f64::NAN);
        if self.sorted.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        }
    }

    fn ends(&self) -> (f64, f64) {
        let [lowest, highest] =
            [self.sorted.first(), self.sorted.last()].map(|end| end.copied().unwrap_or(f64::NAN));
        (lowest, highest)
    }
}

impl Report {
    pub(crate) fn new(name: &'static str, settings: Value) -> Self {
        Self { name, settings, rows: Vec::new() }
    }

    /// One number.
    pub(crate) fn figure(&mut self, what: impl Into<String>, unit: &str, value: f64) {
        self.row(what, format!("{} {unit}", short(value)), json!({"value": value, "unit": unit}));
    }

    /// A number that was measured several times: its median, and the lowest and the highest.
    pub(crate) fn spread(&mut self, what: impl Into<String>, unit: &str, spread: &Spread) {
        let (median, (lowest, highest)) = (spread.median(), spread.ends());
        let shown = format!("{} {unit} ({} to {})", short(median), short(lowest), short(highest));
        self.row(what, shown, json!({"median": median, "all": spread.sorted, "unit": unit}));
    }

    /// How long requests took.
    pub(crate) fn latency(&mut self, what: impl Into<String>, seen: &Seen) {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| seen.quantile(share));
        let failed = if seen.failed == 0 { String::new() } else { format!(", {} FAILED", seen.failed) };
        let shown = format!("p50 {} ms, p99 {} ms, p99.9 {} ms{failed}", short(p50), short(p99), short(p999));
        let value = json!({"p50_ms": p50, "p99_ms": p99, "p999_ms": p999, "count": seen.times.len(), "failed": seen.failed});
        self.row(what, shown, value);
    }

    /// Anything else.
    pub(crate) fn row(&mut self, what: impl Into<String>, shown: String, value: Value) {
        self.rows.push(Row { what: what.into(), shown: shown.trim_end().to_owned(), value });
    }

    /// Prints the table and writes the JSON.
    pub(crate) fn finish(&self, directory: &Path) -> Result<()> {
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or_default();
        println!("\n{} {}", self.name, self.settings);
        for Row { what, shown, .. } in &self.rows {
            println!("{what:<width$}  {shown}");
        }
        let rows: Vec<Value> =
            self.rows.iter().map(|row| json!({"what": row.what, "measured": row.value})).collect();
        let file = directory.join(format!("{}.json", self.name));
        let all = json!({"scenario": self.name, "settings": self.settings, "figures": rows});
        fs::write(&file, format!("{all:#}\n")).with_context(|| format!("write {}", file.display()))?;
        println!("\nalso in {}", file.display());
        Ok(())
    }
}

/// Three digits that matter, at least.
fn short(value: f64) -> String {
    let digits = if value.abs() < 10.0 {
        2
    } else if value.abs() < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_the_middle_two() {
        assert!((Spread::of(vec![3.0, 1.0, 2.0]).median() - 2.0).abs() < f64::EPSILON);
        assert!((Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median() - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn figures_are_shown_with_the_digits_that_matter() {
        assert_eq!([0.123, 12.34, 1234.5].map(short), ["0.12", "12.3", "1234"]);
    }
}
