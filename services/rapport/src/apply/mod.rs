//! `rapport apply`: configuration as code. Reads YAML files, checks every document against
//! the contracts, asks the services to check them too, and only then saves them. What is
//! wrong is said with file, line and column; a file with one mistake changes nothing.

pub mod resource;
pub mod yaml;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use prost_reflect::DescriptorPool;
use tonic_types::StatusExt as _;

use crate::client::Client;
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
    /// The file.
    pub file: PathBuf,
    /// The place in it, if it is known.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place {
            Some(place) => write!(
                f,
                "{}:{}:{}: {}",
                self.file.display(),
                place.line,
                place.column,
                self.message
            ),
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

/// What became of a resource.
#[derive(Debug)]
pub struct Applied {
    /// The kind.
    pub kind: &'static str,
    /// The name.
    pub name: String,
    /// The version it has now; of a dry run, the version it would follow on.
    pub version: i64,
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
                    file: file.clone(),
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
        vec![Finding { file: file.to_owned(), place, message: first_line(&error) }]
    })?;
    let mut resources = Vec::new();
    let mut findings = Vec::new();
    for document in &documents {
        match resource::read(document, pool) {
            Ok(resource) => resources.push(Sourced { file: file.to_owned(), resource }),
            Err(problems) => findings.extend(problems.into_iter().map(|problem| Finding {
                file: file.to_owned(),
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

/// Has every resource checked by its service, then saves all of them unless `dry_run`.
/// Resources that refer to others of the same call are checked when they are saved.
///
/// # Errors
/// What the services refuse, with file and line; nothing after it is saved.
pub async fn apply(
    client: &mut Client,
    pool: &DescriptorPool,
    resources: &[Sourced],
    dry_run: bool,
) -> Result<Vec<Applied>, Vec<Finding>> {
    let mut applied = Vec::new();
    for sourced in resources {
        let resource = &sourced.resource;
        let failed =
            |message: String| vec![Finding { file: sourced.file.clone(), place: None, message }];
        let request = resource.request(pool, dry_run).map_err(|error| failed(error.to_string()))?;
        let method = resource.method(pool).map_err(|error| failed(error.to_string()))?;
        match client.call(&method, request).await {
            Ok(response) => applied.push(Applied {
                kind: resource.kind.kind,
                name: resource.name.clone(),
                version: resource.version_in(&response).unwrap_or_default(),
            }),
            Err(status) => return Err(findings_of(sourced, &status)),
        }
    }
    Ok(applied)
}

/// A server's violations, each at the line of the field it names.
fn findings_of(sourced: &Sourced, status: &tonic::Status) -> Vec<Finding> {
    let resource = &sourced.resource;
    let what = format!("{} {}", resource.kind.kind, resource.name);
    let details = status.get_error_details();
    let violations =
        details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or(&[]);
    if violations.is_empty() {
        return vec![Finding {
            file: sourced.file.clone(),
            place: Some(resource.node.place),
            message: format!("{what}: {}", status.message()),
        }];
    }
    let at_line = |violation: &tonic_types::FieldViolation| {
        let prefix = format!("{}.", resource.kind.field);
        let path = violation.field.strip_prefix(&prefix).unwrap_or(&violation.field);
        Finding {
            file: sourced.file.clone(),
            place: Some(resource.node.place_of(path)),
            message: format!("{what}: {path}: {}", violation.description),
        }
    };
    violations.iter().map(at_line).collect()
}
