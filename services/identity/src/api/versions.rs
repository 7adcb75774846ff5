//! ListResourceVersions.

use ::store::history::{self, PageError, Version, Wanted};
use contracts::common::v1::ResourceVersion;
use contracts::identity::v1::{
    IdentityRules, ListResourceVersionsRequest, ListResourceVersionsResponse,
};
use contracts::json;
use kernel::TenantId;
use server::Call;

use super::{parse, rules};
use crate::Error;
use crate::app::{App, RulesMeta};

const LIST: &str = "rapport.identity.v1.IdentityService/ListResourceVersions";

pub(super) async fn list(
    app: &App,
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
    let page = history::page(app.database(), app.tokens(), call.tenant(), &wanted).await;
    let page = page.map_err(|error| match error {
        PageError::Invalid(violations) => Error::Invalid(violations),
        PageError::Store(error) => error.into(),
    })?;
    let mut versions = Vec::with_capacity(page.versions.len());
    for version in page.versions {
        let body_json = body(app, call.tenant(), &version).await.unwrap_or_default();
        versions.push(ResourceVersion {
            kind: version.kind,
            name: version.name,
            version: version.version,
            etag: version.etag,
            create_time: Some(parse::time(version.time)),
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
async fn body(app: &App, tenant: TenantId, version: &Version) -> Option<String> {
    let draft = app.rules().reread(tenant, &version.body).await?;
    let rules = rules::message(draft, RulesMeta::default());
    json("rapport.identity.v1.IdentityRules", &IdentityRules { meta: None, ..rules })
}
