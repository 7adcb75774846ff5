//! Every public RPC on its path, `/package.Service/Method`, and the gateway's own paths.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{any, get, post};
use tonic::{Code, Status};

use super::methods::{Rpc, Shape};
use super::unary::Codec;
use super::watch::Wire;
use super::{Api, browser, customers, failure, openapi, origin, unary, watch, web};

const GRPC_WEB: &str = "application/grpc-web";

/// Everything of this module.
pub(crate) fn routes(api: Arc<Api>) -> Router {
    let mut router = Router::new()
        .route("/v1/customers", get(customers::by_identifier))
        .route("/v1/customers/{id}", get(customers::by_id))
        .route("/v1/browser-tokens", post(browser::issue))
        .route("/openapi.json", get(openapi::serve));
    for rpc in api.methods.iter() {
        let path = rpc.path.as_str().to_owned();
        let rpc = Arc::clone(rpc);
        let handler = move |State(api): State<Arc<Api>>, request: Request| {
            let rpc = Arc::clone(&rpc);
            async move { call(&api, &rpc, request).await }
        };
        router = router.route(&path, any(handler));
    }
    for service in api.methods.services() {
        let absent = async |request: Request| failure::no_such_method(request.uri().path());
        router = router.route(&format!("{service}/{{method}}"), any(absent));
    }
    let guard = axum::middleware::from_fn_with_state(Arc::clone(&api), origin::guard);
    router.layer(guard).with_state(api)
}

async fn call(api: &Api, rpc: &Rpc, request: Request) -> Response {
    let content_type = content_type(request.headers());
    let answer = dispatch(api, rpc, request, &content_type).await;
    answer.unwrap_or_else(|status| refused(&content_type, status))
}

/// How a call has failed, in the words of its protocol: what is enveloped is so when it fails, too.
fn refused(content_type: &str, status: Status) -> Response {
    let echoed = HeaderValue::from_str(content_type).ok();
    match (content_type, echoed) {
        ("application/connect+json", _) => watch::refused(Wire::ConnectJson, status),
        ("application/connect+proto", _) => watch::refused(Wire::ConnectProto, status),
        (text, Some(echoed)) if text.starts_with(GRPC_WEB) => web::refused(echoed, status),
        _ => failure::response(&status),
    }
}

async fn dispatch(
    api: &Api,
    rpc: &Rpc,
    request: Request,
    content_type: &str,
) -> Result<Response, Status> {
    if rpc.shape == Shape::Dialogue {
        return Err(dialogue(rpc));
    }
    if request.method() == Method::GET && rpc.shape == Shape::Watch {
        let (parts, _) = request.into_parts();
        return watch::by_address(api, rpc, &parts).await;
    }
    if request.method() != Method::POST {
        let mut response = failure::wrong_shape(StatusCode::METHOD_NOT_ALLOWED, "use POST");
        let allowed = if rpc.shape == Shape::Watch { "GET, POST" } else { "POST" };
        let allowed = HeaderValue::from_static(allowed);
        response.headers_mut().insert(header::ALLOW, allowed);
        return Ok(response);
    }
    if content_type.starts_with(GRPC_WEB) {
        return web::serve(api, rpc, request).await;
    }
    let (parts, body) = request.into_parts();
    match (rpc.shape, content_type) {
        (Shape::Unary, "application/json") => {
            unary::serve(api, rpc, &parts, body, Codec::Json).await
        }
        (Shape::Unary, "application/proto") => {
            unary::serve(api, rpc, &parts, body, Codec::Proto).await
        }
        (Shape::Watch, "application/json") if wants_events(&parts.headers) => {
            watch::by_body(api, rpc, &parts, body, Wire::Events).await
        }
        (Shape::Watch, "application/connect+json") => {
            watch::by_body(api, rpc, &parts, body, Wire::ConnectJson).await
        }
        (Shape::Watch, "application/connect+proto") => {
            watch::by_body(api, rpc, &parts, body, Wire::ConnectProto).await
        }
        (shape, _) => Ok(unsupported(shape)),
    }
}

/// Without parameters, in lower case.
fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter();
    accepts.filter_map(|value| value.to_str().ok()).any(|value| value.contains("text/event-stream"))
}

fn dialogue(rpc: &Rpc) -> Status {
    let name = rpc.method.name();
    let message =
        format!("{name} is a stream of requests: call it by gRPC, or use its unary sibling here");
    Status::new(Code::Unimplemented, message)
}

fn unsupported(shape: Shape) -> Response {
    let message = match shape {
        Shape::Watch => {
            "this RPC is a stream: send application/json with accept: text/event-stream, or \
             application/connect+json, application/connect+proto or application/grpc-web"
        }
        Shape::Unary | Shape::Dialogue => {
            "send content-type: application/json, or application/proto or application/grpc-web"
        }
    };
    failure::wrong_shape(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
}
