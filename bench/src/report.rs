//! What was measured, as a table for people and as JSON for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::meter;

/// The values of one quantity, one for each round.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Samples {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) values: Vec<f64>,
}

impl From<Vec<f64>> for Samples {
    fn from(values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "a quantity that was not measured");
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Self { median, least: sorted[0], most: sorted[sorted.len() - 1], values }
    }
}

/// What a quantity must reach.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// Our value, at least.
    AtLeast(f64),
    /// Our value, at most.
    AtMost(f64),
    /// Our value divided by the other's, at least.
    RatioAtLeast(f64),
    /// Our value divided by the other's, at most.
    RatioAtMost(f64),
    /// Nothing: it is there to be compared from run to run.
    None,
}

/// The other system's values.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Other {
    pub(crate) name: String,
    pub(crate) samples: Samples,
}

/// One row of the report.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) figure: &'static str,
    pub(crate) quantity: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: Samples,
    pub(crate) other: Option<Other>,
    pub(crate) target: Target,
}

impl Row {
    /// A quantity that is ours alone.
    pub(crate) fn alone(
        figure: &'static str,
        quantity: impl Into<String>,
        unit: &'static str,
        ours: Vec<f64>,
        target: Target,
    ) -> Self {
        Self { figure, quantity: quantity.into(), unit, ours: ours.into(), other: None, target }
    }

    /// The same quantity of another system beside ours.
    #[must_use]
    pub(crate) fn beside(mut self, name: impl Into<String>, values: Vec<f64>) -> Self {
        self.other = Some(Other { name: name.into(), samples: values.into() });
        self
    }

    /// Ours divided by the other's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.other.as_ref().map(|other| self.ours.median / other.samples.median)
    }

    /// Whether the target is reached. `None` without a target.
    pub(crate) fn reached(&self) -> Option<bool> {
        let ratio = self.ratio();
        match self.target {
            Target::AtLeast(least) => Some(self.ours.median >= least),
            Target::AtMost(most) => Some(self.ours.median <= most),
            Target::RatioAtLeast(least) => ratio.map(|ratio| ratio >= least),
            Target::RatioAtMost(most) => ratio.map(|ratio| ratio <= most),
            Target::None => None,
        }
    }

    fn target_text(&self) -> String {
        match self.target {
            Target::AtLeast(least) => format!("≥ {}", number(least)),
            Target::AtMost(most) => format!("≤ {}", number(most)),
            Target::RatioAtLeast(least) => format!("≥ {} times", number(least)),
            Target::RatioAtMost(most) => format!("≤ {most:.3} times"),
            Target::None => "–".to_owned(),
        }
    }
}

/// How a figure was taken.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Method {
    pub(crate) figure: &'static str,
    pub(crate) text: String,
}

/// The report of a whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) kind: &'static str,
    pub(crate) rounds: u32,
    pub(crate) machine: String,
    pub(crate) versions: Vec<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) methods: Vec<Method>,
}

impl Report {
    pub(crate) fn new(kind: &'static str, rounds: u32) -> Self {
        Self {
            kind,
            rounds,
            machine: meter::machine(),
            versions: versions(),
            rows: Vec::new(),
            methods: Vec::new(),
        }
    }

    /// Writes `RESULTS.md` and `results.json` into a directory. The analysis is what people wrote about the
    /// figures; it goes below the table.
    pub(crate) fn write(&self, dir: &Path, analysis: &str) -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        std::fs::write(dir.join("RESULTS.md"), self.markdown(analysis))?;
        let json = serde_json::to_string_pretty(&self.json()).map_err(std::io::Error::other)?;
        std::fs::write(dir.join("results.json"), json + "\n")
    }

    fn json(&self) -> serde_json::Value {
        let mut json = serde_json::to_value(self).expect("numbers and texts");
        for (row, value) in self.rows.iter().zip(json["rows"].as_array_mut().into_iter().flatten()) {
            value["ratio"] = row.ratio().into();
            value["reached"] = row.reached().into();
        }
        json
    }

    fn markdown(&self, analysis: &str) -> String {
        let mut text = String::from("# Results of the bench\n\n");
        let _ = writeln!(
            text,
            "Written by `cargo xtask bench`: do not edit. {} run; {} rounds, the systems in turn.",
            self.kind, self.rounds
        );
        let _ = writeln!(
            text,
            "Values are medians; least and most in brackets. Absolute figures drift with the machine: compare ratios.\n"
        );
        let _ = writeln!(text, "- Machine: {}", self.machine);
        for version in &self.versions {
            let _ = writeln!(text, "- {version}");
        }
        text.push_str("\n| figure | quantity | Postern | the other | ratio | must reach | reached |\n|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let _ = writeln!(text, "{}", table_line(row));
        }
        text.push_str("\n## How each was measured\n\n");
        for method in &self.methods {
            let _ = writeln!(text, "- **{}**: {}", method.figure, method.text);
        }
        text.push('\n');
        text.push_str(analysis);
        text
    }
}

fn table_line(row: &Row) -> String {
    let other = row.other.as_ref();
    let other =
        other.map_or("–".to_owned(), |other| format!("{} ({})", spread(&other.samples), other.name));
    let reached = match row.reached() {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "–",
    };
    format!(
        "| {} | {}, {} | {} | {other} | {} | {} | {reached} |",
        row.figure,
        row.quantity,
        row.unit,
        spread(&row.ours),
        row.ratio().map_or("–".to_owned(), |ratio| if ratio < 0.3 {
            format!("{ratio:.3}")
        } else {
            format!("{ratio:.2}")
        }),
        row.target_text(),
    )
}

/// The row as one line on the terminal.
pub(crate) fn terminal_line(row: &Row) -> String {
    table_line(row).trim_matches(['|', ' ']).to_owned()
}

fn spread(samples: &Samples) -> String {
    match samples.values.len() {
        1 => number(samples.median),
        _ => format!("{} [{}–{}]", number(samples.median), number(samples.least), number(samples.most)),
    }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Names and versions of the programs that took part.
fn versions() -> Vec<String> {
    let postern = first_line(&testkit::binary::postern().display().to_string(), &["--version"]);
    let packages = ["postfix", "opendkim", "postfix-policyd-spf-python", "dovecot-lmtpd", "python3-dkim"];
    let debian: Vec<String> = packages
        .iter()
        .map(|package| {
            let version = first_line("dpkg-query", &["--show", "--showformat=${Version}", package]);
            format!("{package} {version}")
        })
        .collect();
    vec![format!("Postern: {postern}, built with --release"), format!("Debian: {}", debian.join(", "))]
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or("not installed").to_owned()
}
