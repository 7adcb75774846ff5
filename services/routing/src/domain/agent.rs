//! Who handles demands: agents and their teams, as they are configured.

use std::collections::BTreeMap;

use kernel::Violations;
use serde::{Deserialize, Serialize};

use super::hours::WorkingHours;

/// The most that one agent has at the same time.
pub(crate) const MAX_CAPACITY: i32 = 1_000;
/// The most skills of one agent, or required by one demand.
pub(crate) const MAX_SKILLS: usize = 64;

/// Whether an agent takes offers. The numbers are stored and those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Online = 1,
    Away = 2,
    Offline = 3,
}

impl Presence {
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        [Self::Online, Self::Away, Self::Offline].into_iter().find(|p| *p as i32 == number)
    }
}

/// A group of agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Team {
    pub(crate) display_name: String,
    pub(crate) hours: Option<WorkingHours>,
}

/// A human who handles demands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agent {
    pub(crate) team: String,
    /// Name to level, 1 to 5.
    pub(crate) skills: BTreeMap<String, u8>,
    pub(crate) capacity: i32,
    pub(crate) hours: Option<WorkingHours>,
}

/// What is wrong with a skill's name.
pub(crate) fn check_skill(name: &str) -> Result<(), &'static str> {
    let fine = kernel::id::is_resource_name(name);
    if fine {
        Ok(())
    } else {
        Err("must be 1 to 63 of a-z, 0-9, '-' and '_', and begin with a letter")
    }
}

impl Agent {
    /// Everything that is wrong with it.
    pub(crate) fn violations(&self) -> Violations {
        let mut violations = Violations::new();
        if !kernel::id::is_resource_name(&self.team) {
            violations.add("team", kernel::id::NotAName.to_string());
        }
        if !(1..=MAX_CAPACITY).contains(&self.capacity) {
            violations.add("capacity", format!("must be 1 to {MAX_CAPACITY}"));
        }
        if self.skills.len() > MAX_SKILLS {
            violations.add("skills", format!("must be at most {MAX_SKILLS}"));
        }
        for (name, level) in &self.skills {
            violations.check(&format!("skills[{name:?}]"), check_skill(name));
            if !(1..=5).contains(level) {
                violations.add(format!("skills[{name:?}]"), "must be a level from 1 to 5");
            }
        }
        if let Some(hours) = &self.hours {
            violations.add_below("working_hours", hours.violations());
        }
        violations
    }
}

impl Team {
    /// Everything that is wrong with it.
    pub(crate) fn violations(&self) -> Violations {
        let mut violations = Violations::new();
        if self.display_name.len() > 200 {
            violations.add("display_name", "must be at most 200 bytes");
        }
        if let Some(hours) = &self.hours {
            violations.add_below("working_hours", hours.violations());
        }
        violations
    }
}
