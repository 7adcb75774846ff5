//! `rapport apply`: configuration as code. Reads YAML files, checks every document against
//! the contracts and against each other, asks the services to check all of them as if all
//! were saved, and only then saves them, in the order of [`KINDS`]. What is wrong is said with
//! file, line and column, everything at once.
//!
//! A mistake that any check finds changes nothing. What nobody can promise is that all saves
//! succeed: when a service fails half-way, what was saved before stays and is listed; running
//! it again is safe. All saves of one run carry one change id, by which they can be listed
//! ([`history`]) and taken back ([`rollback`]).
//!
//! Deliberately absent: deleting what no file names. Several teams apply several directories
//! to one tenant, and nothing says which file a resource once came from.

mod canonical;
pub mod diff;
pub mod history;
mod kind;
mod plan;
mod reference;
mod refusal;
pub mod resource;
pub mod rollback;
mod show;
mod source;
pub mod yaml;

use std::path::PathBuf;

use prost_reflect::DescriptorPool;

use crate::client::Client;
pub use kind::{KINDS, ResourceKind};
pub use plan::{Step, Target, check, save};
pub use show::{changes, history_of, listed};
pub use source::{Set, Sourced, files, read, read_all, read_text};
use yaml::Place;

/// Something wrong, with the place where to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, unless it is not about what stands in one.
    pub file: Option<PathBuf>,
    /// The place in it, if it is known.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(place) = self.place {
                write!(f, "{}:{}:", place.line, place.column)?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

/// What was done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was as wanted already.
    Unchanged,
    /// A new version was saved.
    Saved,
    /// It was deleted.
    Deleted,
}

/// What became of a resource.
#[derive(Debug)]
pub struct Applied {
    /// The kind.
    pub kind: &'static str,
    /// The name.
    pub name: String,
    /// The version it has now; of a dry run, the version it would have.
    pub version: i64,
    /// What was done, or would be.
    pub outcome: Outcome,
}

/// Checks a whole set: its own findings, and those of the services about what is well formed.
///
/// # Errors
/// Everything that is wrong, by file and place.
pub async fn check_set<'a>(
    client: &mut Client,
    pool: &DescriptorPool,
    set: &'a Set,
) -> Result<Vec<Step<'a>>, Vec<Finding>> {
    let targets: Vec<Target<'a>> = set.resources.iter().map(Target::of_file).collect();
    let checked = check(client, pool, &targets, Some(set)).await;
    let mut findings = set.findings.clone();
    match checked {
        Ok(steps) if findings.is_empty() => return Ok(steps),
        Ok(_) => {}
        Err(found) => findings.extend(found),
    }
    findings.sort_by(|a, b| (&a.file, a.place).cmp(&(&b.file, b.place)));
    Err(findings)
}

/// Has all resources checked by their services, then saves them unless `dry_run`.
///
/// # Errors
/// Everything that the checks find; then nothing is saved. When saving fails after all: why,
/// and what was saved before.
pub async fn apply(
    client: &mut Client,
    pool: &DescriptorPool,
    resources: &[Sourced],
    dry_run: bool,
) -> Result<Vec<Applied>, Vec<Finding>> {
    let targets: Vec<Target<'_>> = resources.iter().map(Target::of_file).collect();
    let steps = check(client, pool, &targets, None).await?;
    if dry_run { Ok(planned(&steps)) } else { save(client, pool, &steps, &new_change_id()).await }
}

/// What steps would do.
#[must_use]
pub fn planned(steps: &[Step<'_>]) -> Vec<Applied> {
    let planned = |step: &Step<'_>| Applied {
        kind: step.target.kind.kind,
        name: step.target.name.to_owned(),
        version: step.version,
        outcome: match (step.is_change(), &step.then) {
            (false, _) => Outcome::Unchanged,
            (true, Some(_)) => Outcome::Saved,
            (true, None) => Outcome::Deleted,
        },
    };
    steps.iter().map(planned).collect()
}

/// A name for a change that nobody named: when, and something that no other change has.
#[must_use]
pub fn new_change_id() -> String {
    let time = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{time}-{}", &random[..6])
}
