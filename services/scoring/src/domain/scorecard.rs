//! Scorecards: points per predicate, caps per group, half-life decay.
//!
//! Every summand lies on a grid of 2⁻³⁰ points, and at most 200 of them, each at most
//! 10,000, are added: every partial sum fits the 53 bits of an `f64`. So sums are exact in
//! any order, and a cap that bites brings a group to its limit exactly.

use std::collections::HashMap;

use predicate::{Field, Lookup, Predicate, Value};

use super::DAY_US;
use super::contribution::Contribution;
use super::features::{Moment, Reading};
use super::spec::{GroupSpec, RuleSpec, ScorecardSpec};
use super::traits::TraitSchema;

/// The name of the summand that everybody starts with.
pub(crate) const BASE: &str = "(base)";

/// 2³⁰.
const GRID: f64 = 1_073_741_824.0;

/// The nearest number on the grid.
pub(crate) fn on_grid(points: f64) -> f64 {
    (points * GRID).round() / GRID
}

/// A compiled scorecard.
#[derive(Debug)]
pub(crate) struct Scorecard {
    base: f64,
    rules: Vec<Rule>,
    groups: Vec<Group>,
    /// What each field of a predicate is read from.
    fields: HashMap<Field, Reading>,
}

#[derive(Debug)]
struct Rule {
    name: String,
    /// Nothing if it no longer compiles, because an attribute is gone: such a rule is silent.
    when: Option<Predicate>,
    source: String,
    points: f64,
    group: Option<usize>,
    decay: Option<Decay>,
}

#[derive(Debug)]
struct Decay {
    half_life_days: f64,
    since: Option<Reading>,
}

#[derive(Debug)]
struct Group {
    name: String,
    max: Option<f64>,
    min: Option<f64>,
}

/// One summand before it has words.
enum Line<'a> {
    Base,
    Rule(&'a Rule),
    Cap(&'a Group),
}

impl Scorecard {
    /// Compiles a checked specification; the attributes may have changed since the check.
    pub(crate) fn compile(name: &str, spec: &ScorecardSpec, traits: &TraitSchema) -> Self {
        let schema = traits.fields();
        let groups: Vec<Group> = spec.groups.iter().map(Group::of).collect();
        let mut fields = HashMap::new();
        let mut rules = Vec::with_capacity(spec.rules.len());
        for rule in &spec.rules {
            let when = match Predicate::compile(&rule.when, &schema) {
                Ok(when) => Some(when),
                Err(_) => {
                    tracing::warn!(scorecard = name, rule = rule.name, "rule no longer compiles");
                    None
                }
            };
            for field in when.iter().flat_map(Predicate::fields) {
                if let Some(reading) = reading_of(field, traits) {
                    fields.insert(field.clone(), reading);
                }
            }
            rules.push(Rule::of(rule, when, &groups, traits));
        }
        Self { base: on_grid(spec.base_points), rules, groups, fields }
    }

    /// The sum of all summands.
    pub(crate) fn value(&self, moment: Moment<'_>) -> f64 {
        let mut value = 0.0;
        self.visit(moment, &mut |_, amount| value += amount);
        value
    }

    /// All summands, in the order base, rules, caps.
    pub(crate) fn explain(&self, moment: Moment<'_>) -> Vec<Contribution> {
        let mut contributions = Vec::new();
        self.visit(moment, &mut |line, amount| contributions.push(line.words(amount)));
        contributions
    }

    /// Everything that it reads.
    pub(crate) fn readings(&self) -> impl Iterator<Item = &Reading> {
        let decays = self.rules.iter().filter_map(|rule| rule.decay.as_ref()?.since.as_ref());
        self.fields.values().chain(decays)
    }

    fn visit(&self, moment: Moment<'_>, take: &mut impl FnMut(Line<'_>, f64)) {
        let lookup = Fields { fields: &self.fields, moment };
        let mut sums = vec![0.0; self.groups.len()];
        if self.base != 0.0 {
            take(Line::Base, self.base);
        }
        for rule in &self.rules {
            // An error is a value of another type than declared, which readings leave out.
            let holds = rule.when.as_ref().is_some_and(|when| when.eval(&lookup).unwrap_or(false));
            if !holds {
                continue;
            }
            let amount = rule.amount(moment);
            if let Some(sum) = rule.group.and_then(|group| sums.get_mut(group)) {
                *sum += amount;
            }
            if amount != 0.0 {
                take(Line::Rule(rule), amount);
            }
        }
        for (group, sum) in self.groups.iter().zip(sums) {
            let correction = group.bounded(sum) - sum;
            if correction != 0.0 {
                take(Line::Cap(group), correction);
            }
        }
    }
}

impl Rule {
    fn of(
        spec: &RuleSpec,
        when: Option<Predicate>,
        groups: &[Group],
        traits: &TraitSchema,
    ) -> Self {
        let decay = spec.half_life_us.map(|us| Decay {
            half_life_days: us as f64 / DAY_US as f64,
            since: Reading::parse(&spec.decay_since, traits),
        });
        Self {
            name: spec.name.clone(),
            when,
            source: spec.when.clone(),
            points: spec.points,
            group: groups.iter().position(|group| group.name == spec.group),
            decay,
        }
    }

    /// Half of the points for each half-life; nothing while there is nothing to count from.
    fn amount(&self, moment: Moment<'_>) -> f64 {
        let Some(decay) = &self.decay else { return on_grid(self.points) };
        let days = decay.since.as_ref().and_then(|since| since.get(moment)?.as_f64());
        let remaining = days.map_or(0.0, |days| (-days.max(0.0) / decay.half_life_days).exp2());
        on_grid(self.points * remaining)
    }
}

impl Group {
    fn of(spec: &GroupSpec) -> Self {
        Self {
            name: spec.name.clone(),
            max: spec.max_points.map(on_grid),
            min: spec.min_points.map(on_grid),
        }
    }

    fn bounded(&self, sum: f64) -> f64 {
        let below = self.max.map_or(sum, |max| sum.min(max));
        self.min.map_or(below, |min| below.max(min))
    }
}

impl Line<'_> {
    fn words(&self, amount: f64) -> Contribution {
        let (name, description) = match self {
            Self::Base => (BASE.to_owned(), "where every customer starts".to_owned()),
            Self::Rule(rule) => {
                let description = match &rule.decay {
                    None => rule.source.clone(),
                    Some(decay) => format!(
                        "{} ({} points, halved every {} days)",
                        rule.source, rule.points, decay.half_life_days
                    ),
                };
                (rule.name.clone(), description)
            }
            Self::Cap(group) => {
                let (bound, limit) =
                    if amount < 0.0 { ("at most", group.max) } else { ("at least", group.min) };
                let limit = limit.unwrap_or_default();
                let text = format!("group {} counts {bound} {limit} points", group.name);
                (format!("cap:{}", group.name), text)
            }
        };
        Contribution { name, amount, description }
    }
}

fn reading_of(field: &Field, traits: &TraitSchema) -> Option<Reading> {
    use aggregate::{EventMeasure, Feature};
    let (Some(key), Some(member)) = (&field.key, &field.member) else {
        return Reading::parse(&field.path, traits);
    };
    let measure = match member.as_str() {
        "total" => EventMeasure::Total,
        "last_7_days" => EventMeasure::Last7Days,
        "last_30_days" => EventMeasure::Last30Days,
        "days_since_last" => EventMeasure::DaysSinceLast,
        _ => return None,
    };
    Reading::of(Feature::event(key, measure), traits)
}

struct Fields<'a> {
    fields: &'a HashMap<Field, Reading>,
    moment: Moment<'a>,
}

impl Lookup for Fields<'_> {
    fn get(&self, field: &Field) -> Option<Value<'_>> {
        let value = self.fields.get(field)?.get(self.moment)?;
        Some(match value {
            aggregate::Value::Int(number) => Value::Number(number as f64),
            aggregate::Value::Number(number) => Value::Number(number),
            aggregate::Value::Bool(value) => Value::Bool(value),
            aggregate::Value::Text(text) => Value::Text(text),
            aggregate::Value::Time(us) => Value::Time(us),
        })
    }
}
