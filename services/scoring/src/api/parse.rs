//! Fields that several requests have, and times on the wire.

use ::store::page_token::Scope;
use ::store::resource::{Saved, Stored};
use ::store::{Resource, TokenSealer};
use contracts::common::v1::ResourceMeta;
use contracts::profile::v1::TraitDefinition;
use contracts::scoring::v1::Threshold;
use kernel::{CustomerId, TenantId, Violations, page};
use prost_types::Timestamp;

use crate::domain::{ThresholdSpec, TraitKind};
use crate::error::Error;

/// 0001-01-01 and the second after 9999-12-31, as `google.protobuf.Timestamp` says.
const SECONDS: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

/// An optional instant, in microseconds since 1970.
pub(super) fn time(
    field: &str,
    time: Option<Timestamp>,
    violations: &mut Violations,
) -> Option<i64> {
    let time = time?;
    if !SECONDS.contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        violations.add(field, "must be between the years 1 and 9999, with 0 to 999,999,999 nanos");
        return None;
    }
    Some(time.seconds * 1_000_000 + i64::from(time.nanos / 1_000))
}

/// Microseconds since 1970 on the wire.
pub(super) fn timestamp(us: i64) -> Timestamp {
    let nanos = us.rem_euclid(1_000_000) as i32 * 1_000;
    Timestamp { seconds: us.div_euclid(1_000_000), nanos }
}

pub(super) fn customer(field: &str, text: &str, violations: &mut Violations) -> Option<CustomerId> {
    violations.check(field, text.parse())
}

pub(super) fn name(field: &str, name: &str, violations: &mut Violations) {
    if !kernel::id::is_resource_name(name) {
        violations.add(field, kernel::id::NotAName.to_string());
    }
}

/// A required sub-message that is missing.
pub(super) fn missing(field: &str) -> Error {
    Violations::of(field, "must be set").into()
}

/// The attributes that a check takes as declared; personal ones are not to be read.
pub(super) fn assumed(
    (traits, validate_only): (Vec<TraitDefinition>, bool),
    violations: &mut Violations,
) -> Vec<(String, Option<TraitKind>)> {
    if !traits.is_empty() && !validate_only {
        violations.add("assumed_traits", "must be empty unless validate_only is set");
    }
    let kind = |number: i32| TraitKind::from_number(i16::try_from(number).ok()?);
    let read = |one: TraitDefinition| {
        let kind = kind(one.r#type).filter(|_| !one.personal);
        (one.name, kind)
    };
    traits.into_iter().map(read).collect()
}

pub(super) fn etag(etag: String) -> Option<String> {
    (!etag.is_empty()).then_some(etag)
}

pub(super) fn thresholds(thresholds: Vec<Threshold>) -> Vec<ThresholdSpec> {
    let spec =
        |threshold: Threshold| ThresholdSpec { name: threshold.name, value: threshold.value };
    thresholds.into_iter().map(spec).collect()
}

pub(super) fn thresholds_out(thresholds: Vec<ThresholdSpec>) -> Vec<Threshold> {
    let proto = |spec: ThresholdSpec| Threshold { name: spec.name, value: spec.value };
    thresholds.into_iter().map(proto).collect()
}

pub(super) fn meta_of_saved(saved: Saved) -> ResourceMeta {
    let update_time = Some(timestamp(saved.update_time.as_microsecond()));
    ResourceMeta { version: saved.version, etag: saved.etag, update_time }
}

pub(super) fn meta<R: Resource>(stored: &Stored<R>) -> ResourceMeta {
    let update_time = Some(timestamp(stored.update_time.as_microsecond()));
    ResourceMeta { version: stored.version, etag: stored.etag.clone(), update_time }
}

/// A page of resources by name: how many, and after which.
pub(super) struct Page {
    pub(super) size: usize,
    pub(super) after: String,
}

/// Reads the two fields of a List request.
pub(super) fn page(
    tokens: &TokenSealer,
    tenant: TenantId,
    method: &str,
    (page_size, page_token): (i32, &str),
) -> Result<Page, Error> {
    let scope = Scope { tenant, method, filter: b"" };
    let mut violations = Violations::new();
    let size = page::size(page_size);
    let after = tokens.page(&scope, page_token);
    match (size, after) {
        (Ok(size), Ok(after)) => {
            let after = String::from_utf8(after.unwrap_or_default()).unwrap_or_default();
            return Ok(Page { size, after });
        }
        (size, after) => {
            for wrong in [size.err(), after.err()].into_iter().flatten().flatten() {
                violations.add(wrong.field, wrong.description);
            }
        }
    }
    Err(violations.into())
}

/// The token of the page after one that ends with `last`; empty if that is the last.
pub(super) fn next_page(
    tokens: &TokenSealer,
    tenant: TenantId,
    method: &str,
    last: Option<&str>,
) -> Result<String, Error> {
    let Some(last) = last else { return Ok(String::new()) };
    Ok(tokens.seal(&Scope { tenant, method, filter: b"" }, last.as_bytes())?)
}

/// Cuts one item more than a page off: its presence says that there is another page.
pub(super) fn cut<T>(items: &mut Vec<T>, size: usize) -> bool {
    let more = items.len() > size;
    items.truncate(size);
    more
}
