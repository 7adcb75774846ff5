//! The data of the demonstration, as it lies in `tests/data` with its licences.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use serde::Deserialize;

/// Finds the data: the given directory, or `tests/data` below the working directory or the
/// checkout that this binary was built from.
///
/// # Errors
/// When it is in neither place; says what to do.
pub fn directory(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let here = Path::new("tests/data").to_owned();
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let candidates = match given {
        Some(directory) => vec![directory.to_owned()],
        None => vec![here, checkout],
    };
    for candidate in &candidates {
        if candidate.join("bank-marketing").is_dir() {
            return Ok(candidate.clone());
        }
    }
    bail!(
        "the data of the demonstration is not in {}: run it from the checkout, or name the \
         directory with --data",
        candidates[0].display()
    )
}

/// An event of the identifier stream.
#[derive(Debug, Deserialize)]
pub struct StreamEvent {
    /// Unique.
    pub event_id: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// `web`, `app`, `pos`, `call_center`, `wechat`, `email_click`.
    pub channel: String,
    /// As the channel saw them.
    pub identifiers: Vec<RawIdentifier>,
}

/// An identifier in the words of its channel.
#[derive(Debug, Deserialize)]
pub struct RawIdentifier {
    /// `cookie`, `device_id`, `email`, `phone`, `user_id`, `wechat_unionid`, `loyalty_card`.
    pub r#type: String,
    /// As received.
    pub value: String,
}

impl RawIdentifier {
    /// The namespace of Rapport for the channel's word.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self.r#type.as_str() {
            "cookie" => "anonymous_id",
            "loyalty_card" => "member_no",
            other => other,
        }
    }
}

/// The identifier stream and who truly acted.
#[derive(Debug)]
pub struct IdentifierStream {
    /// In order of arrival.
    pub events: Vec<StreamEvent>,
    /// The person of each event, in the same order.
    pub persons: Vec<String>,
}

/// Reads the identifier stream.
///
/// # Errors
/// When a file is missing or a line is not what it should be.
pub fn identifier_stream(data: &Path) -> anyhow::Result<IdentifierStream> {
    let file = data.join("identifier_stream/events.jsonl");
    let text = read(&file)?;
    let mut events = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let event: StreamEvent = serde_json::from_str(line)
            .with_context(|| format!("{}:{}", file.display(), number + 1))?;
        events.push(event);
    }
    let mut truth = std::collections::HashMap::new();
    let mut reader = csv::Reader::from_path(data.join("identifier_stream/truth.csv"))?;
    for row in reader.deserialize() {
        let (event, person): (String, String) = row?;
        truth.insert(event, person);
    }
    let person_of = |event: &StreamEvent| {
        truth
            .get(&event.event_id)
            .cloned()
            .with_context(|| format!("no truth for {}", event.event_id))
    };
    let persons = events.iter().map(person_of).collect::<anyhow::Result<_>>()?;
    Ok(IdentifierStream { events, persons })
}

/// A call of the bank's campaign: who was called, and whether a deposit followed.
#[derive(Debug, Clone)]
pub struct Call {
    /// The row in the file: the order in time.
    pub row: u32,
    /// When, as far as the file tells: its month and day, the time of day spread evenly.
    pub time: Timestamp,
    /// Attributes that are words.
    pub words: Vec<(&'static str, String)>,
    /// Attributes that are numbers.
    pub numbers: Vec<(&'static str, f64)>,
    /// What came of it.
    pub subscribed: bool,
}

/// A row of `bank-full.csv`. `duration` is left out: it is known only after the call.
#[derive(Debug, Deserialize)]
struct BankRow {
    row_id: u32,
    age: f64,
    job: String,
    marital: String,
    education: String,
    default: String,
    balance: f64,
    housing: String,
    loan: String,
    contact: String,
    day: i8,
    month: String,
    campaign: f64,
    pdays: f64,
    previous: f64,
    poutcome: String,
    y: String,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Reads the bank's calls in the order of the file, which is the order in time. The file
/// names month and day; the years follow from the months going round from May 2008.
///
/// # Errors
/// When the file is missing or a row is not what it should be.
pub fn bank_calls(data: &Path) -> anyhow::Result<Vec<Call>> {
    let mut reader = csv::Reader::from_path(data.join("bank-marketing/bank-full.csv"))?;
    let rows = reader.deserialize().collect::<Result<Vec<BankRow>, _>>()?;
    let mut year = 2008_i16;
    let mut previous_month = 5_i8;
    let mut dates = Vec::with_capacity(rows.len());
    for row in &rows {
        let month =
            MONTHS.iter().position(|name| *name == row.month).context("an unknown month")?;
        let month = month as i8 + 1;
        // A month that goes back by more than half a year is the next year.
        if previous_month - month > 6 {
            year += 1;
        }
        previous_month = month;
        dates.push(nearest_date(year, month, row.day)?);
    }
    let times = spread_over_days(&dates)?;
    Ok(rows.into_iter().zip(times).map(|(row, time)| call(row, time)).collect())
}

fn nearest_date(year: i16, month: i8, day: i8) -> anyhow::Result<Date> {
    let first = Date::new(year, month, 1)?;
    Ok(first.with().day(day.clamp(1, first.days_in_month())).build()?)
}

/// Calls of a day get even times between 08:00 and 20:00; a call is never before the
/// previous row.
fn spread_over_days(dates: &[Date]) -> anyhow::Result<Vec<Timestamp>> {
    let mut times: Vec<Timestamp> = Vec::with_capacity(dates.len());
    let mut begin = 0;
    while begin < dates.len() {
        let same = dates[begin..].iter().take_while(|date| **date == dates[begin]).count();
        let opening = dates[begin].at(8, 0, 0, 0).to_zoned(TimeZone::UTC)?.timestamp();
        for position in 0..same {
            let offset = (12 * 3_600 * position / same) as i64;
            let time = opening.checked_add(offset.seconds())?;
            let floor = times.last().copied().unwrap_or(time);
            times.push(time.max(floor));
        }
        begin += same;
    }
    Ok(times)
}

fn call(row: BankRow, time: Timestamp) -> Call {
    let words = vec![
        ("job", row.job),
        ("marital", row.marital),
        ("education", row.education),
        ("in_default", row.default),
        ("housing", row.housing),
        ("loan", row.loan),
        ("contact", row.contact),
        ("month", row.month),
        ("poutcome", row.poutcome),
    ];
    let numbers = vec![
        ("age", row.age),
        ("balance", row.balance),
        ("day", f64::from(row.day)),
        ("campaign", row.campaign),
        ("pdays", row.pdays),
        ("previous", row.previous),
    ];
    Call { row: row.row_id, time, words, numbers, subscribed: row.y == "yes" }
}

/// An invoice of the gift shop.
#[derive(Debug)]
pub struct Invoice {
    /// Its number.
    pub number: String,
    /// The customer's number.
    pub customer: String,
    /// The day.
    pub time: Timestamp,
    /// The total in pence, rounded.
    pub pence: i64,
}

/// Reads the invoices.
///
/// # Errors
/// When the file is missing or a row is not what it should be.
pub fn invoices(data: &Path) -> anyhow::Result<Vec<Invoice>> {
    let mut reader = csv::Reader::from_path(data.join("online-retail-invoices/invoices.csv"))?;
    let mut invoices = Vec::new();
    for row in reader.deserialize() {
        let (number, date, customer, total): (String, Date, String, f64) = row?;
        let time = date.at(12, 0, 0, 0).to_zoned(TimeZone::UTC)?.timestamp();
        let pence = (total * 100.0).round() as i64;
        invoices.push(Invoice { number, customer, time, pence });
    }
    Ok(invoices)
}

/// Every n-th of a list, evenly, so that at most `limit` remain.
#[must_use]
pub fn thin<T: Clone>(items: &[T], limit: usize) -> Vec<T> {
    if items.len() <= limit {
        return items.to_vec();
    }
    let pick = |position: usize| items[position * items.len() / limit].clone();
    (0..limit).map(pick).collect()
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_run_forward_from_may_2008_to_november_2010() {
        let calls = bank_calls(&directory(None).expect("data")).expect("calls");
        assert!(calls.windows(2).all(|pair| pair[0].time <= pair[1].time));
        assert!(calls[0].time.to_string().starts_with("2008-05-05"), "{}", calls[0].time);
        let last = calls[calls.len() - 1].time.to_string();
        assert!(last.starts_with("2010-11"), "{last}");
    }

    #[test]
    fn thinning_is_even() {
        let all: Vec<usize> = (0..1_000).collect();
        let some = thin(&all, 100);
        assert_eq!(some.len(), 100);
        assert!(some.windows(2).all(|pair| pair[1] - pair[0] == 10));
        assert_eq!(thin(&all, 5_000).len(), 1_000);
    }
}
