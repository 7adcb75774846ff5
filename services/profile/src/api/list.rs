//! ListProfiles and ExportProfiles: all profiles of a tenant, in the order of their ids.

use ::store::TokenSealer;
use ::store::page_token::Scope;
use contracts::profile::v1 as wire;
use kernel::{CustomerId, Violations, page};
use prost::Message as _;
use prost_types::Timestamp;
use server::Call;

use super::profile::to_wire;
use super::time::as_of;
use crate::app::Shared;
use crate::error::Error;

const LIST: &str = "rapport.profile.v1.ProfileService/ListProfiles";
const EXPORT: &str = "rapport.profile.v1.ProfileService/ExportProfiles";
/// What one look at the database reads; a state has up to 96 KiB.
const MOST: usize = 200;
/// An answer that is at least so long is the whole page: clients take 4 MiB.
const LONG_BYTES: usize = 2 << 20;

pub(super) async fn plain(
    shared: &Shared,
    tokens: &TokenSealer,
    call: &Call,
    request: &wire::ListProfilesRequest,
) -> Result<wire::ListProfilesResponse, Error> {
    let asked = Asked {
        method: LIST,
        size: request.page_size,
        token: &request.page_token,
        as_of: request.as_of_time.as_ref(),
        with_personal: false,
    };
    let (profiles, next_page_token) = asked.page(shared, tokens, call).await?;
    Ok(wire::ListProfilesResponse { profiles, next_page_token })
}

pub(super) async fn whole(
    shared: &Shared,
    tokens: &TokenSealer,
    call: &Call,
    request: &wire::ExportProfilesRequest,
) -> Result<wire::ExportProfilesResponse, Error> {
    let asked = Asked {
        method: EXPORT,
        size: request.page_size,
        token: &request.page_token,
        as_of: request.as_of_time.as_ref(),
        with_personal: true,
    };
    let (profiles, next_page_token) = asked.page(shared, tokens, call).await?;
    Ok(wire::ExportProfilesResponse { profiles, next_page_token })
}

/// What both requests say.
struct Asked<'a> {
    method: &'static str,
    size: i32,
    token: &'a str,
    as_of: Option<&'a Timestamp>,
    with_personal: bool,
}

impl Asked<'_> {
    async fn page(
        &self,
        shared: &Shared,
        tokens: &TokenSealer,
        call: &Call,
    ) -> Result<(Vec<wire::Profile>, String), Error> {
        let mut violations = Violations::new();
        let now_us = as_of(&mut violations, self.as_of);
        let Some(now_us) = now_us else { return Err(violations.into()) };
        let size = page::size(self.size)?.min(MOST);
        let scope = Scope { tenant: call.tenant(), method: self.method, filter: &[] };
        let position = tokens.page(&scope, self.token)?;
        let after = position.and_then(|bytes| CustomerId::from_slice(&bytes).ok());

        let schema = shared.schema(call.tenant()).await?;
        let read = shared.profiles_after(call.tenant(), after, size, self.with_personal).await?;
        let (mut profiles, mut bytes, mut next) = (Vec::new(), 0, read.last);
        for (position, profile) in read.profiles.iter().enumerate() {
            let message = to_wire(profile, &schema, now_us);
            bytes += message.encoded_len();
            profiles.push(message);
            if bytes >= LONG_BYTES && position + 1 < read.profiles.len() {
                next = Some(profile.customer);
                break;
            }
        }
        let next_page_token = match next {
            Some(last) => tokens.seal(&scope, last.as_bytes())?,
            None => String::new(),
        };
        Ok((profiles, next_page_token))
    }
}
