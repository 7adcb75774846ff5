//! When somebody works: weekly intervals of local wall time in a zone.
//!
//! An instant is judged by the wall clock it shows: a repeated hour counts twice, a skipped one
//! not at all. Holidays and exceptions belong to calendars, which are not here.

use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};
use kernel::Violations;
use serde::{Deserialize, Serialize};

const MINUTES_PER_DAY: u16 = 24 * 60;
const MAX_INTERVALS: usize = 100;
/// No gap between two openings of a weekly pattern is longer, whatever the clocks do.
const DAYS_AHEAD: i32 = 15;

/// A part of every week, `[start, end)` in minutes of the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// 1 = Monday … 7 = Sunday.
    pub(crate) weekdays: Vec<i8>,
    pub(crate) start: u16,
    /// 1440 is the end of the day.
    pub(crate) end: u16,
}

/// Zone and intervals; no intervals means always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkingHours {
    pub(crate) time_zone: String,
    pub(crate) intervals: Vec<Interval>,
}

/// Reads `HH:MM`; `24:00` is the end of the day.
pub(crate) fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| {
        let two = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if two { digits.parse::<u16>().ok() } else { None }
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= MINUTES_PER_DAY).then_some(minute)
}

/// The inverse of [`minute_of_day`].
pub(crate) fn hours_and_minutes(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

impl WorkingHours {
    /// Everything that is wrong with them.
    pub(crate) fn violations(&self) -> Violations {
        let mut violations = Violations::new();
        let needs_zone = !self.intervals.is_empty() || !self.time_zone.is_empty();
        if needs_zone && TimeZone::get(&self.time_zone).is_err() {
            violations.add("time_zone", "must be an IANA zone such as Asia/Shanghai");
        }
        if self.intervals.len() > MAX_INTERVALS {
            violations.add("intervals", format!("must be at most {MAX_INTERVALS}"));
        }
        for (position, interval) in self.intervals.iter().enumerate() {
            violations.add_below(&format!("intervals[{position}]"), interval.violations());
        }
        violations
    }
}

impl Interval {
    fn violations(&self) -> Violations {
        let mut violations = Violations::new();
        if self.weekdays.is_empty() || self.weekdays.iter().any(|day| !(1..=7).contains(day)) {
            violations.add("weekdays", "must be at least one of 1 (Monday) to 7 (Sunday)");
        }
        if self.start >= self.end {
            violations.add("end", "must be after start; an interval over midnight is two");
        }
        violations
    }
}

/// Working hours ready to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    zone: TimeZone,
    intervals: Vec<Interval>,
}

impl Calendar {
    /// None means always: no intervals, or a zone that the zone database no longer knows.
    pub(crate) fn of(hours: &WorkingHours) -> Option<Self> {
        if hours.intervals.is_empty() {
            return None;
        }
        let zone = TimeZone::get(&hours.time_zone).ok()?;
        Some(Self { zone, intervals: hours.intervals.clone() })
    }

    /// True if the wall clock shows a working time.
    pub(crate) fn is_open(&self, at: Timestamp) -> bool {
        let local = self.zone.to_datetime(at);
        let weekday = local.weekday().to_monday_one_offset();
        let minute = local.hour() as u16 * 60 + local.minute() as u16;
        self.intervals.iter().any(|interval| {
            interval.weekdays.contains(&weekday) && (interval.start..interval.end).contains(&minute)
        })
    }

    /// The first instant after `at` at which it opens; none if there is none within two weeks.
    /// O(days · intervals).
    pub(crate) fn next_opening(&self, at: Timestamp) -> Option<Timestamp> {
        let opens = |instant: &Timestamp| {
            *instant > at && self.is_open(*instant) && !self.is_open(*instant - 1.nanosecond())
        };
        // Clocks that are put forward or back may open in the middle of an interval.
        let horizon = at.checked_add((i64::from(DAYS_AHEAD) * 24).hours()).ok()?;
        let changes = self.zone.following(at).map(|change| change.timestamp());
        let by_change = changes.take_while(|change| *change < horizon).find(opens);
        let today = self.zone.to_datetime(at).date();
        for days in 0..=DAYS_AHEAD {
            let date = today.checked_add(days.days()).ok()?;
            let weekday = date.weekday().to_monday_one_offset();
            let starts = self.intervals.iter().filter(|it| it.weekdays.contains(&weekday));
            let instants = starts.flat_map(|it| self.instants(date, it.start));
            if let Some(first) = instants.filter(opens).min() {
                return Some(by_change.map_or(first, |change| change.min(first)));
            }
        }
        by_change
    }

    /// When the wall clock shows this minute: once, twice when it is put back, never when it
    /// is skipped.
    fn instants(&self, date: Date, minute: u16) -> Vec<Timestamp> {
        let wall = date.at((minute / 60) as i8, (minute % 60) as i8, 0, 0);
        let offsets = match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => vec![offset],
            AmbiguousOffset::Fold { before, after } => vec![before, after],
            AmbiguousOffset::Gap { .. } => Vec::new(),
        };
        offsets.into_iter().filter_map(|offset| offset.to_timestamp(wall).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hours(zone: &str, intervals: &[(&[i8], &str, &str)]) -> WorkingHours {
        let interval = |(days, start, end): &(&[i8], &str, &str)| Interval {
            weekdays: days.to_vec(),
            start: minute_of_day(start).expect("HH:MM"),
            end: minute_of_day(end).expect("HH:MM"),
        };
        WorkingHours {
            time_zone: zone.to_owned(),
            intervals: intervals.iter().map(interval).collect(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("RFC 3339")
    }

    #[test]
    fn a_lunch_break_is_closed_and_the_end_of_the_day_is_not_lost() {
        let hours = hours(
            "Asia/Shanghai",
            &[(&[1, 2, 3, 4, 5], "09:00", "12:00"), (&[1, 2, 3, 4, 5], "13:00", "24:00")],
        );
        assert!(hours.violations().is_empty());
        let calendar = Calendar::of(&hours).expect("hours");
        for (instant, open) in [
            ("2026-03-02T09:00:00+08:00", true),
            ("2026-03-02T08:59:59+08:00", false),
            ("2026-03-02T12:00:00+08:00", false),
            ("2026-03-02T23:59:59+08:00", true),
            ("2026-03-07T10:00:00+08:00", false),
        ] {
            assert_eq!(calendar.is_open(at(instant)), open, "{instant}");
        }
        let opening = calendar.next_opening(at("2026-03-06T23:59:59+08:00"));
        assert_eq!(opening, Some(at("2026-03-09T09:00:00+08:00")), "over the week-end");
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let mut wrong = hours("Mars/Olympus", &[(&[], "10:00", "09:00"), (&[8], "00:00", "24:00")]);
        wrong.intervals[0].weekdays.clear();
        let paths: Vec<String> =
            wrong.violations().iter().map(|violation| violation.field.clone()).collect();
        assert_eq!(
            paths,
            ["time_zone", "intervals[0].weekdays", "intervals[0].end", "intervals[1].weekdays"]
        );
        for bad in ["9:00", "24:01", "12:60", "ab:cd", "12", "+1:00", ""] {
            assert_eq!(minute_of_day(bad), None, "{bad}");
        }
        assert_eq!(hours_and_minutes(minute_of_day("24:00").expect("the end")), "24:00");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Around the change of clocks in both directions, against minute by minute.
        #[test]
        fn the_next_opening_is_the_first_open_minute(
            zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe"]),
            day in prop::sample::select(vec!["2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z", "2026-04-04T00:00:00Z", "2026-03-07T12:00:00Z", "2026-11-01T00:00:00Z"]),
            offset in 0..2_880_i64,
            start in 0..1_400_u16,
            length in 1..400_u16,
            weekdays in prop::collection::vec(1..8_i8, 1..4),
        ) {
            let end = (start + length).min(1_440);
            let hours = WorkingHours {
                time_zone: zone.to_owned(),
                intervals: vec![Interval { weekdays, start, end }],
            };
            let calendar = Calendar::of(&hours).expect("hours");
            let from = at(day) + offset.minutes();
            let opening = calendar.next_opening(from);
            let mut instant = from;
            let mut was_open = calendar.is_open(from);
            let mut first = None;
            for _ in 0..15 * 1_440 {
                instant += 1.minute();
                let open = calendar.is_open(instant);
                if open && !was_open {
                    first = Some(instant);
                    break;
                }
                was_open = open;
            }
            if calendar.is_open(from) {
                // While it is open nobody asks; the answer is some opening, never a closed minute.
                prop_assert!(opening.is_none_or(|opening| calendar.is_open(opening)));
            } else {
                prop_assert_eq!(opening, first);
            }
        }
    }
}
