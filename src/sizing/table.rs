//! What the calculator says, as rows of figures: for people as a table, for machines as JSON. Each figure
//! knows whether it is exact or was measured somewhere once.

use std::fmt::{self, Display, Formatter};
use std::ops::Add;
use std::time::Duration;

use bytesize::ByteSize;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// Bits a second, as networks are sold.
    BitsPerSecond,
    /// Things.
    Count,
    /// Things a second.
    PerSecond,
    /// Cores that are busy.
    Cores,
    /// Seconds.
    Seconds,
}

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Amount {
    /// How many.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
    /// Whether it follows from the load and the configuration alone. If not, something in it was measured, on
    /// another machine than the reader's.
    pub exact: bool,
}

impl Amount {
    /// So many, exactly.
    pub(super) fn exact(value: f64, unit: Unit) -> Self {
        Self { value, unit, exact: true }
    }

    /// About so many.
    pub(super) fn about(value: f64, unit: Unit) -> Self {
        Self { value, unit, exact: false }
    }

    /// Exactly so many bytes.
    pub(super) fn bytes(value: f64) -> Self {
        Self::exact(value, Unit::Bytes)
    }

    /// About so many bytes.
    pub(super) fn about_bytes(value: f64) -> Self {
        Self::about(value, Unit::Bytes)
    }

    /// Exactly so many things.
    pub(super) fn count(value: f64) -> Self {
        Self::exact(value, Unit::Count)
    }

    /// So many times as much.
    pub(super) fn times(self, factor: f64) -> Self {
        Self { value: self.value * factor, ..self }
    }

    /// The larger one.
    pub(super) fn larger(self, other: Self) -> Self {
        if other.value > self.value { other } else { self }
    }
}

impl Add for Amount {
    type Output = Self;

    /// A sum is exact if all of it is.
    fn add(self, other: Self) -> Self {
        debug_assert_eq!(self.unit, other.unit);
        Self { value: self.value + other.value, exact: self.exact && other.exact, ..self }
    }
}

impl Display for Amount {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = match self.unit {
            Unit::Bytes => bytes(self.value),
            Unit::BytesPerSecond => format!("{}/s", bytes(self.value)),
            Unit::BitsPerSecond => bits(self.value),
            Unit::Count => grouped(self.value),
            Unit::PerSecond => format!("{}/s", number(self.value)),
            Unit::Cores => format!("{} cores", number(self.value)),
            Unit::Seconds => seconds(self.value),
        };
        // What is less than something is about that already.
        let is_marked = !self.exact && !text.starts_with('<');
        f.write_str(if is_marked { "~" } else { "" })?;
        f.write_str(&text)
    }
}

fn bytes(value: f64) -> String {
    ByteSize(value.round() as u64).display().iec().to_string()
}

/// Decimal, as everywhere in networks.
fn bits(value: f64) -> String {
    let steps = [(1e12, "Tbit/s"), (1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")];
    let step = steps.into_iter().find(|(size, _)| value >= *size);
    let (size, unit) = step.unwrap_or((1.0, "bit/s"));
    format!("{} {unit}", number(value / size))
}

/// In words where it is long.
fn seconds(value: f64) -> String {
    match value {
        100.0.. => humantime::format_duration(Duration::from_secs(value as u64)).to_string(),
        _ => format!("{} s", number(value)),
    }
}

/// Three significant digits where they say something.
fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        100.0.. => grouped(value),
        10.0.. => format!("{value:.1}"),
        0.1.. => format!("{value:.2}"),
        0.0001.. => format!("{value:.4}"),
        _ => "<0.0001".to_owned(),
    }
}

/// A whole number with its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A row.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name for machines, which stays.
    pub id: &'static str,
    /// Its name for people.
    pub what: String,
    /// What this load is expected to take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Amount>,
    /// The most that the configuration allows, whatever clients do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Amount>,
    /// The keys that bound it, or what says where it comes from.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub bounded_by: &'static str,
}

impl Row {
    pub(super) fn new(id: &'static str, what: impl Into<String>) -> Self {
        Self { id, what: what.into(), expected: None, at_most: None, bounded_by: "" }
    }

    pub(super) fn expected(self, amount: Amount) -> Self {
        Self { expected: Some(amount), ..self }
    }

    pub(super) fn at_most(self, amount: Amount) -> Self {
        Self { at_most: Some(amount), ..self }
    }

    pub(super) fn by(self, keys: &'static str) -> Self {
        Self { bounded_by: keys, ..self }
    }
}

/// Rows that belong together.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name for machines.
    pub id: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// In the order of the calculation.
    pub rows: Vec<Row>,
}

impl Section {
    /// The row of this name.
    ///
    /// # Panics
    /// There is none: names are constants of this module and its tests.
    pub fn row(&self, id: &str) -> &Row {
        let row = self.rows.iter().find(|row| row.id == id);
        row.unwrap_or_else(|| panic!("{} has no row {id}", self.id))
    }
}

/// By name: `{"total": {"what": …}}`.
impl Serialize for Section {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_struct(self.id, self.rows.len())?;
        for row in &self.rows {
            rows.serialize_field(row.id, row)?;
        }
        rows.end()
    }
}

impl Display for Section {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let cell = |amount: Option<Amount>| amount.map_or(String::new(), |some| some.to_string());
        let cells = |row: &Row| [cell(row.expected), cell(row.at_most)];
        let what = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        let wide = what.max(self.title.len());
        let widest = |column: usize, title: &str| {
            let cells = self.rows.iter().map(|row| cells(row)[column].chars().count());
            cells.chain([title.len()]).max().unwrap_or(0)
        };
        let (expected, at_most) = (widest(0, "expected"), widest(1, "at most"));
        let mut line = |what: &str, [left, right]: [&str; 2], keys: &str| {
            let line = format!("{what:wide$}  {left:>expected$}  {right:>at_most$}  {keys}");
            writeln!(f, "{}", line.trim_end())
        };
        line(self.title, ["expected", "at most"], "bounded by")?;
        for row in &self.rows {
            let [left, right] = cells(row);
            line(&row.what, [&left, &right], row.bounded_by)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! How figures read.

    use super::*;

    #[test]
    fn figures_have_three_digits_their_unit_and_a_mark_where_they_were_measured() {
        for (amount, text) in [
            (Amount::bytes(118.0), "118 B"),
            (Amount::about_bytes(1_572_864.0), "~1.5 MiB"),
            (Amount::count(1_048_320.0), "1,048,320"),
            (Amount::exact(0.25, Unit::PerSecond), "0.25/s"),
            (Amount::exact(12_345.0, Unit::PerSecond), "12,345/s"),
            (Amount::about(0.0012, Unit::Cores), "~0.0012 cores"),
            (Amount::about(1e-6, Unit::Cores), "<0.0001 cores"),
            (Amount::exact(2_560_000.0, Unit::BitsPerSecond), "2.56 Mbit/s"),
            (Amount::exact(900.0, Unit::BitsPerSecond), "900 bit/s"),
            (Amount::exact(0.0, Unit::Seconds), "0 s"),
            (Amount::exact(93_784.5, Unit::Seconds), "1day 2h 3m 4s"),
        ] {
            assert_eq!(amount.to_string(), text);
        }
    }

    #[test]
    fn a_sum_is_exact_if_all_of_it_is() {
        let exact = Amount::bytes(1.0) + Amount::bytes(2.0);
        assert!(exact.exact && exact.value == 3.0);
        assert!(!(exact + Amount::about_bytes(1.0)).exact);
    }
}
