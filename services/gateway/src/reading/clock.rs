//! When an event happened, although the client's clock may be wrong.

use jiff::Timestamp;

/// Microseconds since 1970 of an RFC 3339 time.
pub(super) fn parse(text: &str) -> Option<i64> {
    Some(text.trim().parse::<Timestamp>().ok()?.as_microsecond())
}

/// `original` as it stands, unless the clock certainly runs ahead: then the age that the client
/// gave it (`sent − original`) before its reception.
///
/// Not for clocks that may be late: some SDKs freeze `sentAt` at the first try, so that after
/// a retry the correction would be wrong by the whole delay, and a late event would not be
/// told from a late clock.
pub(super) fn occurred(original: i64, sent: Option<i64>, received: i64) -> i64 {
    match sent {
        Some(sent) if original > received => {
            received.saturating_sub(sent.saturating_sub(original).max(0))
        }
        _ => original,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_runs_ahead_is_corrected() {
        assert_eq!(occurred(100, Some(110), 500), 100, "late event, or frozen sentAt");
        assert_eq!(occurred(1_000, Some(1_030), 500), 470, "ahead: 30 before the reception");
        assert_eq!(occurred(1_000, Some(900), 500), 500, "never after the reception");
        assert_eq!(occurred(1_000, None, 500), 1_000, "profile decides how far ahead is too far");
    }

    #[test]
    fn times_are_those_of_json_and_of_python() {
        let expected = parse("2026-01-02T03:04:05.678Z");
        assert_eq!(expected, Some(1_767_323_045_678_000));
        assert_eq!(parse("2026-01-02T03:04:05.678+00:00"), expected);
        assert_eq!(parse("2026-01-02T11:04:05.678+08:00"), expected);
        assert_eq!(parse("2026-01-02 later"), None);
    }
}
