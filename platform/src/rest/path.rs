//! Which method a verb and a path mean.
//!
//! A custom verb is attached to the last segment with a colon (`/secrets/{id}:activate`,
//! `/secrets:getEx`, `contract §0.4`), so the path is split by hand. Promises: a literal segment
//! wins over a variable, and a path that matches nothing exactly matches nothing.

use http::Method;
use lockbox_proto::routes::RestRoute;
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

use super::RestError;
use super::query::percent_decode;

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(&'static str),
    /// The name of a string field of the request.
    Variable(&'static str),
}

/// A route that can be matched and served.
#[derive(Debug, Clone)]
pub(super) struct Route {
    method: Method,
    segments: Vec<Segment>,
    /// The custom verb behind the colon; empty when there is none.
    custom_verb: &'static str,
    /// `/<package>.<Service>/<Method>`.
    pub(super) grpc_path: &'static str,
    /// Whether the body is the request.
    pub(super) takes_body: bool,
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
}

/// A route and the values of its variables.
pub(super) struct Matched<'a> {
    pub(super) route: &'a Route,
    pub(super) variables: Vec<(&'static str, String)>,
}

/// All routes, those with more literal segments first.
#[derive(Debug)]
pub(super) struct RouteTable {
    routes: Vec<Route>,
}

impl RouteTable {
    pub(super) fn new<'a>(
        rows: impl Iterator<Item = &'a RestRoute>,
        pool: &DescriptorPool,
    ) -> Result<Self, RestError> {
        let mut routes = rows.map(|row| Route::new(row, pool)).collect::<Result<Vec<_>, _>>()?;
        routes.sort_by_key(|route| {
            let variables = route.segments.iter().filter(|s| matches!(s, Segment::Variable(_)));
            variables.count()
        });
        Ok(Self { routes })
    }

    /// The method for this verb and path (without its query).
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<Matched<'_>> {
        let (path, custom_verb) = split_custom_verb(path);
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        self.routes.iter().find_map(|route| {
            let same = route.method == *method && route.custom_verb == custom_verb;
            let variables = same.then(|| route.variables(&segments))??;
            Some(Matched { route, variables })
        })
    }
}

impl Route {
    fn new(row: &RestRoute, pool: &DescriptorPool) -> Result<Self, RestError> {
        let refuse = |reason| RestError { template: row.template, reason };
        let message = |name| pool.get_message_by_name(name).ok_or(refuse("unknown message"));
        let (path, custom_verb) = split_custom_verb(row.template);
        let path = path.strip_prefix('/').ok_or(refuse("the path is not absolute"))?;
        let segments: Vec<_> = path.split('/').map(segment).collect();
        let input = message(row.input)?;
        for segment in &segments {
            if let Segment::Variable(name) = segment {
                let field = input.get_field_by_name(name).ok_or(refuse("unknown variable"))?;
                if field.kind() != Kind::String || field.is_list() {
                    return Err(refuse("a variable is not a string"));
                }
            }
        }
        let method = Method::from_bytes(row.verb.as_bytes()).map_err(|_| refuse("unknown verb"))?;
        Ok(Self {
            method,
            segments,
            custom_verb,
            grpc_path: row.grpc_path,
            takes_body: row.body == "*",
            input,
            output: message(row.output)?,
        })
    }

    /// The values of the variables, if the path matches.
    fn variables(&self, path: &[&str]) -> Option<Vec<(&'static str, String)>> {
        if path.len() != self.segments.len() {
            return None;
        }
        let mut variables = Vec::new();
        for (segment, given) in self.segments.iter().zip(path) {
            match segment {
                Segment::Literal(literal) if literal == given => {}
                Segment::Literal(_) => return None,
                Segment::Variable(name) => {
                    let value = percent_decode(given, false)?;
                    if value.is_empty() {
                        return None;
                    }
                    variables.push((*name, value));
                }
            }
        }
        Some(variables)
    }
}

fn segment(text: &'static str) -> Segment {
    let variable = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    variable.map_or(Segment::Literal(text), Segment::Variable)
}

/// Splits `/a/b:verb` at the colon of its last segment.
fn split_custom_verb(path: &str) -> (&str, &str) {
    match path.rsplit_once(':') {
        Some((path, verb)) if !verb.contains('/') => (path, verb),
        Some(_) | None => (path, ""),
    }
}

#[cfg(test)]
mod tests {
    use lockbox_proto::routes::REST_ROUTES;

    use super::*;

    fn table() -> RouteTable {
        RouteTable::new(REST_ROUTES.iter(), lockbox_proto::descriptor_pool())
            .expect("routes that can be served")
    }

    fn find(table: &RouteTable, method: &Method, path: &str) -> Option<(String, Vec<String>)> {
        let matched = table.find(method, path)?;
        let values = matched.variables.into_iter().map(|(_, value)| value).collect();
        Some((matched.route.grpc_path.to_owned(), values))
    }

    #[test]
    fn every_route_finds_its_own_method() {
        let table = table();
        for row in REST_ROUTES {
            let method = Method::from_bytes(row.verb.as_bytes()).expect("a verb");
            let (template, verb) = split_custom_verb(row.template);
            let mut path: String = template
                .split('/')
                .map(|s| if s.starts_with('{') { "id1" } else { s })
                .collect::<Vec<_>>()
                .join("/");
            if !verb.is_empty() {
                path = format!("{path}:{verb}");
            }
            let found = find(&table, &method, &path).map(|(grpc_path, _)| grpc_path);
            assert_eq!(found.as_deref(), Some(row.grpc_path), "{} {path}", row.verb);
        }
    }

    #[test]
    fn custom_verbs_and_encoded_ids_are_understood() {
        let table = table();
        let found = find(&table, &Method::POST, "/lockbox/v1/secrets/e6q%31:addVersion");
        let service = "/yandex.cloud.lockbox.v1.SecretService/AddVersion".to_owned();
        assert_eq!(found, Some((service, vec!["e6q1".to_owned()])));
        let found = find(&table, &Method::GET, "/lockbox/v1/secrets:getEx");
        let service = "/yandex.cloud.lockbox.v1.PayloadService/GetEx".to_owned();
        assert_eq!(found, Some((service, Vec::new())));
    }

    #[test]
    fn what_does_not_match_exactly_does_not_match() {
        let table = table();
        for (method, path) in [
            (Method::GET, "/"),
            (Method::GET, ""),
            (Method::GET, "/lockbox/v1/secrets/"),
            (Method::GET, "/lockbox/v1/secrets/e6q1/"),
            (Method::GET, "/lockbox/v1/secrets/e6q1:getEx"),
            (Method::POST, "/lockbox/v1/secrets/e6q1:unknown"),
            (Method::PUT, "/lockbox/v1/secrets/e6q1"),
            (Method::GET, "/lockbox/v1/secrets/%ZZ"),
            (Method::GET, "/lockbox/v1//secrets"),
        ] {
            assert_eq!(find(&table, &method, path), None, "{method} {path}");
        }
    }
}
