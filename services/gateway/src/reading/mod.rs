//! What clients send, and what it is in our words. Pure: the time of reception comes in.
//!
//! `envelope` finds the events in a body, `segment`, `posthog` and `cloudevents` read one of them
//! each, with the tools of `reader`, `json`, `clock`, `identifiers` and `acquisition`. An event is read by
//! itself, so that a broken one does not fail the others.

mod acquisition;
mod clock;
pub(crate) mod cloudevents;
mod envelope;
mod identifiers;
mod json;
mod posthog;
mod reader;
mod segment;

use contracts::profile::v1::{Event, EventType};
use kernel::Violations;

pub(crate) use envelope::{Defaults, Envelope, Limits};

/// How the events stand in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Segment's, in an array `batch`.
    Batch,
    /// One of Segment's; the path says what kind.
    Single(EventType),
    /// PostHog's, in an array `batch`.
    PostHog,
    /// One CloudEvent, or an array of them.
    CloudEvents,
}

impl Form {
    /// Where an event says its id.
    const fn id_field(self) -> &'static [&'static str] {
        match self {
            Self::Batch | Self::Single(_) => &["messageId"],
            Self::PostHog => &["uuid"],
            Self::CloudEvents => &["id"],
        }
    }
}

/// How a body came in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reception {
    /// Microseconds since 1970.
    pub(crate) received_us: i64,
    /// Of the body, if it says so.
    pub(crate) sent_us: Option<i64>,
    /// What holds for events that do not say otherwise.
    pub(crate) defaults: Defaults,
}

/// An event that can be expressed.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) event: Event,
    /// About the bytes that it takes in memory.
    pub(crate) cost: usize,
}

/// An event that cannot be expressed.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// If it has one that can be read.
    pub(crate) message_id: Option<String>,
    /// All that is wrong with it.
    pub(crate) violations: Violations,
}

/// Reads an event, but for its source. `new_id` is called if it has no id of its own.
pub(crate) fn event(
    form: Form,
    text: &str,
    reception: &Reception,
    new_id: impl FnOnce() -> String,
) -> Result<Read, Wrong> {
    let read = match form {
        Form::Batch => segment::event(text, None, reception),
        Form::Single(kind) => segment::event(text, Some(kind), reception),
        Form::PostHog => posthog::event(text, reception),
        Form::CloudEvents => cloudevents::event(text),
    };
    match read {
        Ok(read) if read.violations.is_empty() => {
            let message_id = read.message_id.unwrap_or_else(new_id);
            Ok(Read { event: Event { message_id, ..read.event }, cost: read.cost })
        }
        Ok(Draft { message_id, violations, .. }) => Err(Wrong { message_id, violations }),
        Err(error) => {
            Err(Wrong { message_id: message_id(form, text), violations: error.violations() })
        }
    }
}

/// The id of an event that cannot be read otherwise: the rest is only skipped.
pub(crate) fn message_id(form: Form, event: &str) -> Option<String> {
    let id = json::read(event, form.id_field()).ok()?.rest().next()?.1;
    json::text(&id).filter(|text| !text.is_empty())
}

/// An event with what is wrong with it.
struct Draft {
    message_id: Option<String>,
    event: Event,
    violations: Violations,
    cost: usize,
}
