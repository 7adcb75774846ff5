//! What is to become of which resource: asked of the services first, for all of them, and only
//! then done. Both `apply` and `rollback` are a list of [`Target`]s.
//!
//! Each change insists on the version that was read when it was planned, so of two people who
//! change the same resource at once the second is told, and overwrites nothing.

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value as Proto};
use tonic::Status;

use super::history::{self, Current, Versions};
use super::kind::{ResourceKind, rpc};
use super::reference::Assumed;
use super::refusal::Refusal;
use super::source::{Set, Sourced};
use super::{Applied, Finding, Outcome};
use crate::client::Client;

/// What a resource is to be.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// Its kind.
    pub kind: &'static ResourceKind,
    /// Its name.
    pub name: &'a str,
    /// What it is to say; nothing if it is to be deleted.
    pub message: Option<&'a DynamicMessage>,
    /// Where that stands, if in a file.
    pub sourced: Option<&'a Sourced>,
    /// The message of its kind.
    pub(super) descriptor: Option<MessageDescriptor>,
}

impl<'a> Target<'a> {
    /// What a file says.
    #[must_use]
    pub fn of_file(sourced: &'a Sourced) -> Self {
        let resource = &sourced.resource;
        Self {
            kind: resource.kind,
            name: &resource.name,
            message: Some(&resource.message),
            sourced: Some(sourced),
            descriptor: None,
        }
    }
}

/// A target and what it means for what is there.
#[derive(Debug)]
pub struct Step<'a> {
    /// What is wanted.
    pub target: Target<'a>,
    /// What is there.
    pub now: Current,
    /// What will be there, as the service understood it.
    pub then: Option<DynamicMessage>,
    /// The version that it will have, or has if nothing changes.
    pub version: i64,
}

impl Step<'_> {
    /// Whether there is anything to do.
    #[must_use]
    pub fn is_change(&self) -> bool {
        match self.then {
            Some(_) => self.now.message.is_none() || self.version != self.now.version,
            None => self.now.is_there(),
        }
    }
}

/// Has all targets checked by their services.
///
/// # Errors
/// Everything that the checks find.
pub async fn check<'a>(
    client: &mut Client,
    pool: &DescriptorPool,
    targets: &[Target<'a>],
    set: Option<&Set>,
) -> Result<Vec<Step<'a>>, Vec<Finding>> {
    let assumed = Assumed::by(targets, set);
    let mut steps = Vec::new();
    let mut findings = Vec::new();
    for target in targets {
        if !assumed.suffices_for(target.kind.kind) {
            continue;
        }
        match step(client, pool, target, &assumed).await {
            Ok(step) => steps.push(step),
            // Every other resource would be told the same.
            Err(refusal) if refusal.is_of_the_call() => {
                return Err(refusal.findings(client, target));
            }
            Err(refusal) => findings.extend(refusal.findings(client, target)),
        }
    }
    if findings.is_empty() { Ok(steps) } else { Err(findings) }
}

async fn step<'a>(
    client: &mut Client,
    pool: &DescriptorPool,
    target: &Target<'a>,
    assumed: &Assumed,
) -> Result<Step<'a>, Refusal> {
    let mut versions = Versions::new(client, pool);
    let now = history::current(&mut versions, target.kind, target.name).await?;
    let Some(message) = target.message else {
        if target.kind.delete.is_none() && now.is_there() {
            let text = "has no earlier version to go back to, and cannot be deleted";
            return Err(Status::failed_precondition(text).into());
        }
        let version = now.version + i64::from(now.is_there());
        return Ok(Step { target: target.clone(), now, then: None, version });
    };
    let mut request = request(pool, target, message)?;
    set(&mut request, "validate_only", Proto::Bool(true))?;
    assumed
        .tell(target.kind.kind, &mut request)
        .map_err(|error| Status::internal(error.to_string()))?;
    let method = rpc(pool, target.kind.service, target.kind.method)?;
    let response = client.call(&method, request).await?;
    let mut then = answered(&response).unwrap_or_else(|| message.clone());
    let version = version_of(&then);
    target.kind.strip(&mut then);
    Ok(Step { target: target.clone(), now, then: Some(then), version })
}

/// Does what was planned, as one change: saves in the order of the steps, then deletes in the
/// reverse order.
///
/// # Errors
/// Why a service refused after all, and what was done before.
pub async fn save(
    client: &mut Client,
    pool: &DescriptorPool,
    steps: &[Step<'_>],
    change_id: &str,
) -> Result<Vec<Applied>, Vec<Finding>> {
    let mut done: Vec<Applied> = Vec::new();
    let saved = steps.iter().filter(|step| step.then.is_some());
    let deleted = steps.iter().rev().filter(|step| step.then.is_none());
    for step in saved.chain(deleted) {
        let target = &step.target;
        if !step.is_change() {
            done.push(applied(step, step.version, Outcome::Unchanged));
            continue;
        }
        match change(client, pool, step, change_id).await {
            Ok((version, outcome)) => done.push(applied(step, version, outcome)),
            Err(refusal) => {
                let mut findings = refusal.findings(client, target);
                findings.push(done_before(&done, change_id));
                return Err(findings);
            }
        }
    }
    Ok(done)
}

async fn change(
    client: &mut Client,
    pool: &DescriptorPool,
    step: &Step<'_>,
    change_id: &str,
) -> Result<(i64, Outcome), Refusal> {
    let target = &step.target;
    let (mut request, method, outcome) = match target.message {
        Some(message) => (request(pool, target, message)?, target.kind.method, Outcome::Saved),
        None => {
            let delete = target.kind.delete.ok_or_else(|| {
                Status::failed_precondition("there is always one, it cannot be deleted")
            })?;
            let method = rpc(pool, target.kind.service, delete)?;
            let mut request = DynamicMessage::new(method.input());
            set(&mut request, "name", Proto::String(target.name.to_owned()))?;
            (request, delete, Outcome::Deleted)
        }
    };
    set(&mut request, "etag", Proto::String(step.now.etag.clone()))?;
    set(&mut request, "change_id", Proto::String(change_id.to_owned()))?;
    let method = rpc(pool, target.kind.service, method)?;
    let response = client.call(&method, request).await?;
    let version = answered(&response).map_or(step.version, |message| version_of(&message));
    Ok((version, outcome))
}

fn applied(step: &Step<'_>, version: i64, outcome: Outcome) -> Applied {
    Applied { kind: step.target.kind.kind, name: step.target.name.to_owned(), version, outcome }
}

fn done_before(done: &[Applied], change_id: &str) -> Finding {
    let changed = done.iter().filter(|applied| applied.outcome != Outcome::Unchanged);
    let names: Vec<String> =
        changed.map(|applied| format!("{} {}", applied.kind, applied.name)).collect();
    let message = match names.as_slice() {
        [] => "nothing was saved".to_owned(),
        names => format!(
            "saved before this, as change {change_id}: {}; run this again for the rest, or take it \
             back with `rapport apply rollback {change_id}`",
            names.join(", ")
        ),
    };
    Finding { file: None, place: None, message }
}

/// The request that saves a message.
fn request(
    pool: &DescriptorPool,
    target: &Target<'_>,
    message: &DynamicMessage,
) -> anyhow::Result<DynamicMessage> {
    let method = rpc(pool, target.kind.service, target.kind.method)?;
    let mut request = DynamicMessage::new(method.input());
    set(&mut request, target.kind.field, Proto::Message(message.clone()))?;
    Ok(request)
}

fn set(request: &mut DynamicMessage, field: &str, value: Proto) -> anyhow::Result<()> {
    request.try_set_field_by_name(field, value).map_err(|error| anyhow::anyhow!("{field}: {error}"))
}

/// The resource that a response carries.
fn answered(response: &DynamicMessage) -> Option<DynamicMessage> {
    use prost_reflect::ReflectMessage as _;
    let field = response.descriptor().fields().next()?;
    response.get_field(&field).as_message().cloned()
}

/// `meta.version`.
fn version_of(resource: &DynamicMessage) -> i64 {
    let version = resource
        .get_field_by_name("meta")
        .and_then(|meta| meta.as_message()?.get_field_by_name("version")?.as_i64());
    version.unwrap_or_default()
}
