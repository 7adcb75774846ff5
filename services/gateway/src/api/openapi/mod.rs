//! The description of everything here, as OpenAPI 3.1, made from the descriptors: comments
//! become descriptions, the auth rule becomes the scope. `docs/openapi.json` is the same text.
//! <https://spec.openapis.org/oas/v3.1.0>

mod comments;
mod own;
mod schema;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use prost_reflect::DescriptorPool;
use serde_json::{Map, Value, json};
use server::auth::Rule;

use self::comments::Comments;
use self::schema::Schemas;
use super::Api;
use super::methods::{Methods, Rpc, Shape};

/// `GET /openapi.json`.
pub(crate) async fn serve(State(api): State<Arc<Api>>) -> Response {
    let text = api.description.get_or_init(|| Bytes::from(document(&api.methods).to_string()));
    ([(header::CONTENT_TYPE, "application/json")], text.clone()).into_response()
}

/// The same, for people: indented, with a line end.
///
/// # Errors
/// When the contracts cannot be read.
pub fn text() -> Result<String, super::Error> {
    let methods = Methods::read(contracts::DESCRIPTORS)?;
    Ok(format!("{:#}\n", document(&methods)))
}

fn document(methods: &Methods) -> Value {
    let mut schemas = Schemas::default();
    let mut paths = own::paths(methods, &mut schemas);
    let mut tags = vec![json!({"name": own::TAG, "description": own::DESCRIPTION})];
    let mut last = String::new();
    for rpc in methods.iter() {
        let service = rpc.method.parent_service();
        if last != service.name() {
            last = service.name().to_owned();
            let comments = Comments::of(&service.parent_file());
            let description = comments.at(service.path());
            tags.push(json!({"name": service.name(), "description": description}));
        }
        if rpc.shape != Shape::Dialogue {
            paths.insert(rpc.path.as_str().to_owned(), path(rpc, &mut schemas));
        }
    }
    let reasons = methods.iter().next().and_then(|rpc| reasons(rpc.method.parent_pool()));
    let mut schemas = schemas.finish();
    schemas.extend(own::schemas(reasons));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rapport",
            "version": env!("CARGO_PKG_VERSION"),
            "description": own::INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:7480", "description": "`rapport up`"}],
        "security": [{"token": []}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": own::parameters(),
            "responses": own::responses(),
            "securitySchemes": own::security(),
        },
    })
}

/// The names of `ErrorReason`, without their prefix.
fn reasons(pool: &DescriptorPool) -> Option<Vec<String>> {
    let reasons = pool.get_enum_by_name("rapport.common.v1.ErrorReason")?;
    let names = reasons.values().skip(1); // the first one is never sent
    Some(names.map(|value| value.name().replacen("ERROR_REASON_", "", 1)).collect())
}

fn path(rpc: &Rpc, schemas: &mut Schemas) -> Value {
    let input = schemas.message(&rpc.input);
    let output = schemas.message(rpc.output.descriptor());
    let mut post = operation(rpc, "");
    let is_watch = rpc.shape == Shape::Watch;
    let content_type = if is_watch { "text/event-stream" } else { "application/json" };
    let schema = if is_watch { schema::event(&output) } else { output };
    post.insert("requestBody".to_owned(), own::body(&input));
    post.insert("responses".to_owned(), own::answers(content_type, &schema));
    let mut parameters = vec![own::parameter("Timeout"), own::parameter("RequestId")];
    if !is_watch {
        post.insert("parameters".to_owned(), parameters.into());
        return json!({"post": post});
    }
    parameters = vec![own::parameter("LastEventId"), own::parameter("RequestId")];
    post.insert("parameters".to_owned(), parameters.clone().into());
    let mut get = operation(rpc, "ByAddress");
    let in_query = json!({
        "name": "message", "in": "query", "description": "The request as JSON.",
        "content": {"application/json": {"schema": input}},
    });
    parameters.extend([in_query, own::parameter("AccessToken")]);
    get.insert("parameters".to_owned(), parameters.into());
    get.insert("responses".to_owned(), own::answers(content_type, &schema));
    json!({"get": get, "post": post})
}

fn operation(rpc: &Rpc, suffix: &str) -> Map<String, Value> {
    let service = rpc.method.parent_service();
    let comment = Comments::of(&service.parent_file()).at(rpc.method.path());
    let first = comment.split_once(". ").map_or(comment.as_str(), |(first, _)| first);
    let mut operation = Map::new();
    let id = format!("{}_{}{suffix}", service.name(), rpc.method.name());
    operation.insert("operationId".to_owned(), id.into());
    operation.insert("tags".to_owned(), json!([service.name()]));
    operation.insert("summary".to_owned(), first.trim_end_matches('.').into());
    let (needs, scopes) = match &rpc.rule {
        Rule::Scope(scope) => (format!("Needs the scope `{scope}`."), json!([{"token": [scope]}])),
        Rule::Public | Rule::Internal => ("Needs no token.".to_owned(), json!([])),
    };
    operation.insert("description".to_owned(), format!("{comment}\n\n{needs}").into());
    operation.insert("security".to_owned(), scopes);
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_in_the_docs_is_what_is_served() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let text = text().unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let on_disk = std::fs::read_to_string(path).unwrap_or_default();
        assert!(on_disk == text, "docs/openapi.json is out of date: run `make gen`");
    }
}
