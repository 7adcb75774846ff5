//! One message for one: `application/json` and `application/proto`, as the Connect protocol
//! has it. <https://connectrpc.com/docs/protocol#unary-request>

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use tonic::Status;

use super::Api;
use super::call::Caller;
use super::message;
use super::methods::Rpc;

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Json,
    Proto,
}

pub(crate) async fn serve(
    api: &Api,
    rpc: &Rpc,
    parts: &Parts,
    body: Body,
    codec: Codec,
) -> Result<Response, Status> {
    let caller = Caller::of(&parts.headers)?;
    api.admit(rpc, &caller.token).await?;
    let held = api.read(&parts.headers, body).await?;
    let (answer, content_type) = match codec {
        Codec::Proto => (caller.unary(api, rpc, held.bytes.clone()).await?, "application/proto"),
        Codec::Json => {
            let held = message::to_wire(&rpc.input, held, &api.budget).await?;
            let answer = caller.unary(api, rpc, held.bytes.clone()).await?;
            (message::to_json(&rpc.output, answer).await?, "application/json")
        }
    };
    let mut response = Response::new(Body::from(answer));
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}
