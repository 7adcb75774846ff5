//! Times and days by explicit formats (strftime) and an explicit zone. Without a format: ISO
//! 8601 and RFC 3339. A time that a change of the clocks skips or doubles is the one that
//! jiff calls compatible (RFC 5545): the later, or the first.

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::half_width;

/// How times of a column are written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    /// Tried in order; ISO 8601 if there are none.
    pub(crate) formats: Vec<Format>,
    /// Of times that carry none.
    pub(crate) zone: TimeZone,
}

/// One way to write a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// ISO 8601 and RFC 3339.
    Iso,
    /// Seconds since 1970.
    Unix,
    /// Milliseconds since 1970.
    UnixMillis,
    /// Days since 1899-12-30, as sheets count.
    Excel,
    /// strftime.
    Pattern(String),
}

impl Format {
    /// By its name in a mapping; anything with a `%` is a pattern.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        match name {
            "iso" => Ok(Self::Iso),
            "unix" => Ok(Self::Unix),
            "unix_ms" => Ok(Self::UnixMillis),
            "excel" => Ok(Self::Excel),
            pattern if pattern.contains('%') => Self::checked(pattern),
            other => Err(format!(
                "`{other}` is no format of a time: iso, unix, unix_ms, excel, or one such as \
                 \"%d/%m/%Y %H:%M\""
            )),
        }
    }

    /// A pattern must be able to say a time: tried by writing one.
    fn checked(pattern: &str) -> Result<Self, String> {
        let sample = Date::constant(2026, 12, 31).at(13, 14, 15, 0).to_zoned(TimeZone::UTC);
        let sample = sample.map_err(|error| error.to_string())?;
        let written = BrokenDownTime::from(&sample).to_string(pattern);
        let reads = written.and_then(|text| BrokenDownTime::parse(pattern, text));
        match reads {
            Ok(read) if read.to_date().is_ok() || read.to_timestamp().is_ok() => {
                Ok(Self::Pattern(pattern.to_owned()))
            }
            Ok(_) => Err(format!("`{pattern}` does not say year, month and day")),
            Err(error) => Err(format!("`{pattern}`: {error}")),
        }
    }

    /// As a mapping writes it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Iso => "iso",
            Self::Unix => "unix",
            Self::UnixMillis => "unix_ms",
            Self::Excel => "excel",
            Self::Pattern(pattern) => pattern,
        }
    }
}

impl Reading {
    /// Nothing was said about the format.
    pub(crate) const fn has_no_format(&self) -> bool {
        self.formats.is_empty()
    }

    fn formats(&self) -> &[Format] {
        if self.formats.is_empty() { &[Format::Iso] } else { &self.formats }
    }

    fn expected(&self) -> String {
        let names: Vec<&str> = self.formats().iter().map(Format::name).collect();
        format!("must be a time as {}", names.join(" or "))
    }
}

/// What a text says: an instant, or a time on the wall.
enum Said {
    Instant(Timestamp),
    Wall(DateTime),
}

pub(super) fn instant(text: &str, reading: &Reading) -> Result<Timestamp, String> {
    match said(text, reading)? {
        Said::Instant(instant) => Ok(instant),
        Said::Wall(time) => in_zone(time, &reading.zone),
    }
}

pub(super) fn day(text: &str, reading: &Reading) -> Result<Date, String> {
    Ok(match said(text, reading)? {
        Said::Instant(instant) => instant.to_zoned(reading.zone.clone()).date(),
        Said::Wall(time) => time.date(),
    })
}

fn said(text: &str, reading: &Reading) -> Result<Said, String> {
    let text = half_width(text);
    let found = reading.formats().iter().find_map(|format| read(text.trim(), format));
    found.ok_or_else(|| reading.expected())
}

fn read(text: &str, format: &Format) -> Option<Said> {
    match format {
        Format::Iso => iso(text),
        Format::Unix => Timestamp::from_second(text.parse().ok()?).ok().map(Said::Instant),
        Format::UnixMillis => {
            Timestamp::from_millisecond(text.parse().ok()?).ok().map(Said::Instant)
        }
        Format::Excel => serial(text.parse().ok()?).map(Said::Wall),
        Format::Pattern(pattern) => {
            let parsed = BrokenDownTime::parse(pattern, text).ok()?;
            if parsed.offset().is_some()
                && let Ok(instant) = parsed.to_timestamp()
            {
                return Some(Said::Instant(instant));
            }
            let date = parsed.to_date().ok()?;
            let time = parsed.to_time().unwrap_or(Time::midnight());
            Some(Said::Wall(date.to_datetime(time)))
        }
    }
}

fn iso(text: &str) -> Option<Said> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(Said::Instant(instant));
    }
    text.parse::<DateTime>().ok().map(Said::Wall)
}

/// A time on the wall of a zone.
///
/// # Errors
/// When it lies outside of the years that can be told.
pub(super) fn in_zone(time: DateTime, zone: &TimeZone) -> Result<Timestamp, String> {
    zone.to_ambiguous_zoned(time)
        .compatible()
        .map(|zoned| zoned.timestamp())
        .map_err(|_| "is outside of the years that can be told".to_owned())
}

/// The beginning of a day.
pub(crate) fn midnight(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    in_zone(date.to_datetime(Time::midnight()), zone).ok()
}

/// A number without any format: seconds or milliseconds by its size.
pub(super) fn of_number(number: f64, zone: &TimeZone) -> Result<Timestamp, String> {
    if (1.0..200_000.0).contains(&number) {
        // A sheet's day that has lost its format.
        let time = serial(number).ok_or_else(|| "must be a time".to_owned())?;
        return in_zone(time, zone);
    }
    let millis = if number.abs() < 1e11 { number * 1e3 } else { number };
    let wrong = || "must be a time: seconds or milliseconds since 1970".to_owned();
    if millis.abs() > 2.5e14 {
        return Err(wrong());
    }
    Timestamp::from_millisecond(millis as i64).map_err(|_| wrong()) // within range, see above
}

fn serial(days: f64) -> Option<DateTime> {
    if !(0.0..2_958_466.0).contains(&days) {
        return None;
    }
    let millis = (days * 86_400_000.0).round() as i64; // within range, see above
    let first = Date::constant(1899, 12, 30).to_datetime(Time::midnight());
    first.checked_add(SignedDuration::from_millis(millis)).ok()
}

/// Whether a text can be read in a format, as a time that people would write: `16` is no year.
pub(crate) fn fits(text: &str, format: &Format) -> bool {
    let year = match read(half_width(text).trim(), format) {
        Some(Said::Instant(instant)) => instant.to_zoned(TimeZone::UTC).year(),
        Some(Said::Wall(time)) => time.year(),
        None => return false,
    };
    (1900..=2100).contains(&year)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(formats: &[&str], zone: &str) -> Reading {
        let formats = formats.iter().map(|name| Format::named(name).expect("a format"));
        Reading { formats: formats.collect(), zone: super::super::zone(zone).expect("a zone") }
    }

    fn at(text: &str, formats: &[&str], zone: &str) -> Result<String, String> {
        instant(text, &reading(formats, zone)).map(|instant| instant.to_string())
    }

    #[test]
    fn times_are_read_by_format_and_zone() {
        let shanghai = "Asia/Shanghai";
        for (text, formats, zone, expected) in [
            ("2026-01-31T08:00:00Z", &[][..], shanghai, "2026-01-31T08:00:00Z"),
            ("2026-01-31 08:00:00", &[], shanghai, "2026-01-31T00:00:00Z"),
            ("2026-01-31", &[], "UTC", "2026-01-31T00:00:00Z"),
            ("31/1/2026 8:05", &["%d/%m/%Y %H:%M"], "UTC", "2026-01-31T08:05:00Z"),
            ("20-10-16", &["%d-%m-%y"], "UTC", "2016-10-20T00:00:00Z"),
            ("2026年4月5日 9:07", &["%Y年%m月%d日 %H:%M"], shanghai, "2026-04-05T01:07:00Z"),
            ("2026/4/5", &["%Y-%m-%d", "%Y/%m/%d"], "UTC", "2026-04-05T00:00:00Z"),
            ("01/31/2026 02:30 PM", &["%m/%d/%Y %I:%M %p"], "UTC", "2026-01-31T14:30:00Z"),
            ("1767225600", &["unix"], "UTC", "2026-01-01T00:00:00Z"),
            ("46023.5", &["excel"], "UTC", "2026-01-01T12:00:00Z"),
            ("2026-01-31 08:00 +0200", &["%Y-%m-%d %H:%M %z"], "UTC", "2026-01-31T06:00:00Z"),
        ] {
            assert_eq!(at(text, formats, zone).as_deref(), Ok(expected), "{text}");
        }
        // Clocks of Berlin skip 02:30 on that day.
        let skipped = at("2026-03-29 02:30:00", &[], "Europe/Berlin");
        assert_eq!(skipped.as_deref(), Ok("2026-03-29T01:30:00Z"));
        for text in ["", "31/13/2026 8:05", "32/1/2026 8:05", "2026-01-31", "31/1/2026 8:05 x"] {
            assert!(at(text, &["%d/%m/%Y %H:%M"], "UTC").is_err(), "{text}");
        }
    }

    #[test]
    fn a_format_that_says_no_day_is_refused() {
        assert!(Format::named("%H:%M").is_err());
        assert!(Format::named("%Q").is_err());
        assert!(Format::named("dd/mm/yyyy").is_err());
    }
}
