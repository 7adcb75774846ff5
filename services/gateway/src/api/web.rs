//! gRPC-Web, binary and text, by the crate `tonic-web`: the same frames, the trailers in the
//! body. Bodies pass through as they come; the service bounds its messages.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;
use server::layers::body::until;
use tonic::Status;
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::Api;
use super::call::Caller;
use super::methods::{Rpc, Shape};

/// What the protocol itself needs of the headers, after translation.
const KEPT: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::TE,
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
];

pub(crate) async fn serve(api: &Api, rpc: &Rpc, request: Request) -> Result<Response, Status> {
    let caller = Caller::of(request.headers())?;
    let peer = match rpc.shape {
        Shape::Unary => caller.peer(api, rpc),
        Shape::Watch | Shape::Dialogue => caller.streaming_peer(api, rpc),
    };
    let service = service_fn(move |mut request: http::Request<tonic::body::Body>| {
        let mut peer = peer.clone();
        let headers = kept(request.headers(), &caller.headers);
        *request.headers_mut() = headers;
        async move {
            let response = peer.ready().await?.call(request).await;
            Ok::<_, Status>(response.unwrap_or_else(Status::into_http))
        }
    });
    let response = GrpcWebLayer::new().layer(service).oneshot(request).await?;
    // A stream from another process does not know that this one ends.
    let response = match rpc.shape {
        Shape::Unary => response,
        Shape::Watch | Shape::Dialogue => {
            let status = Status::unavailable("the server is shutting down: resume");
            until(response, api.drain.token(), status)
        }
    };
    Ok(response.map(Body::new))
}

/// Nothing else reaches a service: neither cookies nor what a proxy has added.
fn kept(sent: &HeaderMap, travelling: &HeaderMap) -> HeaderMap {
    let mut headers = travelling.clone();
    for name in KEPT {
        if let Some(value) = sent.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers
}
