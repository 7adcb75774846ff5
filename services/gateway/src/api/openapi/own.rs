//! What is no RPC: the gateway's own paths, errors, headers, and who may call.

use serde_json::{Map, Value, json};

use super::schema::Schemas;
use crate::api::methods::Methods;

pub(crate) const TAG: &str = "Gateway";
pub(crate) const DESCRIPTION: &str = "What only the gateway has.";
pub(crate) const INTRODUCTION: &str = "Every public RPC by JSON: POST the request to \
    `/package.Service/Method` (the unary shape of the Connect protocol, so its clients work \
    too, as do gRPC-Web clients on the same paths). Field names are read in either spelling \
    and written in camel case; enums are names, 64-bit integers are text, fields with default \
    values are left out; a field that does not exist is refused. StreamEvents, a stream of \
    requests, is for gRPC only. The Segment-compatible paths are described in the README of the gateway.";

/// The paths, and the schemas of the parts of the view.
pub(crate) fn paths(methods: &Methods, schemas: &mut Schemas) -> Map<String, Value> {
    let mut part = |path: &str, field: &str| {
        let descriptor = methods.get(path)?.output.descriptor().get_field_by_name(field)?;
        let message = descriptor.kind().as_message().map(|message| schemas.message(message))?;
        Some(if descriptor.is_list() {
            json!({"type": "array", "items": message})
        } else {
            message
        })
    };
    let view = json!({
        "type": "object",
        "properties": {
            "customer": part("/rapport.identity.v1.IdentityService/GetCustomer", "customer"),
            "profile": part("/rapport.profile.v1.ProfileService/GetProfile", "profile"),
            "scores": part("/rapport.scoring.v1.ScoringService/GetScores", "scores"),
            "openDemands": part("/rapport.routing.v1.RoutingService/ListDemands", "demands"),
            "errors": {
                "type": "object",
                "description": "By part: why it is not here.",
                "additionalProperties": {"$ref": "#/components/schemas/Error"},
            },
        },
    });
    let scopes = json!([
        {"token": ["identity:read", "profile:read", "scoring:read", "routing:read"]},
    ]);
    let about = "Customer, profile, scores and open demands in one answer. What cannot be said \
        (a service is away, a scope is missing) stands under `errors`. A merged id is answered \
        with the customer that is in force.";
    let text = |name: &str, place: &str, what: &str| {
        json!({
            "name": name, "in": place, "required": true, "description": what,
            "schema": {"type": "string"},
        })
    };
    let paths = json!({
        "/v1/customers/{id}": {"get": {
            "operationId": "Gateway_GetCustomer", "tags": [TAG], "security": scopes,
            "summary": "Everything about one customer, by id", "description": about,
            "parameters": [text("id", "path", "The customer's id."), parameter("Timeout")],
            "responses": answers("application/json", &view),
        }},
        "/v1/customers": {"get": {
            "operationId": "Gateway_FindCustomer", "tags": [TAG], "security": scopes,
            "summary": "Everything about one customer, by an identifier", "description": about,
            "parameters": [
                text("namespace", "query", "The namespace of the identifier, e.g. `email`."),
                text("value", "query", "The identifier; it is normalised."),
                parameter("Timeout"),
            ],
            "responses": answers("application/json", &view),
        }},
        "/v1/browser-tokens": {"post": {
            "operationId": "Gateway_IssueBrowserToken", "tags": [TAG], "security": [{"token": []}],
            "summary": "A short-lived token for a page",
            "description": "For back ends: a token with some of the caller's scopes, as far as \
                `gateway.browser_scopes` allows them, for at most an hour.",
            "requestBody": body(&json!({"$ref": "#/components/schemas/BrowserTokenRequest"})),
            "responses":
                answers("application/json", &json!({"$ref": "#/components/schemas/BrowserToken"})),
        }},
        "/openapi.json": {"get": {
            "operationId": "Gateway_GetDescription", "tags": [TAG], "security": [],
            "summary": "This description",
            "responses": answers("application/json", &json!({"type": "object"})),
        }},
    });
    match paths {
        Value::Object(paths) => paths,
        _ => Map::new(),
    }
}

pub(crate) fn schemas(reasons: Option<Vec<String>>) -> Map<String, Value> {
    let codes = [
        "canceled",
        "unknown",
        "invalid_argument",
        "deadline_exceeded",
        "not_found",
        "already_exists",
        "permission_denied",
        "resource_exhausted",
        "failed_precondition",
        "aborted",
        "out_of_range",
        "unimplemented",
        "internal",
        "unavailable",
        "data_loss",
        "unauthenticated",
    ];
    let all = json!({
        "Error": {
            "type": "object",
            "required": ["code"],
            "properties": {
                "code": {"type": "string", "enum": codes},
                "message": {"type": "string", "description": "For people."},
                "details": {"type": "array", "items": {"$ref": "#/components/schemas/ErrorDetail"}},
            },
        },
        "ErrorDetail": {
            "type": "object",
            "required": ["type", "value"],
            "properties": {
                "type": {"type": "string", "examples": ["google.rpc.ErrorInfo"]},
                "value": {"type": "string", "description": "The detail as protobuf, in base64."},
                "debug": {
                    "type": "object",
                    "description": "The same as JSON. Of `google.rpc.ErrorInfo` with a `reason`, \
                        of `google.rpc.BadRequest` with every violation.",
                    "properties": {"reason": {"$ref": "#/components/schemas/ErrorReason"}},
                },
            },
        },
        "ErrorReason": {
            "type": "string", "enum": reasons,
            "description": "What programs decide by; see docs/errors.md.",
        },
        "BrowserTokenRequest": {
            "type": "object",
            "required": ["scopes"],
            "additionalProperties": false,
            "properties": {
                "scopes": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                "ttlSeconds":
                    {"type": "integer", "minimum": 1, "maximum": 3600, "default": 900},
                "origins": {
                    "type": "array", "maxItems": 16, "items": {"type": "string"},
                    "description": "Only pages of these origins may use it; empty means any of \
                        `gateway.allowed_origins`.",
                },
            },
        },
        "BrowserToken": {
            "type": "object",
            "properties": {
                "token": {"type": "string"},
                "expireTime": {"type": "string", "format": "date-time"},
                "scopes": {"type": "array", "items": {"type": "string"}},
                "origins": {"type": "array", "items": {"type": "string"}},
            },
        },
    });
    match all {
        Value::Object(all) => all,
        _ => Map::new(),
    }
}

pub(crate) fn parameters() -> Value {
    json!({
        "Timeout": {
            "name": "Connect-Timeout-Ms", "in": "header", "schema": {"type": "integer", "minimum": 0},
            "description": "The deadline; 5,000 when absent, at most 30,000.",
        },
        "RequestId": {
            "name": "X-Request-Id", "in": "header", "schema": {"type": "string", "maxLength": 64},
            "description": "Leads to the call in the logs; one is made when absent, and always answered.",
        },
        "LastEventId": {
            "name": "Last-Event-ID", "in": "header", "schema": {"type": "string"},
            "description": "Go on after the event with this id.",
        },
        "AccessToken": {
            "name": "access_token", "in": "query", "schema": {"type": "string"},
            "description": "A token for browsers, where headers cannot be set (`EventSource`).",
        },
    })
}

pub(crate) fn responses() -> Value {
    json!({
        "Error": {
            "description": "The call failed. `Retry-After` stands where it helps to wait.",
            "headers": {
                "Retry-After": {"schema": {"type": "integer"}, "description": "In seconds."},
                "X-Request-Id": {"schema": {"type": "string"}, "description": "Of this call."},
            },
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        },
    })
}

pub(crate) fn security() -> Value {
    json!({
        "token": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "From `rapport token`, or for pages from `/v1/browser-tokens`.",
        },
    })
}

pub(crate) fn parameter(name: &str) -> Value {
    json!({"$ref": format!("#/components/parameters/{name}")})
}

pub(crate) fn body(schema: &Value) -> Value {
    json!({"required": true, "content": {"application/json": {"schema": schema}}})
}

pub(crate) fn answers(content_type: &str, schema: &Value) -> Value {
    let error = json!({"$ref": "#/components/responses/Error"});
    json!({
        "200": {"description": "Done.", "content": {content_type: {"schema": schema}}},
        "4XX": error,
        "5XX": error,
    })
}
