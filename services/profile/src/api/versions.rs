//! ListResourceVersions.

use ::store::history::{self, PageError, Version, Wanted};
use ::store::{Resource, TokenSealer};
use contracts::common::v1::ResourceVersion;
use contracts::json;
use contracts::profile::v1::{
    ListResourceVersionsRequest, ListResourceVersionsResponse, TraitDefinition,
};
use server::Call;

use super::time::timestamp;
use crate::app::Shared;
use crate::domain::schema::Declaration;
use crate::error::Error;
use crate::events;

const LIST: &str = "rapport.profile.v1.ProfileService/ListResourceVersions";

pub(super) async fn list(
    shared: &Shared,
    tokens: &TokenSealer,
    call: &Call,
    request: ListResourceVersionsRequest,
) -> Result<ListResourceVersionsResponse, Error> {
    let wanted = Wanted {
        method: LIST,
        kind: &request.kind,
        name: &request.name,
        change_id: &request.change_id,
        page_size: request.page_size,
        page_token: &request.page_token,
    };
    let page = history::page(&shared.database, tokens, call.tenant(), &wanted).await;
    let page = page.map_err(|error| match error {
        PageError::Invalid(violations) => Error::Invalid(violations),
        PageError::Store(error) => error.into(),
    })?;
    let mut versions = Vec::with_capacity(page.versions.len());
    for version in page.versions {
        let body_json = body(&version).unwrap_or_default();
        versions.push(ResourceVersion {
            kind: version.kind,
            name: version.name,
            version: version.version,
            etag: version.etag,
            create_time: Some(timestamp(version.time.as_microsecond())),
            author: version.author,
            change_id: version.change_id,
            deleted: version.deleted,
            current: version.current,
            body_json,
        });
    }
    Ok(ListResourceVersionsResponse { versions, next_page_token: page.next_page_token })
}

/// The resource without what is output only; nothing for what does not read back.
fn body(version: &Version) -> Option<String> {
    if version.kind != Declaration::KIND {
        return None;
    }
    let declaration: Declaration = serde_json::from_value(version.body.clone()).ok()?;
    let definition = TraitDefinition {
        name: version.name.clone(),
        r#type: events::trait_type(declaration.r#type) as i32,
        personal: declaration.personal,
        description: declaration.description,
        meta: None,
    };
    json("rapport.profile.v1.TraitDefinition", &definition)
}
