//! Who an event is about.

use contracts::common::v1::Identifier;
use prost_types::value::Kind;

use super::json::{self, Object};

/// The namespaces that every suite knows.
pub(super) const KNOWN: [&str; 10] = [
    "email",
    "phone",
    "wechat_unionid",
    "wechat_openid",
    "anonymous_id",
    "device_id",
    "user_id",
    "crm_id",
    "member_no",
    "weibo_uid",
];

/// Distinct identifiers in the order they were found.
#[derive(Default)]
pub(super) struct Identifiers(Vec<Identifier>);

impl Identifiers {
    /// Adds one that is not blank.
    pub(super) fn add(&mut self, namespace: &str, value: Option<String>) {
        let Some(value) = value.filter(|value| !value.trim().is_empty()) else { return };
        let identifier = Identifier { namespace: namespace.to_owned(), value };
        if !self.0.contains(&identifier) {
            self.0.push(identifier);
        }
    }

    /// E-mail address and telephone number among the attributes of a person.
    pub(super) fn add_traits(&mut self, traits: &Object) {
        for name in ["email", "phone"] {
            self.add(name, traits.get(name).and_then(json::text));
        }
    }

    /// `context.device.id` and `context.externalIds`.
    pub(super) fn add_context(&mut self, context: &Object) {
        let device = json::object_of(context, "device").and_then(|device| device.get("id"));
        self.add("device_id", device.and_then(json::text));
        let external = context.get("externalIds").and_then(|value| value.kind.as_ref());
        if let Some(Kind::ListValue(list)) = external {
            for value in &list.values {
                if let Some(Kind::StructValue(one)) = &value.kind {
                    self.add_external(&one.fields);
                }
            }
        }
    }

    /// `{id, type, collection, encoding}`; `ios.idfa` becomes namespace `ios_idfa`.
    fn add_external(&mut self, external: &Object) {
        let of_a_person =
            json::str_of(external, "collection").is_none_or(|collection| collection == "users");
        if let (Some(kind), true) = (json::str_of(external, "type"), of_a_person) {
            let namespace = kind.to_lowercase().replace(['.', '-', ' '], "_");
            self.add(&namespace, external.get("id").and_then(json::text));
        }
    }

    pub(super) fn found(self) -> Vec<Identifier> {
        self.0
    }
}
