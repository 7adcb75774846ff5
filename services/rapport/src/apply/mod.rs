//! `rapport apply`: configuration as code. Reads YAML files, checks every document against
//! the contracts, asks the services to check all of them, and only then saves them, in the
//! order of [`KINDS`]. What is wrong is said with file, line and column.
//!
//! A mistake that any check finds changes nothing. A service can only check against what it
//! has: that a name is missing which this very call defines is no mistake (see `reference`), and
//! what such a resource gets wrong besides shows when it is saved. Then, as when a service fails
//! half-way, what was saved before stays and is listed; applying again is safe.

mod reference;
pub mod resource;
pub mod yaml;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use prost_reflect::DescriptorPool;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::client::Client;
use reference::Defined;
use resource::{KINDS, Resource};
use yaml::Place;

/// A resource and the file it came from.
#[derive(Debug)]
pub struct Sourced {
    /// The file.
    pub file: PathBuf,
    /// What stands in it.
    pub resource: Resource,
}

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

/// What became of a resource.
#[derive(Debug)]
pub struct Applied {
    /// The kind.
    pub kind: &'static str,
    /// The name.
    pub name: String,
    /// The version it has now; of a dry run, the version it would follow on. Absent where a
    /// dry run cannot tell: the resource refers to what the same call defines.
    pub version: Option<i64>,
}

/// The YAML files that a path stands for: itself, or all `.yaml`/`.yml` below it by name.
///
/// # Errors
/// When it cannot be read.
pub fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let entries = std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    for entry in entries {
        let entry = entry?.path();
        let is_yaml = entry.extension().is_some_and(|end| end == "yaml" || end == "yml");
        if entry.is_dir() {
            found.extend(files(&entry)?);
        } else if is_yaml {
            found.push(entry);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads resources from files, in the order in which they are applied.
///
/// # Errors
/// Everything that is wrong in any of them.
pub fn read(files: &[PathBuf], pool: &DescriptorPool) -> Result<Vec<Sourced>, Vec<Finding>> {
    let mut resources = Vec::new();
    let mut findings = Vec::new();
    for file in files {
        match std::fs::read_to_string(file) {
            Ok(text) => match read_text(file, &text, pool) {
                Ok(found) => resources.extend(found),
                Err(found) => findings.extend(found),
            },
            Err(error) => {
                findings.push(Finding {
                    file: Some(file.clone()),
                    place: None,
                    message: error.to_string(),
                });
            }
        }
    }
    resources.sort_by_key(|sourced: &Sourced| {
        KINDS.iter().position(|kind| kind.kind == sourced.resource.kind.kind)
    });
    if findings.is_empty() { Ok(resources) } else { Err(findings) }
}

/// Reads the resources of one text.
///
/// # Errors
/// Everything that is wrong in it.
pub fn read_text(
    file: &Path,
    text: &str,
    pool: &DescriptorPool,
) -> Result<Vec<Sourced>, Vec<Finding>> {
    let documents = yaml::parse(text).map_err(|error| {
        let at = error.location();
        let place = at.map(|at| Place { line: at.line(), column: at.column() });
        vec![Finding { file: Some(file.to_owned()), place, message: first_line(&error) }]
    })?;
    let mut resources = Vec::new();
    let mut findings = Vec::new();
    for document in &documents {
        match resource::read(document, pool) {
            Ok(resource) => resources.push(Sourced { file: file.to_owned(), resource }),
            Err(problems) => findings.extend(problems.into_iter().map(|problem| Finding {
                file: Some(file.to_owned()),
                place: Some(problem.place),
                message: problem.message,
            })),
        }
    }
    if findings.is_empty() { Ok(resources) } else { Err(findings) }
}

fn first_line(error: &serde_saphyr::Error) -> String {
    error.to_string().lines().next().unwrap_or("not valid YAML").to_owned()
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
    let checked = check(client, pool, resources).await?;
    if dry_run {
        return Ok(checked);
    }
    let mut saved = Vec::new();
    for sourced in resources {
        match send(client, pool, sourced, false).await {
            Ok(version) => saved.push(applied(sourced, version)),
            Err(refusal) => {
                let mut findings = refusal.findings(client, sourced);
                findings.push(saved_before(&saved));
                return Err(findings);
            }
        }
    }
    Ok(saved)
}

async fn check(
    client: &mut Client,
    pool: &DescriptorPool,
    resources: &[Sourced],
) -> Result<Vec<Applied>, Vec<Finding>> {
    let defined = Defined::by(resources.iter().map(|sourced| &sourced.resource));
    let mut checked = Vec::new();
    let mut findings = reference::defined_twice(resources);
    for sourced in resources {
        let refusal = match send(client, pool, sourced, true).await {
            Ok(version) => {
                checked.push(applied(sourced, version));
                continue;
            }
            Err(refusal) => refusal,
        };
        if refusal.is_of_the_call() {
            // Every other resource would be told the same.
            return Err(refusal.findings(client, sourced));
        }
        match refusal.without_missing(&sourced.resource, &defined) {
            Some(rest) => findings.extend(rest.findings(client, sourced)),
            None => checked.push(applied(sourced, None)),
        }
    }
    if findings.is_empty() { Ok(checked) } else { Err(findings) }
}

fn applied(sourced: &Sourced, version: Option<i64>) -> Applied {
    Applied { kind: sourced.resource.kind.kind, name: sourced.resource.name.clone(), version }
}

fn saved_before(saved: &[Applied]) -> Finding {
    let names: Vec<String> =
        saved.iter().map(|applied| format!("{} {}", applied.kind, applied.name)).collect();
    let message = match names.as_slice() {
        [] => "nothing was saved".to_owned(),
        names => format!("saved before this: {}", names.join(", ")),
    };
    Finding { file: None, place: None, message }
}

/// Asks the service to check a resource, or to save it; answers its version.
async fn send(
    client: &mut Client,
    pool: &DescriptorPool,
    sourced: &Sourced,
    validate_only: bool,
) -> Result<Option<i64>, Refusal> {
    let resource = &sourced.resource;
    let malformed = |error: anyhow::Error| Refusal::from(Status::internal(error.to_string()));
    let request = resource.request(pool, validate_only).map_err(malformed)?;
    let method = resource.method(pool).map_err(malformed)?;
    let response = client.call(&method, request).await?;
    Ok(Some(resource.version_in(&response).unwrap_or_default()))
}

/// Why a resource was not taken.
struct Refusal {
    status: Status,
    /// Path below the resource, and what is wrong there.
    violations: Vec<(String, String)>,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.clone());
        let violations = violations.unwrap_or_default().into_iter();
        let violations =
            violations.map(|violation| (violation.field, violation.description)).collect();
        Self { status, violations }
    }
}

impl Refusal {
    /// Whether it is about the connection or the token, not about the resource.
    fn is_of_the_call(&self) -> bool {
        matches!(
            self.status.code(),
            Code::Unavailable | Code::Unauthenticated | Code::PermissionDenied
        )
    }

    /// The rest of it, without what only misses names that this call defines.
    fn without_missing(mut self, resource: &Resource, defined: &Defined) -> Option<Self> {
        let had_violations = !self.violations.is_empty();
        self.violations
            .retain(|(field, text)| !defined.is_missed(resource, below(resource, field), text));
        (!had_violations || !self.violations.is_empty()).then_some(self)
    }

    /// What it says, each part at the line of the field it names.
    fn findings(&self, client: &Client, sourced: &Sourced) -> Vec<Finding> {
        if self.is_of_the_call() {
            let message = self.about_the_call(client.address());
            return vec![Finding { file: None, place: None, message }];
        }
        let resource = &sourced.resource;
        let what = format!("{} {}", resource.kind.kind, resource.name);
        let at = |place, message| Finding {
            file: Some(sourced.file.clone()),
            place: Some(place),
            message,
        };
        if self.violations.is_empty() {
            return vec![at(resource.node.place, format!("{what}: {}", self.status.message()))];
        }
        let violations = self.violations.iter().map(|(field, text)| {
            let path = below(resource, field);
            at(resource.node.place_of(path), format!("{what}: {path}: {text}"))
        });
        violations.collect()
    }

    fn about_the_call(&self, address: &str) -> String {
        use std::error::Error as _;
        let said = self.status.message();
        // What the connection says has a source; what a server says has none.
        let is_ours = self.status.source().is_some();
        match self.status.code() {
            Code::Unavailable if is_ours => {
                format!("nothing answers at {address}: is `rapport up` running?")
            }
            Code::Unavailable => format!("{address} cannot do it now: {said}"),
            _ => format!("the token is refused ({said}): make one with `rapport token`"),
        }
    }
}

/// The path of a violation below its resource.
fn below<'a>(resource: &Resource, field: &'a str) -> &'a str {
    let below = field.strip_prefix(resource.kind.field);
    below.and_then(|rest| rest.strip_prefix('.')).unwrap_or(field)
}
