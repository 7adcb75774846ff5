//! GetCustomer, ListIdentifiers.

use contracts::identity::v1::get_customer_request::Key as RequestKey;
use contracts::identity::v1::{
    Customer, CustomerIdentifier, Evidence, GetCustomerRequest, GetCustomerResponse,
    ListIdentifiersRequest, ListIdentifiersResponse,
};
use kernel::{Violations, page};
use server::Call;

use super::parse;
use crate::Error;
use crate::app::{App, CustomerView, Key};

/// How much evidence of a customer is shown.
const SHOWN_EVIDENCE: usize = 100;

pub(super) async fn get(
    app: &App,
    call: &Call,
    request: GetCustomerRequest,
) -> Result<GetCustomerResponse, Error> {
    let mut violations = Violations::new();
    let key = match request.key {
        Some(RequestKey::CustomerId(text)) => {
            violations.check("customer_id", text.parse()).map(Key::Id)
        }
        Some(RequestKey::Identifier(one)) => Some(Key::Identifier(one.namespace, one.value)),
        None => {
            violations.add("customer_id", "one of customer_id and identifier must be set");
            None
        }
    };
    let Some(key) = key else { return Err(violations.into()) };
    let view = app.customer(call.tenant(), &key).await?;
    Ok(GetCustomerResponse { customer: Some(customer(&view)) })
}

fn customer(view: &CustomerView) -> Customer {
    let shown = view.evidence.iter().take(SHOWN_EVIDENCE).map(|row| Evidence {
        evidence_id: row.placed.evidence.id.to_string(),
        map_version: row.map_version,
        create_time: Some(parse::time(::store::time::from_micros(row.created_us))),
    });
    let evidence: Vec<Evidence> = shown.collect();
    Customer {
        customer_id: view.id.to_string(),
        create_time: evidence.first().and_then(|first| first.create_time),
        evidence_count: i32::try_from(view.evidence.len()).unwrap_or(i32::MAX),
        merged_customer_ids: view.merged.iter().map(ToString::to_string).collect(),
        evidence,
    }
}

pub(super) async fn list_identifiers(
    app: &App,
    call: &Call,
    request: ListIdentifiersRequest,
) -> Result<ListIdentifiersResponse, Error> {
    let mut violations = Violations::new();
    let id = violations.check("customer_id", request.customer_id.parse());
    let size = match page::size(request.page_size) {
        Ok(size) => Some(size),
        Err(wrong) => {
            for violation in wrong {
                violations.add(violation.field, violation.description);
            }
            None
        }
    };
    let (Some(id), Some(size)) = (id, size) else { return Err(violations.into()) };
    let page = app.identifiers(call.tenant(), id, (size, &request.page_token)).await?;
    let identifiers = page.identifiers.iter().map(|view| CustomerIdentifier {
        identifier: Some(parse::identifier(&view.identifier)),
        shared: view.shared,
        evidence_count: i32::try_from(view.evidence_count).unwrap_or(i32::MAX),
    });
    Ok(ListIdentifiersResponse {
        identifiers: identifiers.collect(),
        next_page_token: page.next_page_token,
    })
}
