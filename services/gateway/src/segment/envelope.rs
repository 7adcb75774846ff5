//! The batch around the events. Events are only located here, so that one of them that is
//! broken in itself does not fail the others, and so that no more than a chunk of them is in
//! memory in parsed form.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::clock;

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    batch: Option<Vec<&'a RawValue>>,
    #[serde(rename = "writeKey", borrow, default)]
    write_key: Option<Cow<'a, str>>,
    #[serde(rename = "sentAt", default)]
    sent_at: Option<Json>,
}

#[derive(Deserialize)]
struct Keyed<'a> {
    #[serde(rename = "writeKey", borrow, default)]
    write_key: Option<Cow<'a, str>>,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// Where the events are in the text.
    pub(crate) events: Vec<Range<usize>>,
    /// The batch's key, or the first event's.
    pub(crate) write_key: Option<String>,
    /// When the client sent it, by the client's clock.
    pub(crate) sent_us: Option<i64>,
}

impl Envelope {
    /// Reads the envelope.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn read(text: &str, max_events: usize) -> Result<Self, String> {
        let wire: Wire<'_> = serde_json::from_str(text).map_err(|error| {
            // The parser's own words may quote the body.
            let (line, column) = (error.line(), error.column());
            format!(
                "the body is not a JSON object with an array `batch` (line {line} column {column})"
            )
        })?;
        let batch = wire.batch.ok_or("`batch` must be an array of events")?;
        if batch.len() > max_events {
            return Err(format!("`batch` has more than {max_events} events"));
        }
        let first = || {
            let event: Keyed<'_> = serde_json::from_str(batch.first()?.get()).ok()?;
            event.write_key
        };
        let write_key = wire.write_key.or_else(first).map(Cow::into_owned);
        let events = batch.iter().map(|event| {
            let begin = event.get().as_ptr() as usize - text.as_ptr() as usize;
            begin..begin + event.get().len()
        });
        Ok(Self {
            events: events.collect(),
            write_key: write_key.filter(|key| !key.is_empty()),
            sent_us: wire.sent_at.as_ref().and_then(Json::as_str).and_then(clock::parse),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_located_also_broken_ones() {
        let text = r#" {"batch": [{"a":1}, 7 , {"b":[{}]}], "writeKey": null, "sentAt": "2026-01-01T00:00:00Z", "context": {}}"#;
        let envelope = Envelope::read(text, 3).unwrap();
        let found: Vec<&str> = envelope.events.iter().map(|place| &text[place.clone()]).collect();
        assert_eq!(found, [r#"{"a":1}"#, "7", r#"{"b":[{}]}"#]);
        assert_eq!(envelope.sent_us, Some(1_767_225_600_000_000));
        assert_eq!(envelope.write_key, None);
    }

    #[test]
    fn a_key_stands_at_the_batch_or_at_its_events() {
        let at_batch = r#"{"writeKey": "k", "batch": [{"writeKey": "l"}]}"#;
        assert_eq!(Envelope::read(at_batch, 9).unwrap().write_key.as_deref(), Some("k"));
        let at_event = r#"{"batch": [{"writeKey": "l"}]}"#;
        assert_eq!(Envelope::read(at_event, 9).unwrap().write_key.as_deref(), Some("l"));
    }

    #[test]
    fn what_is_no_batch_is_refused_without_quoting_it() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"batch": null}"#,
            r#"{"batch": "secret"}"#,
            "{\"batch\": [",
            "secret",
        ] {
            let message = Envelope::read(bad, 9).unwrap_err();
            assert!(!message.contains("secret"), "{message}");
        }
        assert!(Envelope::read(r#"{"batch": [1, 2]}"#, 1).unwrap_err().contains("more than 1"));
    }
}
