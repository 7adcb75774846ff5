//! gRPC-Web, binary and text, by the crate `tonic-web`: the same frames, the trailers in the
//! body. Bodies pass through as they come; the service bounds its messages.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::Api;
use super::call::Caller;
use super::failure::Refusal;
use super::methods::{Rpc, Shape};
use super::watch::PARTING;

/// What the protocol itself needs of the headers, after translation.
const KEPT: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::TE,
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
];

pub(crate) async fn serve(api: &Api, rpc: &Rpc, request: Request) -> Result<Response, Status> {
    let caller = Caller::of(request.headers())?;
    let is_stream = rpc.shape != Shape::Unary;
    let peer = if is_stream { caller.streaming_peer(api, rpc) } else { caller.peer(api, rpc) };
    let stop = api.drain.token();
    let place = if is_stream { Some(api.place()?) } else { None };
    let mut place = Some(place);
    let service = service_fn(move |mut request: http::Request<tonic::body::Body>| {
        let (mut peer, stop, place) = (peer.clone(), stop.clone(), place.take().flatten());
        let headers = kept(request.headers(), &caller.headers);
        *request.headers_mut() = headers;
        async move {
            let response = peer.ready().await?.call(request).await;
            let response = response.unwrap_or_else(Status::into_http);
            Ok::<_, Status>(if is_stream {
                response.map(|body| until(body, stop, place))
            } else {
                response
            })
        }
    });
    let response = GrpcWebLayer::new().layer(service).oneshot(request).await?;
    Ok(response.map(Body::new))
}

/// The same body, which ends at a drain: a service in another process does not know of it.
fn until(
    body: tonic::body::Body,
    stop: CancellationToken,
    place: Option<OwnedSemaphorePermit>,
) -> tonic::body::Body {
    let frames = futures::stream::unfold(Some(body), move |body| {
        let _ = &place; // until the stream is dropped
        let stop = stop.clone();
        async move {
            let mut body = body?;
            tokio::select! {
                biased;
                frame = body.frame() => return frame.map(|frame| (frame, Some(body))),
                () = stop.cancelled() => {}
            }
            // One in this process does, and knows the place to resume.
            if let Ok(frame) = tokio::time::timeout(PARTING, body.frame()).await {
                return frame.map(|frame| (frame, Some(body)));
            }
            let mut trailers = HeaderMap::new();
            let written = Status::from(Refusal::Stopping).add_header(&mut trailers);
            Some((written.map(|()| Frame::trailers(trailers)), None))
        }
    });
    tonic::body::Body::new(StreamBody::new(frames))
}

/// A call that failed before it reached the service: trailers only, whose place is the head.
pub(crate) fn refused(content_type: HeaderValue, status: Status) -> Response {
    let mut response = status.into_http();
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
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
