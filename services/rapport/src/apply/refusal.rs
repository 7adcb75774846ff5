//! Why a service did not take a resource, in the words of whoever wrote the file.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::plan::Target;
use super::{Finding, ResourceKind};
use crate::client::Client;

/// Why a resource was not taken.
pub(super) struct Refusal {
    status: Status,
    /// Path in the request, and what is wrong there.
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

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::from(Status::internal(error.to_string()))
    }
}

impl Refusal {
    /// Whether it is about the connection or the token, not about the resource.
    pub(super) fn is_of_the_call(&self) -> bool {
        matches!(
            self.status.code(),
            Code::Unavailable | Code::Unauthenticated | Code::PermissionDenied
        )
    }

    /// What it says, each part at the line of the field it names.
    pub(super) fn findings(&self, client: &Client, target: &Target<'_>) -> Vec<Finding> {
        if self.is_of_the_call() {
            let message = about_the_call(&self.status, client.address());
            return vec![Finding { file: None, place: None, message }];
        }
        let what = format!("{} {}", target.kind.kind, target.name);
        let at = |path: &str, message| Finding {
            file: target.sourced.map(|sourced| sourced.file.clone()),
            place: target.sourced.map(|sourced| sourced.resource.node.place_of(path)),
            message,
        };
        // Somebody else's change came between reading and saving.
        if self.status.code() == Code::Aborted {
            let text = "was changed by somebody else just now: run this again (--diff shows what \
                        is different then)";
            return vec![at("", format!("{what} {text}"))];
        }
        if self.violations.is_empty() {
            return vec![at("", format!("{what}: {}", self.status.message()))];
        }
        let violations = self.violations.iter().map(|(field, text)| {
            let path = below(target.kind, field);
            at(path, format!("{what}: {path}: {text}"))
        });
        violations.collect()
    }
}

/// What a failed call means for whoever sits at the terminal.
pub(super) fn about_the_call(status: &Status, address: &str) -> String {
    use std::error::Error as _;
    let said = status.message();
    // What the connection says has a source; what a server says has none.
    let is_ours = status.source().is_some();
    match status.code() {
        Code::Unavailable if is_ours => {
            format!("nothing answers at {address}: is `rapport up` running?")
        }
        Code::Unavailable => format!("{address} cannot do it now: {said}"),
        Code::Unauthenticated | Code::PermissionDenied => {
            format!("the token is refused ({said}): make one with `rapport token`")
        }
        _ => format!("{address} says: {said}"),
    }
}

/// The path of a violation below its resource.
fn below<'a>(kind: &ResourceKind, field: &'a str) -> &'a str {
    let below = field.strip_prefix(kind.field);
    below.and_then(|rest| rest.strip_prefix('.')).unwrap_or(field)
}
