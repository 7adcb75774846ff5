//! Records, events and ledger entries of a mapping.

use contracts::profile::v1::{EventType, LedgerEntryType};
use linkage::Namespace;

use super::keys::{self, Key};
use super::read::{Reader, entries, scalar};
use super::value::{From, Value};
use super::{Condition, Ledger, Negative, Output, OutputKind};
use crate::apply::yaml::{self, Node};
use crate::import::convert::Kind;

const EVENT_TYPES: [(&str, EventType); 6] = [
    ("track", EventType::Track),
    ("page", EventType::Page),
    ("screen", EventType::Screen),
    ("group", EventType::Group),
    ("identify", EventType::Identify),
    ("alias", EventType::Alias),
];

/// Ledger types with the names of their events, those of Segment's e-commerce where it has one.
pub(crate) const LEDGER_TYPES: [(&str, LedgerEntryType, &str); 6] = [
    ("order_completed", LedgerEntryType::OrderCompleted, "Order Completed"),
    ("order_refunded", LedgerEntryType::OrderRefunded, "Order Refunded"),
    ("ticket_opened", LedgerEntryType::TicketOpened, "Ticket Opened"),
    ("ticket_closed", LedgerEntryType::TicketClosed, "Ticket Closed"),
    ("points_earned", LedgerEntryType::PointsEarned, "Points Earned"),
    ("points_spent", LedgerEntryType::PointsSpent, "Points Spent"),
];

/// More events than that from one row are a mistake.
const MOST_OUTPUTS: usize = 64;

impl Reader {
    pub(super) fn outputs(&mut self, node: &Node) -> Vec<Output> {
        let mut outputs: Vec<Output> = Vec::new();
        let lists: [(&str, &[&[Key]]); 3] = [
            ("records", &[keys::OUTPUT]),
            ("events", &[keys::OUTPUT, keys::EVENT]),
            ("ledger", &[keys::OUTPUT, keys::LEDGER]),
        ];
        for (list, tables) in lists {
            let Some(found) = node.get(list) else { continue };
            let yaml::Value::List(items) = &found.value else {
                self.wrong(found.place, format!("`{list}` must be a list (each item after `- `)"));
                continue;
            };
            for (at, item) in items.iter().enumerate() {
                self.check_keys(item, tables);
                let Some(mut output) = self.output(list, item) else { continue };
                output.path = format!("{list}[{at}]");
                // Two of the same kind must not have the same natural keys.
                let alike = outputs.iter().filter(|other| other.tag == output.tag).count();
                if alike > 0 {
                    output.tag = format!("{}#{}", output.tag, alike + 1);
                }
                outputs.push(output);
            }
        }
        if outputs.is_empty() && self.problems.is_empty() {
            self.wrong(node.place, "rows become nothing: add `records`, `events` or `ledger`");
        }
        if outputs.len() > MOST_OUTPUTS {
            self.wrong(node.place, format!("at most {MOST_OUTPUTS} events can come of a row"));
        }
        outputs
    }

    fn output(&mut self, list: &str, node: &Node) -> Option<Output> {
        let kind = match list {
            "records" => OutputKind::Record,
            "events" => OutputKind::Event(self.event_type(node)),
            _ => OutputKind::Ledger(Box::new(self.ledger(node)?)),
        };
        let name = self.name(node, &kind);
        let key = self.key(node, &kind);
        let identifiers = self.identifiers(node);
        let time = node.get("time").and_then(|time| self.value(time, None));
        let time = time.and_then(|value| self.as_kind(value, "time", node));
        let tag = match &kind {
            OutputKind::Record => "record".to_owned(),
            OutputKind::Event(kind) => format!("event/{}/{}", kind.as_str_name(), constant(&name)),
            OutputKind::Ledger(ledger) => format!("ledger/{}", ledger.kind.as_str_name()),
        };
        Some(Output {
            path: String::new(),
            kind,
            tag,
            key,
            name,
            time,
            identifiers,
            traits: self.fields(node, "traits"),
            properties: self.fields(node, "properties"),
            context: self.fields(node, "context"),
            when: self.conditions(node, "when"),
            unless: self.conditions(node, "unless"),
        })
    }

    fn event_type(&mut self, node: &Node) -> EventType {
        let words = EVENT_TYPES.map(|(word, _)| word);
        self.one_of(node, "type", &words).map_or(EventType::Track, |at| EVENT_TYPES[at].1)
    }

    fn name(&mut self, node: &Node, kind: &OutputKind) -> Option<Value> {
        let defaults = self.defaults.clone()?;
        let constant = |text: String| Value::plain(From::Constant(text), node.place, &defaults);
        match (node.get("name"), kind) {
            (_, OutputKind::Record) => None,
            (Some(found), _) => match scalar(found) {
                Some(text) if text.len() <= 128 => Some(constant(text)),
                Some(_) => {
                    self.wrong(found.place, "`name` must be at most 128 bytes");
                    None
                }
                None => self.value(found, None),
            },
            (None, OutputKind::Ledger(ledger)) => {
                let named = LEDGER_TYPES.iter().find(|(_, kind, _)| *kind == ledger.kind);
                named.map(|(_, _, name)| constant((*name).to_owned()))
            }
            (None, OutputKind::Event(EventType::Track)) => {
                self.wrong(node.place, "an event of type track needs a `name`");
                None
            }
            (None, _) => None,
        }
    }

    fn key(&mut self, node: &Node, kind: &OutputKind) -> Vec<Value> {
        let Some(found) = node.get("key") else {
            let OutputKind::Ledger(ledger) = kind else { return Vec::new() };
            let Some(entry) = &ledger.entry else { return Vec::new() };
            return vec![Value { is_required: true, kind: Kind::Text, ..entry.clone() }];
        };
        let items = match &found.value {
            yaml::Value::List(items) => items.iter().collect(),
            _ => vec![found],
        };
        let values: Vec<Value> =
            items.into_iter().filter_map(|item| self.value(item, None)).collect();
        // A key is text, and an empty part would make rows the same that are not.
        values.into_iter().map(|value| Value { kind: Kind::Text, ..value }).collect()
    }

    fn identifiers(&mut self, node: &Node) -> Vec<(String, Value)> {
        let identifiers = self.fields(node, "identifiers");
        if identifiers.is_empty() {
            let place = node.get("identifiers").map_or(node.place, |found| found.place);
            self.wrong(place, "`identifiers` is missing: whose it is, e.g. {phone: 手机}");
        }
        if identifiers.len() > linkage::evidence::MAX_IDENTIFIERS {
            let most = linkage::evidence::MAX_IDENTIFIERS;
            self.wrong(node.place, format!("at most {most} identifiers"));
        }
        for (namespace, value) in &identifiers {
            if let Err(error) = namespace.parse::<Namespace>() {
                self.wrong(value.place, format!("the namespace `{namespace}` {error}"));
            }
        }
        identifiers
    }

    fn fields(&mut self, node: &Node, key: &str) -> Vec<(String, Value)> {
        let Some(found) = node.get(key) else { return Vec::new() };
        if !matches!(found.value, yaml::Value::Map(_)) {
            let kind = found.value.kind();
            self.wrong(found.place, format!("`{key}` must be names and columns, found {kind}"));
        }
        let mut fields: Vec<(String, Value)> = Vec::new();
        for (name, value) in entries(Some(found)) {
            if fields.iter().any(|(known, _)| *known == name.text) {
                self.wrong(name.place, format!("`{}` stands twice", name.text));
            }
            if let Some(value) = self.value(value, None) {
                fields.push((name.text.clone(), value));
            }
        }
        fields
    }

    fn conditions(&mut self, node: &Node, key: &str) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for (column, texts) in entries(node.get(key)) {
            let name = Node { place: column.place, value: yaml::Value::Text(column.text.clone()) };
            let texts = self.texts(texts);
            conditions.extend(self.value(&name, None).map(|value| Condition { value, texts }));
        }
        conditions
    }

    fn ledger(&mut self, node: &Node) -> Option<Ledger> {
        let words = LEDGER_TYPES.map(|(word, _, _)| word);
        if node.get("type").is_none() {
            self.wrong(node.place, format!("`type` is missing: one of {}", words.join(", ")));
        }
        let (word, kind, _) = LEDGER_TYPES[self.one_of(node, "type", &words)?];
        let part = |reader: &mut Self, key: &str| {
            node.get(key).and_then(|found| reader.value(found, None))
        };
        let entry = part(self, "entry");
        let amount = part(self, "amount").and_then(|value| self.as_kind(value, "money", node));
        let points = part(self, "points").and_then(|value| self.as_kind(value, "integer", node));
        let currency = node.get("currency").and_then(|found| match scalar(found) {
            Some(code) => self.constant_currency(&code, found),
            None => self.value(found, None),
        });
        let is_points = word.starts_with("points");
        if is_points && points.is_none() {
            self.wrong(node.place, format!("`points` is missing: {word} counts them"));
        }
        if word.starts_with("order") && amount.is_none() {
            self.wrong(node.place, "`amount` is missing: the column with the money");
        }
        let negatives = [Negative::Reject, Negative::Refund, Negative::Skip];
        let negative = self.one_of(node, "negative", &["reject", "refund", "skip"]);
        let negative = negative.map_or(Negative::Reject, |at| negatives[at]);
        Some(Ledger { kind, entry, amount, currency, points, negative })
    }

    fn constant_currency(&mut self, code: &str, found: &Node) -> Option<Value> {
        if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let message = "`currency` must be three capital letters such as CNY; for a column \
                           write {column: …}";
            self.wrong(found.place, message);
            return None;
        }
        let defaults = self.defaults.clone()?;
        Some(Value::plain(From::Constant(code.to_owned()), found.place, &defaults))
    }

    /// A value where only one kind makes sense: text is read as that kind.
    fn as_kind(&mut self, value: Value, kind: &str, node: &Node) -> Option<Value> {
        let fits = match &value.kind {
            Kind::Text => {
                let bare = Node { place: node.place, value: yaml::Value::Map(Vec::new()) };
                let kind = self.kind_named(kind, &bare, &Kind::Text);
                return Some(Value { kind, ..value });
            }
            Kind::Time(_) | Kind::Date(_) => kind == "time",
            Kind::Money { .. } => kind == "money",
            Kind::Integer => kind == "integer",
            Kind::Decimal | Kind::Boolean { .. } => false,
        };
        if !fits {
            let found = value.kind.name();
            self.wrong(value.place, format!("must be `as: {kind}`, is `as: {found}`"));
        }
        fits.then_some(value)
    }
}

fn constant(name: &Option<Value>) -> &str {
    match name.as_ref().map(|name| &name.from) {
        Some(From::Constant(text)) => text,
        _ => "",
    }
}
