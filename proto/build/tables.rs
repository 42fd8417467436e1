//! Turns method options into tables: REST routes, operation types, methods.
//!
//! Owns the checks that a table must pass before anything is served from it: names resolve, path
//! variables exist, no two routes collide, and an operation cannot carry anything sensitive.

use std::collections::BTreeSet;

use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor, Value};

use crate::schema::{Schema, option_value};

/// Fields of `google.api.HttpRule` that stand for a verb.
const VERBS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// Writes `REST_ROUTES`: of every public method, and of those of our own that have a rule.
pub(crate) fn rest_routes(schema: &Schema) -> Result<String, String> {
    let http = schema.option("google.api.http")?;
    let mut seen = BTreeSet::new();
    let mut rows = String::new();
    let own = schema.own_services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let own = own.filter(|method| option_value(&method.options(), &http).is_some());
    for method in public_methods(schema).chain(own.collect::<Vec<_>>()) {
        let Some(Value::Message(rule)) = option_value(&method.options(), &http) else {
            return Err(format!("{} has no HTTP rule", method.full_name()));
        };
        let mut rules = vec![rule.clone()];
        if let Some(Value::List(more)) = rule.get_field_by_name("additional_bindings").as_deref() {
            rules.extend(more.iter().filter_map(Value::as_message).cloned());
        }
        for rule in rules {
            let route = Route::read(&rule, &method)?;
            if !seen.insert((route.verb.clone(), route.shape())) {
                return Err(format!("two methods share {} {}", route.verb, route.template));
            }
            rows += &format!(
                "    RestRoute {{ verb: {:?}, template: {:?}, body: {:?}, grpc_path: {:?}, \
                 input: {:?}, output: {:?} }},\n",
                route.verb,
                route.template,
                route.body,
                grpc_path(&method),
                method.input().full_name(),
                method.output().full_name()
            );
        }
    }
    Ok(format!("&[\n{rows}]"))
}

/// Writes `OPERATION_TYPES`.
pub(crate) fn operation_types(
    schema: &Schema,
    redacted: &[MessageDescriptor],
) -> Result<String, String> {
    let operation = schema.option("yandex.cloud.api.operation")?;
    let mut rows = String::new();
    for method in public_methods(schema) {
        let declared = option_value(&method.options(), &operation);
        let answers_operation = method.output().full_name() == "yandex.cloud.operation.Operation";
        let types = match declared {
            Some(Value::Message(types)) if answers_operation => types,
            // The operation service hands out operations of every type.
            None if !answers_operation || method.parent_service().name() == "OperationService" => {
                continue;
            }
            _ => return Err(format!("{}: operation types do not fit", method.full_name())),
        };
        let mut names = Vec::new();
        for field in ["metadata", "response"] {
            let name = text(&types, field);
            let message = schema.resolve(method.parent_service().package_name(), &name)?;
            if redacted.contains(&message) {
                return Err(format!("operations are logged; {name} is sensitive"));
            }
            names.push(message.full_name().to_owned());
        }
        rows += &format!(
            "    OperationType {{ grpc_path: {:?}, metadata: {:?}, response: {:?} }},\n",
            grpc_path(&method),
            names[0],
            names[1]
        );
    }
    Ok(format!("&[\n{rows}]"))
}

/// Writes `METHODS`.
pub(crate) fn methods(schema: &Schema) -> String {
    let rows: String = public_methods(schema)
        .map(|method| {
            format!(
                "    MethodDescriptor {{ grpc_path: {:?}, service: {:?}, method: {:?}, \
                 input: {:?}, output: {:?}, client_streaming: {}, server_streaming: {} }},\n",
                grpc_path(&method),
                method.parent_service().full_name(),
                method.name(),
                method.input().full_name(),
                method.output().full_name(),
                method.is_client_streaming(),
                method.is_server_streaming()
            )
        })
        .collect();
    format!("&[\n{rows}]")
}

fn public_methods(schema: &Schema) -> impl Iterator<Item = MethodDescriptor> + '_ {
    schema.public_services().flat_map(|service| service.methods().collect::<Vec<_>>())
}

fn grpc_path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn text(message: &DynamicMessage, field: &str) -> String {
    match message.get_field_by_name(field).as_deref() {
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    }
}

/// One HTTP rule.
struct Route {
    verb: String,
    template: String,
    body: String,
}

impl Route {
    fn read(rule: &DynamicMessage, method: &MethodDescriptor) -> Result<Self, String> {
        let refuse = |why: &str| format!("HTTP rule of {}: {why}", method.full_name());
        let verb = VERBS.into_iter().find(|verb| rule.has_field_by_name(verb));
        let verb = verb.ok_or_else(|| refuse("no verb"))?;
        let route = Self {
            verb: verb.to_ascii_uppercase(),
            template: text(rule, verb),
            body: text(rule, "body"),
        };
        if !text(rule, "response_body").is_empty() {
            return Err(refuse("response_body is not supported"));
        }
        if !route.body.is_empty() && route.body != "*" {
            return Err(refuse("only `*` is supported as body"));
        }
        for variable in route.variables() {
            if method.input().get_field_by_name(variable).is_none() {
                return Err(refuse("a path variable is no field of the request"));
            }
        }
        Ok(route)
    }

    fn variables(&self) -> impl Iterator<Item = &str> {
        self.template.split('{').skip(1).filter_map(|rest| rest.split('}').next())
    }

    /// The template with variables made alike: two routes of one shape cannot be told apart.
    fn shape(&self) -> String {
        self.variables().fold(self.template.clone(), |shape, variable| {
            shape.replace(&format!("{{{variable}}}"), "{}")
        })
    }
}
