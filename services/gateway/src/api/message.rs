//! JSON to message and back: canonical protobuf JSON, by descriptor (crate `prost-reflect`, and
//! `writer` for what our services answer).
//!
//! Names in and out as in the contract (`customer_id`) or in camel case (`customerId`); out
//! always the latter, enums by name, 64-bit integers as text, defaults left out. A field that
//! does not exist is refused, because a misspelt one would otherwise be ignored in silence.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor};
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use super::body::{Budget, Held};
use super::failure::Refusal;
use super::writer::Writer;

/// Fewer bytes than this are worked on where they are: some hundred microseconds.
const SMALL: usize = 16 * 1024;

/// The message of a JSON text. Nothing at all is the empty message.
pub(crate) fn read(input: &MessageDescriptor, text: &[u8]) -> Result<DynamicMessage, Refusal> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(DynamicMessage::new(input.clone()));
    }
    let options = DeserializeOptions::new();
    let mut json = serde_json::Deserializer::from_slice(text);
    let message = DynamicMessage::deserialize_with_options(input.clone(), &mut json, &options);
    match message.and_then(|message| json.end().map(|()| message)) {
        Ok(message) => Ok(message),
        Err(error) => Err(explain(input, text, &error)),
    }
}

/// Reads it again, now with an eye on where it is: a caller that errs may cost twice.
fn explain(input: &MessageDescriptor, text: &[u8], error: &serde_json::Error) -> Refusal {
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let again = DynamicMessage::deserialize_with_options(
        input.clone(),
        tracked,
        &DeserializeOptions::new(),
    );
    let path = if again.is_err() { track.path().to_string() } else { ".".to_owned() };
    let field = if path == "." { "" } else { path.as_str() };
    Refusal::malformed(field, format!("cannot be read as {}: {error}", input.full_name()))
}

/// The same, encoded; large ones where they hold nobody up.
pub(crate) async fn to_wire(
    input: &MessageDescriptor,
    text: Held,
    budget: &Budget,
) -> Result<Held, Status> {
    let (input, size, budget) = (input.clone(), text.bytes.len(), budget.clone());
    let work = move || {
        let share = budget.for_json(&text.bytes)?;
        let message = read(&input, &text.bytes)?.encode_to_vec();
        text.becomes(message.into(), share)
    };
    Ok(aside(size, work).await??)
}

/// The JSON of an answer.
pub(crate) fn write(output: &Writer, message: &[u8]) -> Result<Vec<u8>, Status> {
    output.json(message).map_err(|error| broken(output.descriptor(), &error))
}

/// The same, for large ones where they hold nobody up.
pub(crate) async fn to_json(output: &Writer, message: Bytes) -> Result<Bytes, Status> {
    let output = output.clone();
    let size = message.len();
    aside(size, move || write(&output, &message).map(Bytes::from)).await?
}

/// An answer by its descriptor.
pub(crate) fn decode(output: &MessageDescriptor, message: Bytes) -> Result<DynamicMessage, Status> {
    DynamicMessage::decode(output.clone(), message).map_err(|error| broken(output, &error))
}

/// Work aside that is on its way. Who leaves while he waits for his turn leaves no work behind, and
/// only so much goes on for those who have left.
static TURNS: Semaphore = Semaphore::const_new(16);

pub(crate) async fn aside<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    if size < SMALL {
        return Ok(work());
    }
    let failed = |error: &dyn std::error::Error| {
        tracing::error!(event = "transcoding_failed", %error);
        Status::new(Code::Internal, "internal error")
    };
    let turn = TURNS.acquire().await.map_err(|error| failed(&error))?;
    let work = move || {
        let done = work();
        drop(turn);
        done
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| failed(&error))
}

/// A service answered what its contract does not know: a fault of ours.
fn broken(output: &MessageDescriptor, error: &dyn std::error::Error) -> Status {
    tracing::error!(event = "answer_not_readable", message = output.full_name(), %error);
    Status::new(Code::Internal, "internal error")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::writer::Writers;
    use kernel::{Fault, Kind};
    use prost_reflect::DescriptorPool;

    fn descriptor(name: &str) -> MessageDescriptor {
        let pool = DescriptorPool::decode(contracts::DESCRIPTORS).unwrap();
        pool.get_message_by_name(name).unwrap()
    }

    #[test]
    fn both_spellings_are_read_and_one_is_written() {
        let request = descriptor("rapport.profile.v1.GetProfileRequest");
        let writer = Writers::new(request.parent_pool()).of(&request).unwrap();
        for text in [
            r#"{"customer_id":"c","at_least_version":"9007199254740993"}"#,
            r#" {"customerId":"c","atLeastVersion":9007199254740993} "#,
        ] {
            let message = read(&request, text.as_bytes()).unwrap();
            let written = write(&writer, &message.encode_to_vec()).unwrap();
            let expected = r#"{"customerId":"c","atLeastVersion":"9007199254740993"}"#;
            assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
        assert!(read(&request, b" \n").unwrap().encode_to_vec().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let request = descriptor("rapport.profile.v1.IngestEventsRequest");
        let nested = format!("{{\"events\":[{}", r#"{"traits":{"a":"#.repeat(10_000));
        for (text, field, word) in [
            (r#"{"events":[{"messageId":"m"},{"type":"STROLL"}]}"#, "events[1].type", "STROLL"),
            (r#"{"events":[{"name":7}]}"#, "events[0].name", "integer"),
            (r#"{"evnts":[]}"#, "", "evnts"),
            ("{}}", "", "trailing"),
            ("[1]", "", "sequence"),
            (nested.as_str(), "", "recursion"),
        ] {
            let refusal = read(&request, text.as_bytes()).unwrap_err();
            let Kind::Invalid(violations) = refusal.kind() else { panic!("{refusal}") };
            let violation = violations.iter().next().unwrap();
            assert!(violation.field.starts_with(field), "{violation:?}");
            assert!(violation.description.contains(word), "{violation:?}");
        }
    }
}
