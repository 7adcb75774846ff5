//! The declarations of attributes.

use ::store::TokenSealer;
use ::store::page_token::Scope;
use ::store::resource::{Change, Origin};
use contracts::common::v1::ResourceMeta;
use contracts::profile::v1 as wire;
use jiff::Timestamp;
use kernel::{Violations, page};
use server::Call;

use super::time::timestamp;
use crate::app::Shared;
use crate::app::declare::Declared;
use crate::domain::schema::{Declaration, Type};
use crate::error::Error;
use crate::events;

const LIST_TRAITS: &str = "rapport.profile.v1.ProfileService/ListTraits";

pub(super) async fn upsert(
    shared: &Shared,
    call: &Call,
    request: wire::UpsertTraitRequest,
) -> Result<wire::UpsertTraitResponse, Error> {
    let Some(definition) = request.r#trait else {
        return Err(Violations::of("trait", "must be set").into());
    };
    let r#type = match wire::TraitType::try_from(definition.r#type) {
        Ok(wire::TraitType::String) => Type::String,
        Ok(wire::TraitType::Number) => Type::Number,
        Ok(wire::TraitType::Boolean) => Type::Boolean,
        Ok(wire::TraitType::Time) => Type::Time,
        Ok(wire::TraitType::Unspecified) | Err(_) => {
            return Err(Violations::of("trait.type", "must be one of the trait types").into());
        }
    };
    let declaration =
        Declaration { r#type, personal: definition.personal, description: definition.description };
    let change = Change {
        etag: (!request.etag.is_empty()).then_some(request.etag.as_str()),
        validate_only: request.validate_only,
        now: Timestamp::now(),
        origin: Origin::new(&call.principal().subject, &request.change_id)?,
    };
    let name = &definition.name;
    let declared = shared.declare(call.tenant(), name, declaration, change).await?;
    Ok(wire::UpsertTraitResponse { r#trait: Some(to_wire(declared)) })
}

pub(super) async fn get(
    shared: &Shared,
    call: &Call,
    request: &wire::GetTraitRequest,
) -> Result<wire::GetTraitResponse, Error> {
    let declared = shared.declared(call.tenant(), &request.name).await?;
    Ok(wire::GetTraitResponse { r#trait: Some(to_wire(declared)) })
}

pub(super) async fn list(
    shared: &Shared,
    tokens: &TokenSealer,
    call: &Call,
    request: &wire::ListTraitsRequest,
) -> Result<wire::ListTraitsResponse, Error> {
    let size = page::size(request.page_size)?;
    let scope = Scope { tenant: call.tenant(), method: LIST_TRAITS, filter: &[] };
    let position = tokens.page(&scope, &request.page_token)?.unwrap_or_default();
    let after = String::from_utf8_lossy(&position);
    let (declared, has_more) = shared.declarations(call.tenant(), &after, size).await?;
    let next_page_token = match declared.last().filter(|_| has_more) {
        Some(last) => tokens.seal(&scope, last.name.as_bytes())?,
        None => String::new(),
    };
    let traits = declared.into_iter().map(to_wire).collect();
    Ok(wire::ListTraitsResponse { traits, next_page_token })
}

pub(super) async fn delete(
    shared: &Shared,
    call: &Call,
    request: &wire::DeleteTraitRequest,
) -> Result<wire::DeleteTraitResponse, Error> {
    let origin = Origin::new(&call.principal().subject, &request.change_id)?;
    let etag = (!request.etag.is_empty()).then_some(request.etag.as_str());
    let change = Change { etag, ..Change::at(Timestamp::now()).by(origin) };
    shared.undeclare(call.tenant(), &request.name, change).await?;
    Ok(wire::DeleteTraitResponse {})
}

fn to_wire(declared: Declared) -> wire::TraitDefinition {
    wire::TraitDefinition {
        name: declared.name,
        r#type: events::trait_type(declared.declaration.r#type) as i32,
        personal: declared.declaration.personal,
        description: declared.declaration.description,
        meta: Some(ResourceMeta {
            version: declared.version,
            etag: declared.etag,
            update_time: declared.update_time.map(|time| timestamp(time.as_microsecond())),
        }),
    }
}
