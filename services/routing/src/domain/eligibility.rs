//! Who may get a demand: the fields that a policy's predicate reads, and their values.

use std::sync::OnceLock;

use predicate::{Field, Lookup, Predicate, Problem, Schema, Type, Value};

use super::Demand;
use super::plan::Member;

/// The fields of policies. `score["name"]` is the value of that scorer, absent if not used.
fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        Schema::new()
            .with("demand.kind", Type::Text)
            .with("demand.customer_id", Type::Text)
            .with("demand.priority", Type::Number)
            .with("demand.required_skills", Type::TextList)
            .with("demand.event_time", Type::Time)
            .with("demand.create_time", Type::Time)
            .with("agent.name", Type::Text)
            .with("agent.team", Type::Text)
            .with("agent.skills", Type::TextList)
            .with_map("agent.skill_level", Type::Number)
            .with("agent.capacity", Type::Number)
            .with("agent.load", Type::Number)
            .with("team.name", Type::Text)
            .with("team.display_name", Type::Text)
            .with_map("score", Type::Number)
            .with_map("probability", Type::Number)
            .with("now", Type::Time)
    })
}

/// Compiles the predicate of a policy; none for an empty one.
pub(crate) fn compile(source: &str) -> Result<Option<Predicate>, Vec<Problem>> {
    if source.trim().is_empty() {
        return Ok(None);
    }
    Predicate::compile(source, schema()).map(Some)
}

/// One demand before one agent.
pub(crate) struct Facts<'a> {
    pub(crate) demand: &'a Demand,
    pub(crate) customer_id: &'a str,
    pub(crate) member: &'a Member,
    pub(crate) load: i32,
    pub(crate) now_us: i64,
}

impl Lookup for Facts<'_> {
    fn get(&self, field: &Field) -> Option<Value<'_>> {
        let key = field.key.as_deref();
        let score = || self.demand.scores.iter().find(|score| Some(score.scorer.as_str()) == key);
        Some(match field.path.as_str() {
            "demand.kind" => Value::Text(&self.demand.kind),
            "demand.customer_id" => Value::Text(self.customer_id),
            "demand.priority" => Value::Number(f64::from(self.demand.priority)),
            "demand.required_skills" => Value::TextList(&self.demand.required_skills),
            "demand.event_time" => Value::Time(self.demand.event_us),
            "demand.create_time" => Value::Time(self.demand.created_us),
            "agent.name" => Value::Text(&self.member.name),
            "agent.team" | "team.name" => Value::Text(&self.member.team),
            "agent.skills" => Value::TextList(&self.member.skill_names),
            "agent.skill_level" => Value::Number(f64::from(*self.member.skills.get(key?)?)),
            "agent.capacity" => Value::Number(f64::from(self.member.capacity)),
            "agent.load" => Value::Number(f64::from(self.load)),
            "team.display_name" => Value::Text(&self.member.team_display_name),
            "score" => Value::Number(score()?.value),
            "probability" => Value::Number(score()?.probability?),
            "now" => Value::Time(self.now_us),
            _ => return None,
        })
    }
}
