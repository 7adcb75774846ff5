//! Messages as canonical protobuf JSON, by the descriptor set.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(crate::DESCRIPTORS).ok());

/// The message as canonical protobuf JSON; nothing if `name` (e.g. `rapport.routing.v1.Team`)
/// is not its full name.
#[must_use]
pub fn json(name: &str, message: &impl Message) -> Option<String> {
    let descriptor = POOL.as_ref()?.get_message_by_name(name)?;
    let bytes = message.encode_to_vec();
    let dynamic = DynamicMessage::decode(descriptor, bytes.as_slice()).ok()?;
    serde_json::to_string(&dynamic).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::v1::Team;

    #[test]
    fn a_message_becomes_canonical_json() {
        let team =
            Team { name: "north".to_owned(), display_name: "北".to_owned(), ..Team::default() };
        let text = json("rapport.routing.v1.Team", &team);
        assert_eq!(text.as_deref(), Some(r#"{"name":"north","displayName":"北"}"#));
        assert_eq!(json("rapport.routing.v1.None", &team), None);
    }
}
