//! The namespaces of identifiers: the built-in ones and a tenant's own.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The built-in names, strongest first: how well a value tells one person from another.
const BUILT_IN: [&str; 10] = [
    "user_id",
    "wechat_unionid",
    "member_no",
    "crm_id",
    "wechat_openid",
    "weibo_uid",
    "phone",
    "email",
    "device_id",
    "anonymous_id",
];

/// Text that is not the name of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 2 to 32 of a-z, 0-9 and '_', and begin with a letter")]
pub struct NotANamespace;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    /// An index into `BUILT_IN`.
    BuiltIn(u8),
    Custom(Arc<str>),
}

/// What kind of thing an identifier's value is. Ordered by name; cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Namespace(Name);

impl Namespace {
    /// The account that a login proves.
    pub const USER_ID: Self = Self(Name::BuiltIn(0));
    /// One person across the apps of a WeChat open-platform account.
    pub const WECHAT_UNIONID: Self = Self(Name::BuiltIn(1));
    /// A loyalty card or membership number.
    pub const MEMBER_NO: Self = Self(Name::BuiltIn(2));
    /// A row of a source system: `<source>:<id>`.
    pub const CRM_ID: Self = Self(Name::BuiltIn(3));
    /// One person inside one WeChat app: `<app id>:<openid>`.
    pub const WECHAT_OPENID: Self = Self(Name::BuiltIn(4));
    /// A Weibo account.
    pub const WEIBO_UID: Self = Self(Name::BuiltIn(5));
    /// A telephone number.
    pub const PHONE: Self = Self(Name::BuiltIn(6));
    /// A mailbox.
    pub const EMAIL: Self = Self(Name::BuiltIn(7));
    /// A phone or tablet.
    pub const DEVICE_ID: Self = Self(Name::BuiltIn(8));
    /// A browser or an installation before login.
    pub const ANONYMOUS_ID: Self = Self(Name::BuiltIn(9));

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::BuiltIn(index) => BUILT_IN.get(usize::from(*index)).copied().unwrap_or_default(),
            Name::Custom(name) => name,
        }
    }

    /// The place in the order in which values are allowed to link, from 0, the strongest.
    /// It matters only where a separation forces a choice. All custom ones share the last.
    #[must_use]
    pub fn strength(&self) -> u8 {
        match &self.0 {
            Name::BuiltIn(index) => *index,
            Name::Custom(_) => BUILT_IN.len() as u8,
        }
    }
}

impl FromStr for Namespace {
    type Err = NotANamespace;

    fn from_str(text: &str) -> Result<Self, NotANamespace> {
        if let Some(index) = BUILT_IN.iter().position(|name| *name == text) {
            return Ok(Self(Name::BuiltIn(index as u8)));
        }
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let begins_well = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
        if begins_well && (2..=32).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(Name::Custom(Arc::from(text))));
        }
        Err(NotANamespace)
    }
}

impl Ord for Namespace {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Namespace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_what_they_print() {
        let constants = [Namespace::USER_ID, Namespace::PHONE, Namespace::ANONYMOUS_ID];
        for (namespace, name) in constants.iter().zip(["user_id", "phone", "anonymous_id"]) {
            assert_eq!(namespace.as_str(), name);
        }
        for name in BUILT_IN.iter().copied().chain(["douyin_id", "a1"]) {
            assert_eq!(name.parse::<Namespace>().unwrap().as_str(), name);
        }
        for bad in ["", "a", "Email", "1a", "_a", "a-b", "微信", &"a".repeat(33)] {
            assert!(bad.parse::<Namespace>().is_err(), "{bad}");
        }
    }
}
