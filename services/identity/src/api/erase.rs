//! EraseCustomer, GetErasure, ListErasures.

use contracts::identity::v1::erase_customer_request::Key as RequestKey;
use contracts::identity::v1::{
    EraseCustomerRequest, EraseCustomerResponse, Erasure, ErasureReceipt, ErasureState,
    GetErasureRequest, GetErasureResponse, ListErasuresRequest, ListErasuresResponse,
};
use kernel::{Violations, page};
use prost::Message;
use server::Call;
use server::layers::trace;
use uuid::Uuid;

use super::parse;
use crate::app::{App, ErasureView, Key, Petition};
use crate::{Error, NAME};

const ERASE: &str = "rapport.identity.v1.IdentityService/EraseCustomer";

pub(super) async fn erase(
    app: &App,
    call: &Call,
    request: EraseCustomerRequest,
) -> Result<EraseCustomerResponse, Error> {
    let mut violations = Violations::new();
    let key = match &request.key {
        Some(RequestKey::CustomerId(text)) => {
            violations.check("customer_id", text.parse()).map(Key::Id)
        }
        Some(RequestKey::Identifier(one)) => {
            Some(Key::Identifier(one.namespace.clone(), one.value.clone()))
        }
        None => {
            violations.add("customer_id", "one of customer_id and identifier must be set");
            None
        }
    };
    let request_id = parse::request_id(&mut violations, &request.request_id);
    let (Some(key), true) = (key, violations.is_empty()) else { return Err(violations.into()) };
    if request.validate_only {
        let view = app.would_erase(call.tenant(), &key).await?;
        return Ok(EraseCustomerResponse { erasure: Some(erasure(&view)) });
    }
    let petition = Petition {
        tenant: call.tenant(),
        principal: &call.principal().subject,
        method: ERASE,
        request: request_id.map(|id| (id, request.encode_to_vec())),
        traceparent: trace::traceparent(),
    };
    let view = app.erase(&petition, &key).await?;
    Ok(EraseCustomerResponse { erasure: Some(erasure(&view)) })
}

pub(super) async fn get(
    app: &App,
    call: &Call,
    request: &GetErasureRequest,
) -> Result<GetErasureResponse, Error> {
    let mut violations = Violations::new();
    let id = violations.check("erasure_id", Uuid::try_parse(&request.erasure_id));
    let Some(id) = id else { return Err(violations.into()) };
    let view = app.erasure(call.tenant(), id).await?;
    Ok(GetErasureResponse { erasure: Some(erasure(&view)) })
}

pub(super) async fn list(
    app: &App,
    call: &Call,
    request: &ListErasuresRequest,
) -> Result<ListErasuresResponse, Error> {
    let size = page::size(request.page_size)?;
    let page = app.erasures(call.tenant(), (size, &request.page_token)).await?;
    let erasures = page.erasures.iter().map(erasure).collect();
    Ok(ListErasuresResponse { erasures, next_page_token: page.next_page_token })
}

fn erasure(view: &ErasureView) -> Erasure {
    let time = |us: i64| parse::time(::store::time::from_micros(us));
    let receipt = |service: &str, done_us: Option<i64>| ErasureReceipt {
        service: service.to_owned(),
        state: state(done_us.is_some()).into(),
        done_time: done_us.map(time),
    };
    let is_done = view.done_us.iter().all(|(_, done_us)| done_us.is_some());
    let mut receipts = Vec::with_capacity(view.done_us.len() + 1);
    if view.id.is_some() {
        receipts.push(receipt(NAME, Some(view.erased_us)));
    }
    receipts.extend(view.done_us.iter().map(|(service, done_us)| receipt(service, *done_us)));
    Erasure {
        erasure_id: view.id.map(|id| id.to_string()).unwrap_or_default(),
        customer_id: view.customer.to_string(),
        merged_customer_ids: view.merged.iter().map(ToString::to_string).collect(),
        evidence_count: i32::try_from(view.evidence_count).unwrap_or(i32::MAX),
        erase_time: view.id.map(|_| time(view.erased_us)),
        state: view.id.map_or(ErasureState::Unspecified, |_| state(is_done)).into(),
        receipts,
    }
}

const fn state(is_done: bool) -> ErasureState {
    if is_done { ErasureState::Done } else { ErasureState::Pending }
}
