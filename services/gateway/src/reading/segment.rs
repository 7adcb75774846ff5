//! One event of Segment's as one of ours.
//!
//! What can be expressed is handed on even if it lacks something, so that profile refuses it
//! with all reasons and keeps it among the rejected events. Only what cannot be expressed is
//! refused here: no object, wrong types, times that are none, too deep.

use contracts::common::v1::Identifier;
use contracts::profile::v1::{Event, EventType};

use super::acquisition::{self, Visit};
use super::identifiers::Identifiers;
use super::json::{self, Object, Unreadable};
use super::reader::{Reader, complete, timestamp};
use super::{Draft, Reception, clock};

/// What has a meaning; everything else is skipped.
const FIELDS: &[&str] = &[
    "type",
    "messageId",
    "userId",
    "anonymousId",
    "previousId",
    "groupId",
    "event",
    "name",
    "category",
    "traits",
    "properties",
    "context",
    "timestamp",
    "originalTimestamp",
    "sentAt",
    "channel",
    "integrations",
    "_metadata",
];

/// Where a page view says how somebody came to it.
const ACQUISITION: &str = "acquisition";

/// Reads an event; its kind is that of the path, if the path says it.
pub(super) fn event(
    text: &str,
    of_path: Option<EventType>,
    reception: &Reception,
) -> Result<Draft, Unreadable> {
    let mut reader = Reader::open(text, FIELDS)?;
    let message_id = reader.text("messageId");
    let kind = of_path.unwrap_or_else(|| kind(&reader.text("type").unwrap_or_default()));
    let mut context = reader.object("context");
    complete(&mut context, &reception.defaults.context);
    let mut traits = reader.object("traits");
    let mut properties = reader.object("properties");
    // A group's traits are not the person's.
    if kind == EventType::Group {
        if !traits.is_empty() {
            properties.insert("traits".to_owned(), json::of_object(std::mem::take(&mut traits)));
        }
        reader.keep("groupId", &mut properties);
    }
    // Some SDKs put the person's traits only there.
    if traits.is_empty()
        && let Some(below) = json::take_object(&mut context, "traits")
    {
        traits = below;
    }
    let identifiers = identifiers(&mut reader, kind, &traits, &context);
    let name = name(&mut reader, kind, &mut properties);
    if kind == EventType::Page {
        say_where_from(&mut context);
    }
    for field in ["channel", "integrations", "_metadata"] {
        reader.keep(field, &mut context);
    }
    complete(&mut context, &reception.defaults.integrations);
    reader.fields.cost += reception.defaults.cost;
    let original = reader.time("timestamp");
    let original = reader.time("originalTimestamp").or(original);
    let sent = reader.time("sentAt").or(reception.sent_us);
    let occurred = original.map(|at| clock::occurred(at, sent, reception.received_us));
    let event = Event {
        r#type: kind.into(),
        name,
        identifiers,
        event_time: occurred.map(timestamp),
        sent_time: sent.map(timestamp),
        properties: json::message(properties),
        traits: json::message(traits),
        context: json::message(context),
        ..Event::default()
    };
    Ok(reader.finish(message_id, event))
}

fn kind(text: &str) -> EventType {
    match text {
        "track" => EventType::Track,
        "identify" => EventType::Identify,
        "page" => EventType::Page,
        "screen" => EventType::Screen,
        "group" => EventType::Group,
        "alias" => EventType::Alias,
        _ => EventType::Unspecified,
    }
}

fn name(reader: &mut Reader, kind: EventType, properties: &mut Object) -> String {
    match kind {
        EventType::Track => reader.text("event").unwrap_or_default(),
        EventType::Page | EventType::Screen => {
            reader.keep("category", properties);
            let below = json::str_of(properties, "name").map(str::to_owned);
            reader.text("name").or(below).unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// `context.acquisition`: how somebody came to the page, if the client says what it was.
fn say_where_from(context: &mut Object) {
    let Some(page) = json::object_of(context, "page") else { return };
    if context.contains_key(ACQUISITION) {
        return;
    }
    let campaign = json::object_of(context, "campaign");
    let of_campaign = |field| campaign.and_then(|campaign| json::str_of(campaign, field));
    let acquisition = acquisition::of(&Visit {
        url: json::str_of(page, "url").unwrap_or_default(),
        referrer: json::str_of(page, "referrer").unwrap_or_default(),
        campaign_source: of_campaign("source").unwrap_or_default(),
        campaign_medium: of_campaign("medium").unwrap_or_default(),
    });
    let channel = ("channel".to_owned(), json::of_text(acquisition.channel));
    let source = acquisition.source.map(|source| ("source".to_owned(), json::of_text(source)));
    let said = json::of_object([channel].into_iter().chain(source).collect());
    context.insert(ACQUISITION.to_owned(), said);
}

fn identifiers(
    reader: &mut Reader,
    kind: EventType,
    traits: &Object,
    context: &Object,
) -> Vec<Identifier> {
    let mut found = Identifiers::default();
    let user = reader.text("userId");
    found.add("user_id", user.clone());
    found.add("anonymous_id", reader.text("anonymousId"));
    // A browser sends its user id again as the previous one (measured): that says nothing.
    let previous = reader.text("previousId").filter(|_| kind == EventType::Alias);
    found.add("anonymous_id", previous.filter(|previous| Some(previous) != user.as_ref()));
    found.add_traits(traits);
    found.add_context(context);
    found.found()
}

#[cfg(test)]
mod tests;
