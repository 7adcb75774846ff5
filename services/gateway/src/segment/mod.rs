//! What Segment's SDKs send, and what it is in our words. Pure: the time of reception comes in.

mod clock;
mod envelope;
mod event;
mod json;

pub(crate) use envelope::Envelope;
pub(crate) use event::{Reception, event};
pub(crate) use json::message_id;
