//! The OpenAPI document of the served routes, from the same definitions that serve them
//! (`contract §0.4`).
//!
//! Promises: what it says of a path, a parameter or a bound is what the gateway and the validation
//! do, because both read the same options; it is made once, at start. Knows no method in particular.

mod comments;
mod rules;
mod schema;

use std::collections::BTreeSet;

use lockbox_proto::routes::RestRoute;
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use serde_json::{Map, Value, json};

use self::comments::Comments;
use self::schema::{Schemas, is_text};

/// Where the document is.
pub(super) const PATH: &str = "/openapi.json";
/// What errors are (`contract §0.4`).
const ERROR: &str = "google.rpc.Status";

/// The document of these routes.
pub(super) fn document<'a>(
    routes: impl Iterator<Item = &'a RestRoute>,
    pool: &DescriptorPool,
) -> Value {
    let comments = Comments::of(pool);
    let mut schemas = Schemas::new(pool, &comments);
    let mut paths = Map::new();
    let mut tags = BTreeSet::new();
    for route in routes {
        let Some(method) = method(pool, route.grpc_path) else { continue };
        tags.insert(method.parent_service().full_name().to_owned());
        let operation = operation(route, &method, &mut schemas, &comments);
        let verbs = paths.entry(route.template).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(verbs) = verbs {
            verbs.insert(route.verb.to_ascii_lowercase(), operation);
        }
    }
    let error = schemas.reference(ERROR);
    let tags: Vec<Value> = tags.into_iter().map(|name| json!({ "name": name })).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lockbox",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Secrets and their access, as JSON over HTTP.",
        },
        "tags": tags,
        "security": [{ "iamToken": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "iamToken": { "type": "http", "scheme": "bearer" } },
            "responses": {
                "Error": {
                    "description": "Why the request was refused.",
                    "content": { "application/json": { "schema": error } },
                },
            },
            "schemas": schemas.into_json(),
        },
    })
}

fn method(pool: &DescriptorPool, grpc_path: &str) -> Option<MethodDescriptor> {
    let (service, method) = grpc_path.trim_start_matches('/').split_once('/')?;
    let service = pool.get_service_by_name(service)?;
    service.methods().find(|known| known.name() == method)
}

fn operation(
    route: &RestRoute,
    method: &MethodDescriptor,
    schemas: &mut Schemas<'_>,
    comments: &Comments,
) -> Value {
    let service = method.parent_service();
    let input = method.input();
    let mut parameters = Vec::new();
    let in_path = variables(route.template);
    for name in &in_path {
        if let Some(field) = input.get_field_by_name(name) {
            let mut parameter = parameter(name, "path", &field, schemas, comments);
            parameter["required"] = Value::Bool(true);
            parameters.push(parameter);
            schemas.is_in_path(&field);
        }
    }
    // Several verbs may mean one method, and an id must be one of a kind.
    let id = format!("{}_{}_{}", service.name(), method.name(), route.verb.to_ascii_lowercase());
    let mut operation = json!({
        "operationId": id,
        "tags": [service.full_name()],
        "summary": comments.of_method(method),
    });
    if route.body == "*" {
        let schema = schemas.reference(input.full_name());
        operation["requestBody"] =
            json!({ "content": { "application/json": { "schema": schema } } });
    } else if matches!(route.verb, "GET" | "DELETE") {
        for field in input.fields().filter(|field| !in_path.contains(&field.name())) {
            query_parameters("", &field, schemas, comments, &mut parameters);
        }
    }
    operation["parameters"] = Value::Array(parameters);
    let output = schemas.reference(method.output().full_name());
    operation["responses"] = json!({
        "200": {
            "description": "The answer.",
            "content": { "application/json": { "schema": output } },
        },
        "default": { "$ref": "#/components/responses/Error" },
    });
    operation
}

/// The names of the variables in a template.
fn variables(template: &str) -> Vec<&str> {
    let behind = template.split('{').skip(1);
    behind.filter_map(|part| part.split_once('}').map(|(name, _)| name)).collect()
}

/// What a field of a request without a body is in the query: nested by dots.
fn query_parameters(
    above: &str,
    field: &FieldDescriptor,
    schemas: &mut Schemas<'_>,
    comments: &Comments,
    into: &mut Vec<Value>,
) {
    if field.is_map() {
        return;
    }
    let name = format!("{above}{}", field.json_name());
    match field.kind() {
        Kind::Message(message) if !is_text(&message) => {
            let below = format!("{name}.");
            // The definitions have no request that contains itself; one level is enough.
            let nested = |message: &MessageDescriptor| message.fields().collect::<Vec<_>>();
            if above.is_empty() {
                for field in nested(&message) {
                    query_parameters(&below, &field, schemas, comments, into);
                }
            }
        }
        _ => {
            let mut parameter = parameter(&name, "query", field, schemas, comments);
            // Below a message that may be absent nothing is needed for sure.
            if above.is_empty() && schemas.is_required(field) {
                parameter["required"] = Value::Bool(true);
            }
            into.push(parameter);
        }
    }
}

fn parameter(
    name: &str,
    place: &str,
    field: &FieldDescriptor,
    schemas: &mut Schemas<'_>,
    comments: &Comments,
) -> Value {
    json!({
        "name": name,
        "in": place,
        "description": comments.of_field(field),
        "schema": schemas.of_field(field),
    })
}
