//! What was measured: a figure, the floor that it is held against, and what it should reach.
//!
//! Invariant: the value of a figure is the median of its runs, and a ratio is one of medians.

use serde_json::{Value, json};

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    Millis,
    Micros,
    Seconds,
    Bytes,
    Mebibytes,
    Percent,
    Count,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "/s",
            Self::Millis => " ms",
            Self::Micros => " µs",
            Self::Seconds => " s",
            Self::Bytes => " B",
            Self::Mebibytes => " MiB",
            Self::Percent => " %",
            Self::Count => "",
        }
    }
}

/// What a figure should reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reach {
    AtLeast(f64),
    AtMost(f64),
    /// So many times the floor.
    RatioAtLeast(f64),
    RatioAtMost(f64),
}

/// One figure.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    scenario: &'static str,
    what: String,
    unit: Unit,
    runs: Vec<f64>,
    floor: Option<(String, Vec<f64>)>,
    reach: Vec<Reach>,
}

impl Figure {
    pub(crate) fn new(scenario: &'static str, what: impl Into<String>, unit: Unit, runs: Vec<f64>) -> Self {
        Self { scenario, what: what.into(), unit, runs, floor: None, reach: Vec::new() }
    }

    /// The floor measured in the same runs.
    #[must_use]
    pub(crate) fn over(mut self, floor: impl Into<String>, runs: Vec<f64>) -> Self {
        self.floor = Some((floor.into(), runs));
        self
    }

    /// What it should reach.
    #[must_use]
    pub(crate) fn reach(mut self, reach: Reach) -> Self {
        self.reach.push(reach);
        self
    }

    /// The median.
    pub(crate) fn value(&self) -> f64 {
        median(&self.runs)
    }

    /// How many times the floor it is.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let floor = median(&self.floor.as_ref()?.1);
        (floor > 0.0).then(|| self.value() / floor)
    }

    /// Whether it reaches what it should; `None` when nothing is asked of it.
    pub(crate) fn is_reached(&self) -> Option<bool> {
        let holds = |reach: &Reach| match *reach {
            Reach::AtLeast(least) => self.value() >= least,
            Reach::AtMost(most) => self.value() <= most,
            Reach::RatioAtLeast(least) => self.ratio().is_some_and(|ratio| ratio >= least),
            Reach::RatioAtMost(most) => self.ratio().is_some_and(|ratio| ratio <= most),
        };
        (!self.reach.is_empty()).then(|| self.reach.iter().all(holds))
    }

    /// As JSON.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "scenario": self.scenario, "figure": self.what, "unit": self.unit.name().trim(),
            "value": self.value(), "runs": self.runs,
            "floor": self.floor.as_ref().map(|(name, runs)| json!({"name": name, "value": median(runs), "runs": runs})),
            "ratio": self.ratio(), "reach": self.reach_text(), "reached": self.is_reached(),
        })
    }

    fn reach_text(&self) -> String {
        let one = |reach: &Reach| match *reach {
            Reach::AtLeast(least) => format!("≥ {}", shown(least, self.unit)),
            Reach::AtMost(most) => format!("≤ {}", shown(most, self.unit)),
            Reach::RatioAtLeast(least) => format!("≥ {least}×"),
            Reach::RatioAtMost(most) => format!("≤ {most}×"),
        };
        self.reach.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn cells(&self) -> [String; 7] {
        let floor = self.floor.as_ref();
        [
            self.scenario.to_owned(),
            self.what.clone(),
            shown(self.value(), self.unit),
            floor
                .map(|(name, runs)| format!("{} ({name})", shown(median(runs), self.unit)))
                .unwrap_or_default(),
            self.ratio().map(|ratio| format!("{ratio:.2}×")).unwrap_or_default(),
            self.reach_text(),
            self.is_reached()
                .map(|reached| if reached { "yes" } else { "NO" }.to_owned())
                .unwrap_or_default(),
        ]
    }
}

/// The figures as a Markdown table.
pub(crate) fn table(figures: &[Figure]) -> String {
    let head = ["scenario", "figure", "dogwatch", "floor", "ratio", "reach", "reached"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(figures.iter().map(Figure::cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("-|-");
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.insert(1, format!("|-{rule}-|"));
    lines.join("\n")
}

fn shown(value: f64, unit: Unit) -> String {
    let number = match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1000.0 => thousands(value.round() as i64),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    };
    number + unit.name()
}

fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let grouped: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", grouped.join(","))
}

/// The middle value; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_held_against_its_floor_and_what_it_should_reach() {
        let figure = |runs: &[f64]| {
            Figure::new("submit", "rate", Unit::PerSecond, runs.to_vec())
                .over("bare", vec![20_000.0, 30_000.0, 10_000.0])
                .reach(Reach::RatioAtLeast(0.4))
                .reach(Reach::AtLeast(10_000.0))
        };
        let good = figure(&[9_000.0, 14_000.0, 12_000.0]);
        assert_eq!((good.value(), good.ratio(), good.is_reached()), (12_000.0, Some(0.6), Some(true)));
        assert_eq!(figure(&[9_000.0]).is_reached(), Some(false));
        assert_eq!(Figure::new("x", "y", Unit::Count, vec![]).is_reached(), None);
        let table = table(&[good]);
        assert!(
            table.contains("12,000/s") && table.contains("20,000/s (bare)") && table.contains("0.60×"),
            "{table}"
        );
        assert!(
            table.lines().all(|line| line.chars().count() == table.lines().next().unwrap().chars().count())
        );
    }

    #[test]
    fn medians() {
        assert_eq!((median(&[]), median(&[3.0]), median(&[4.0, 1.0, 2.0, 3.0])), (0.0, 3.0, 2.5));
    }
}
