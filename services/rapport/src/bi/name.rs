//! Names of readers: such as need no quotes in SQL and clash with no role of Postgres.

use std::fmt;
use std::str::FromStr;

/// `bi_[a-z0-9_]{1,60}`: no word of SQL and no role of Postgres or a service begins so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

const PREFIX: &str = "bi_";
/// What Postgres keeps of an identifier.
const LONGEST: usize = 63;

impl Name {
    /// As it stands in SQL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_name = text.len() > PREFIX.len() && text.len() <= LONGEST && text.bytes().all(fits);
        if is_name && text.starts_with(PREFIX) {
            return Ok(Self(text.to_owned()));
        }
        Err("must begin with bi_ and have lower-case letters, digits and _ only, at most 63 in all")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_of_readers_are_names() {
        assert!("bi_sales_2".parse::<Name>().is_ok());
        let long = format!("bi_{}", "x".repeat(61));
        for wrong in ["", "bi_", "postgres", "bi_a;drop", "bi_\"", "bi_Ä", "BI_a", &long] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
    }
}
