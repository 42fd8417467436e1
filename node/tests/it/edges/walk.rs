//! Requests at the edges of every rule that the definitions put on a request and on what is in it.
//!
//! Each is right but for one field. A rule without both of its edges ends the test.

use std::collections::BTreeMap;

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, OneofDescriptor,
    ReflectMessage, Value,
};

use super::rules::{Ends, Rules, ends, exactly_one};
use super::texts::{self, TextEdge};

/// The field that says which others an update changes.
const MASK: &str = "update_mask";
/// What a mask lists unless another field is looked at. Every request with a mask has it.
const MASKED: &str = "description";
/// Letters of a map's key that a path shows.
const KEY_SHOWN_MAX: usize = 63;
/// The range of moments that the options allow, as they write it, and as seconds.
const MOMENTS: &str = "19700101T000000.000000000-21051231T235959.999999999";
const MOMENTS_END_SECONDS: i64 = 4_291_747_199;
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;
const NANOS_MAX: i32 = 999_999_999;

/// A request at an edge.
pub(super) struct Edge {
    /// The field as a violation names it.
    pub(super) field: String,
    pub(super) rule: &'static str,
    /// Whether this side of the edge is allowed.
    pub(super) accepted: bool,
    pub(super) message: DynamicMessage,
}

/// The edges of a request; fields of the same names as `known` hold what exists.
pub(super) fn edges(input: &MessageDescriptor, known: &BTreeMap<&str, String>) -> Vec<Edge> {
    let maker = Maker { known };
    let mut walk = Walk { root: maker.minimal(input), maker, edges: Vec::new() };
    walk.message(input, &[], "");
    walk.edges
}

/// Makes values that break no rule.
#[derive(Clone, Copy)]
struct Maker<'a> {
    known: &'a BTreeMap<&'a str, String>,
}

impl Maker<'_> {
    /// A message with what has to be there and nothing else.
    fn minimal(&self, of: &MessageDescriptor) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        for field in of.fields() {
            let rules = Rules::of(&field);
            let some = rules.size.and_then(|size| size.least).is_some_and(|least| least > 0);
            if rules.required || some {
                message.set_field(&field, self.some(&field));
            }
        }
        for oneof in of.oneofs().filter(exactly_one) {
            let first = oneof.fields().next().unwrap();
            message.set_field(&first, self.one(&first));
        }
        message
    }

    fn some(&self, field: &FieldDescriptor) -> Value {
        if field.is_list() { Value::List(vec![self.one(field)]) } else { self.one(field) }
    }

    fn one(&self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::String => {
                let known = self.known.get(field.name()).cloned();
                Value::String(known.unwrap_or_else(|| texts::sample(field)))
            }
            Kind::Bytes => Value::Bytes(vec![1].into()),
            Kind::Enum(_) => Value::EnumNumber(1),
            Kind::Int64 => Value::I64(1),
            Kind::Message(of) if of.full_name() == "google.protobuf.FieldMask" => mask(&[MASKED]),
            Kind::Message(of) => Value::Message(self.minimal(&of)),
            kind => panic!("{}: no value of {kind:?} is known", field.full_name()),
        }
    }
}

fn mask(paths: &[&str]) -> Value {
    let of = lockbox_proto::descriptor_pool().get_message_by_name("google.protobuf.FieldMask");
    let mut mask = DynamicMessage::new(of.unwrap());
    let paths = paths.iter().map(|path| Value::String((*path).to_owned()));
    mask.set_field_by_name("paths", Value::List(paths.collect()));
    Value::Message(mask)
}

/// A timestamp or a duration.
fn time(of: &MessageDescriptor, seconds: i64, nanos: i32) -> Value {
    let mut time = DynamicMessage::new(of.clone());
    time.set_field_by_name("seconds", Value::I64(seconds));
    time.set_field_by_name("nanos", Value::I32(nanos));
    Value::Message(time)
}

struct Walk<'a> {
    maker: Maker<'a>,
    /// The request that is right.
    root: DynamicMessage,
    edges: Vec<Edge>,
}

/// A field within the request, and its name as a violation has it.
struct Place<'a> {
    /// The fields that lead to the message that it is in.
    into: &'a [FieldDescriptor],
    field: &'a FieldDescriptor,
    path: String,
}

impl Walk<'_> {
    fn message(&mut self, of: &MessageDescriptor, into: &[FieldDescriptor], at: &str) {
        let below = |name: &str| if at.is_empty() { name.into() } else { format!("{at}.{name}") };
        for field in of.fields() {
            let place = Place { into, field: &field, path: below(field.name()) };
            self.field(&place);
        }
        for oneof in of.oneofs().filter(exactly_one) {
            self.oneof(&oneof, into, &below(oneof.name()));
        }
    }

    fn field(&mut self, place: &Place<'_>) {
        let field = place.field;
        let rules = Rules::of(field);
        let before = self.edges.len();
        if field.is_map() {
            self.map(place, &rules);
        } else if field.is_list() {
            self.list(place, &rules);
        } else {
            self.single(place, &rules);
        }
        for rule in rules.names() {
            for accepted in [true, false] {
                let is = |edge: &Edge| edge.rule == rule && edge.accepted == accepted;
                let there = self.edges[before..].iter().any(is);
                assert!(there, "{}: {rule} has no edge, {accepted}", field.full_name());
            }
        }
        let Kind::Message(of) = field.kind() else { return };
        if field.is_map() || of.package_name().starts_with("google.") {
            return;
        }
        let into = [place.into, std::slice::from_ref(field)].concat();
        let at = if field.is_list() { format!("{}[0]", place.path) } else { place.path.clone() };
        self.message(&of, &into, &at);
    }

    fn map(&mut self, place: &Place<'_>, rules: &Rules) {
        let pairs = |keys: Vec<String>, value: &str| {
            let pair = |key| (MapKey::String(key), Value::String(value.to_owned()));
            Some(Value::Map(keys.into_iter().map(pair).collect()))
        };
        if let Some(Ends { most: Some(most), .. }) = rules.size {
            for (size, accepted) in [(most, true), (most + 1, false)] {
                let keys = (0..size).map(|n| format!("k{n}")).collect();
                self.edge(place, "size", accepted, pairs(keys, "v"));
            }
        }
        let keyed = |key: &str| {
            let shown: String = key.chars().take(KEY_SHOWN_MAX).collect();
            let cut = if key.len() > shown.len() { "..." } else { "" };
            format!("{}[{shown}{cut}]", place.path)
        };
        for TextEdge { rule, accepted, text } in texts::edges(place.field, rules) {
            let place = Place { path: keyed("k"), ..*place };
            self.edge(&place, rule, accepted, pairs(vec!["k".to_owned()], &text));
        }
        for TextEdge { rule, accepted, text } in texts::key_edges(place.field, rules) {
            let place = Place { path: keyed(&text), ..*place };
            self.edge(&place, rule, accepted, pairs(vec![text], "v"));
        }
    }

    fn list(&mut self, place: &Place<'_>, rules: &Rules) {
        let list = |size: i64| {
            let one = self.maker.one(place.field);
            Some(Value::List(vec![one; usize::try_from(size).unwrap()]))
        };
        let mut sizes = Vec::new();
        if let Some(size) = rules.size {
            sizes.extend(size.least.into_iter().flat_map(|n| [(n, true), (n - 1, false)]));
            sizes.extend(size.most.into_iter().flat_map(|n| [(n, true), (n + 1, false)]));
        }
        let lists: Vec<_> = sizes.into_iter().map(|(n, accepted)| (accepted, list(n))).collect();
        for (accepted, list) in lists {
            self.edge(place, "size", accepted, list);
        }
        if rules.required {
            self.edge(place, "required", true, Some(self.maker.some(place.field)));
            self.edge(place, "required", false, None);
        }
    }

    fn single(&mut self, place: &Place<'_>, rules: &Rules) {
        match place.field.kind() {
            Kind::String => {
                for TextEdge { rule, accepted, text } in texts::edges(place.field, rules) {
                    // What exists, where the rule is only that something has to be there.
                    let known = accepted && rule == "required";
                    let there = || self.maker.one(place.field);
                    let value = if known { there() } else { Value::String(text) };
                    self.edge(place, rule, accepted, Some(value));
                }
                return;
            }
            Kind::Bytes => {
                let most = rules.length.and_then(|length| length.most);
                for (size, accepted) in most.into_iter().flat_map(|n| [(n, true), (n + 1, false)]) {
                    let bytes = vec![b'a'; usize::try_from(size).unwrap()];
                    self.edge(place, "length", accepted, Some(Value::Bytes(bytes.into())));
                }
            }
            Kind::Enum(of) => {
                let last = of.values().map(|value| value.number()).max().unwrap();
                for (number, accepted) in [(last, true), (last + 1, false), (-1, false)] {
                    self.edge(place, "enum", accepted, Some(Value::EnumNumber(number)));
                }
            }
            Kind::Message(of) => self.inner(place, rules, &of),
            Kind::Int64 => self.number(place, rules),
            _ => {}
        }
        if rules.required {
            self.edge(place, "required", true, Some(self.maker.one(place.field)));
            self.edge(place, "required", false, None);
        }
    }

    fn number(&mut self, place: &Place<'_>, rules: &Rules) {
        let Some(Ends { least, most }) = rules.value.as_deref().map(ends) else { return };
        for (end, beyond) in [(least, -1), (most, 1)] {
            let Some(end) = end else { continue };
            self.edge(place, "value", true, Some(Value::I64(end)));
            self.edge(place, "value", false, Some(Value::I64(end + beyond)));
        }
    }

    /// The rules on messages that are not ours: times have bounds of their own.
    fn inner(&mut self, place: &Place<'_>, rules: &Rules, of: &MessageDescriptor) {
        let time = |seconds, nanos| Some(time(of, seconds, nanos));
        match (of.full_name(), rules.value.as_deref()) {
            ("google.protobuf.Timestamp", Some(written)) => {
                assert_eq!(written, MOMENTS, "a range that this test has no edges of");
                let last = MOMENTS_END_SECONDS;
                self.edge(place, "value", true, time(0, 0));
                self.edge(place, "value", false, time(-1, NANOS_MAX));
                self.edge(place, "value", true, time(last, NANOS_MAX));
                self.edge(place, "value", false, time(last + 1, 0));
                self.edge(place, "time", false, time(1, NANOS_MAX + 1));
            }
            ("google.protobuf.Duration", None) => {
                self.edge(place, "time", true, time(DURATION_SECONDS_MAX, 0));
                self.edge(place, "time", false, time(DURATION_SECONDS_MAX + 1, 0));
                self.edge(place, "time", true, time(1, NANOS_MAX));
                self.edge(place, "time", false, time(1, NANOS_MAX + 1));
                self.edge(place, "time", false, time(1, -1));
            }
            ("google.protobuf.FieldMask", None) if rules.required => {
                self.edge(place, "required", false, Some(mask(&[])));
            }
            _ => {}
        }
    }

    fn oneof(&mut self, oneof: &OneofDescriptor, into: &[FieldDescriptor], path: &str) {
        let none = self.edited(into, &|message| {
            oneof.fields().for_each(|field| message.clear_field(&field));
        });
        self.push(path, "exactly_one", false, none);
        for field in oneof.fields() {
            let one = self.maker.one(&field);
            let chosen = self.edited(into, &|message| message.set_field(&field, one.clone()));
            self.push(path, "exactly_one", true, chosen);
            // A choice that holds nothing is no choice.
            if field.kind() == Kind::String {
                let place = Place { into, field: &field, path: field.name().to_owned() };
                self.edge(&place, "exactly_one", false, Some(Value::String(String::new())));
            }
        }
    }

    /// Adds the request with this value in that place, or with none.
    #[expect(clippy::needless_pass_by_value, reason = "each caller makes the value for this call")]
    fn edge(
        &mut self,
        place: &Place<'_>,
        rule: &'static str,
        accepted: bool,
        value: Option<Value>,
    ) {
        let mut message = self.edited(place.into, &|message| match &value {
            Some(value) => message.set_field(place.field, value.clone()),
            None => message.clear_field(place.field),
        });
        let outermost = place.into.first().unwrap_or(place.field).name();
        // What a mask does not list is ignored, however wrong it is (`contract §2.7`).
        if outermost != MASK && message.descriptor().get_field_by_name(MASK).is_some() {
            let listed = if outermost.ends_with("_id") { MASKED } else { outermost };
            message.set_field_by_name(MASK, mask(&[listed]));
        }
        self.push(&place.path, rule, accepted, message);
    }

    fn push(&mut self, path: &str, rule: &'static str, accepted: bool, message: DynamicMessage) {
        self.edges.push(Edge { field: path.to_owned(), rule, accepted, message });
    }

    /// The right request, changed in the message that these fields lead to.
    fn edited(
        &self,
        into: &[FieldDescriptor],
        edit: &dyn Fn(&mut DynamicMessage),
    ) -> DynamicMessage {
        self.edited_below(self.root.clone(), into, edit)
    }

    fn edited_below(
        &self,
        mut whole: DynamicMessage,
        into: &[FieldDescriptor],
        edit: &dyn Fn(&mut DynamicMessage),
    ) -> DynamicMessage {
        let Some((first, rest)) = into.split_first() else {
            edit(&mut whole);
            return whole;
        };
        // What is there already is the same as what is made here: the least.
        let Value::Message(inner) = self.maker.one(first) else {
            panic!("{} is no message", first.full_name())
        };
        let inner = Value::Message(self.edited_below(inner, rest, edit));
        let inner = if first.is_list() { Value::List(vec![inner]) } else { inner };
        whole.set_field(first, inner);
        whole
    }
}
