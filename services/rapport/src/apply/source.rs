//! Reading files: every document that is right, and everything that is wrong with the others.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use prost_reflect::DescriptorPool;

use super::resource::{self, Resource};
use super::yaml::{self, Place};
use super::{Finding, reference};

/// A resource and the file it came from.
#[derive(Debug)]
pub struct Sourced {
    /// The file.
    pub file: PathBuf,
    /// What stands in it.
    pub resource: Resource,
}

/// What some files say.
#[derive(Debug, Default)]
pub struct Set {
    /// What is well formed, in the order in which it is applied.
    pub resources: Vec<Sourced>,
    /// What is right about the others: their names are defined, whatever else they lack.
    pub broken: Vec<Sourced>,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
    /// Some document does not say what it defines, so a name that is missing may be in it.
    pub is_partial: bool,
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

/// Reads all files, the mistakes of one notwithstanding.
#[must_use]
pub fn read_all(files: &[PathBuf], pool: &DescriptorPool) -> Set {
    let mut set = Set::default();
    for file in files {
        match std::fs::read_to_string(file) {
            Ok(text) => set.add(file, &text, pool),
            Err(error) => set.lose(file, None, error.to_string()),
        }
    }
    set.judged()
}

/// Reads resources from files, in the order in which they are applied.
///
/// # Errors
/// Everything that is wrong in any of them.
pub fn read(files: &[PathBuf], pool: &DescriptorPool) -> Result<Vec<Sourced>, Vec<Finding>> {
    read_all(files, pool).into_resources()
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
    let mut set = Set::default();
    set.add(file, text, pool);
    set.judged().into_resources()
}

impl Set {
    fn into_resources(self) -> Result<Vec<Sourced>, Vec<Finding>> {
        if self.findings.is_empty() { Ok(self.resources) } else { Err(self.findings) }
    }

    fn add(&mut self, file: &Path, text: &str, pool: &DescriptorPool) {
        let documents = match yaml::parse(text) {
            Ok(documents) => documents,
            Err(error) => {
                let at = error.location();
                let place = at.map(|at| Place { line: at.line(), column: at.column() });
                return self.lose(file, place, first_line(&error));
            }
        };
        let sourced = |resource| Sourced { file: file.to_owned(), resource };
        for document in &documents {
            let broken = match resource::read(document, pool) {
                Ok(resource) => {
                    self.resources.push(sourced(resource));
                    continue;
                }
                Err(broken) => broken,
            };
            match broken.rest {
                Some(rest) => self.broken.push(sourced(*rest)),
                None => self.is_partial = true,
            }
            self.findings.extend(broken.problems.into_iter().map(|problem| Finding {
                file: Some(file.to_owned()),
                place: Some(problem.place),
                message: problem.message,
            }));
        }
    }

    fn lose(&mut self, file: &Path, place: Option<Place>, message: String) {
        self.is_partial = true;
        self.findings.push(Finding { file: Some(file.to_owned()), place, message });
    }

    /// With what the documents say about each other.
    fn judged(mut self) -> Self {
        self.findings.extend(reference::contradictions(&self));
        self.resources.sort_by_key(|sourced| sourced.resource.kind.rank());
        self
    }
}

fn first_line(error: &serde_saphyr::Error) -> String {
    error.to_string().lines().next().unwrap_or("not valid YAML").to_owned()
}
