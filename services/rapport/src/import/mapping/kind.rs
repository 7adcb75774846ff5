//! `as:` and what goes with it.

use jiff::tz::TimeZone;

use super::read::Reader;
use super::value::Value;
use crate::apply::yaml::Node;
use crate::import::convert::Kind;
use crate::import::convert::when::{Format as TimeFormat, Reading as TimeReading};

impl Reader {
    pub(super) fn kind(&mut self, node: &Node, value: &mut Value) {
        let names = ["string", "integer", "decimal", "money", "boolean", "time", "date"];
        let named = self.one_of(node, "as", &names).map(|at| names[at]);
        let kind = match named {
            None => value.kind.name(),
            Some(name) => name,
        };
        for (key, needs) in
            [("format", &["time", "date"][..]), ("true", &["boolean"]), ("false", &["boolean"])]
        {
            if let Some(found) = node.get(key)
                && !needs.contains(&kind)
            {
                let needed = needs.join("` or `as: ");
                self.wrong(found.place, format!("`{key}` goes with `as: {needed}`"));
            }
        }
        value.kind = self.kind_named(kind, node, &value.kind);
    }

    /// A kind with what a description says of it; the rest as before.
    pub(super) fn kind_named(&mut self, name: &str, node: &Node, before: &Kind) -> Kind {
        let defaults = self.defaults.clone();
        match name {
            "integer" => Kind::Integer,
            "decimal" => Kind::Decimal,
            "money" => {
                let inherited = match before {
                    Kind::Money { currency } => currency.clone(),
                    _ => defaults.and_then(|defaults| defaults.currency),
                };
                Kind::Money { currency: self.currency(node).or(inherited) }
            }
            "boolean" => {
                let words = |reader: &mut Self, key| {
                    node.get(key).map(|list| reader.texts(list)).unwrap_or_default()
                };
                Kind::Boolean { yes: words(self, "true"), no: words(self, "false") }
            }
            "time" => Kind::Time(self.time(node, before)),
            "date" => Kind::Date(self.time(node, before)),
            _ => Kind::Text,
        }
    }

    fn time(&mut self, node: &Node, before: &Kind) -> TimeReading {
        let (Kind::Time(inherited) | Kind::Date(inherited)) = before else {
            let zone = self.defaults.as_ref().map_or(TimeZone::UTC, |d| d.zone.clone());
            let own = self.zone(node);
            self.assumes_zone |= own.is_none() && !self.has_zone;
            return TimeReading { formats: self.formats(node), zone: own.unwrap_or(zone) };
        };
        let mut reading = inherited.clone();
        if node.get("format").is_some() {
            reading.formats = self.formats(node);
        }
        reading.zone = self.zone(node).unwrap_or(reading.zone);
        reading
    }

    fn formats(&mut self, node: &Node) -> Vec<TimeFormat> {
        let Some(list) = node.get("format") else { return Vec::new() };
        let mut formats = Vec::new();
        for name in self.texts(list) {
            match TimeFormat::named(&name) {
                Ok(format) => formats.push(format),
                Err(reason) => self.wrong(list.place, reason),
            }
        }
        formats
    }
}
