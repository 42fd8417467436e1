//! Whatever is sent, to whichever method, over gRPC or REST: an answer, and never a panic.
//!
//! Messages are made of what is known to exist and of what nobody expects, and some are changed a
//! little on the wire. The seed is printed by a test that fails.

use axum::body::{Body, to_bytes};
use lockbox::router::{self, PUBLIC_SERVICES};
use lockbox_proto::{METHODS, REST_ROUTES, descriptor_pool};
use prost::Message;
use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;

use crate::client::text;
use crate::fixture::{Node, WAIT};
use crate::raw::Raw;

const MESSAGES_OF_EACH_METHOD: usize = 24;
/// Our own methods, beside those of the public definitions: path, service, name.
const OWN: [(&str, &str, &str); 3] = [
    ("/lockbox.iam.v1.AccessService/Explain", "lockbox.iam.v1.AccessService", "Explain"),
    ("/lockbox.iam.v1.AccessService/ListBindings", "lockbox.iam.v1.AccessService", "ListBindings"),
    (
        "/lockbox.iam.v1.AccessService/UpdateBindings",
        "lockbox.iam.v1.AccessService",
        "UpdateBindings",
    ),
];

/// SplitMix64: the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// Makes messages of any type.
struct Maker {
    dice: Dice,
    /// Whether this message is meant well: its ids exist, and what need not be there is not.
    calm: bool,
    /// Ids that exist, by the field that is for them.
    known: Vec<(&'static str, String)>,
    /// Ids that exist, and texts that are hard to take.
    texts: Vec<String>,
}

impl Maker {
    fn message(&mut self, of: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        for field in of.fields() {
            let needed = self.known(field.name()).is_some();
            let left_out =
                if self.calm { !needed && !self.dice.one_in(4) } else { self.dice.one_in(3) };
            if left_out || depth == 0 && matches!(field.kind(), Kind::Message(_)) {
                continue;
            }
            let value = self.field(&field, depth);
            message.set_field(&field, value);
        }
        message
    }

    fn known(&self, field: &str) -> Option<String> {
        self.known.iter().find(|(name, _)| *name == field).map(|(_, id)| id.clone())
    }

    fn text(&mut self, field: &str) -> String {
        if self.calm {
            let name = || format!("name-{}", self.dice.0 % 1_000_000);
            return self.known(field).unwrap_or_else(name);
        }
        self.dice.of(&self.texts)
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let value = entry.map_entry_value_field();
            let pairs = (0..self.dice.below(3)).map(|_| {
                let key = MapKey::String(self.dice.of(&self.texts));
                (key, self.single(&value, depth.saturating_sub(1)))
            });
            return Value::Map(pairs.collect());
        }
        if field.cardinality() == Cardinality::Repeated {
            let count = self.dice.of(&[0, 1, 1, 2, 5]);
            return Value::List((0..count).map(|_| self.single(field, depth)).collect());
        }
        self.single(field, depth)
    }

    fn single(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        let numbers = [0, 1, 7, 2, -1, 1000, i64::MAX, i64::MIN];
        let number = self.dice.of(if self.calm { &numbers[..4] } else { &numbers });
        #[expect(clippy::cast_possible_truncation, reason = "any number will do")]
        #[expect(clippy::cast_sign_loss, reason = "any number will do")]
        match field.kind() {
            Kind::Double => Value::F64(f64::from(number as i32)),
            Kind::Float => Value::F32(0.5),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(number as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(number as u64),
            Kind::Bool => Value::Bool(self.dice.one_in(2)),
            Kind::String => Value::String(self.text(field.name())),
            Kind::Bytes => Value::Bytes(self.text(field.name()).into_bytes().into()),
            Kind::Enum(_) if self.calm => Value::EnumNumber(1),
            Kind::Enum(_) => Value::EnumNumber(self.dice.of(&[0, 1, 2, 3, -1, 99])),
            Kind::Message(of) => Value::Message(self.message(&of, depth.saturating_sub(1))),
        }
    }

    /// Changes a few bytes, or cuts some off, or adds some.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.dice.below(4) {
            let byte = self.dice.next().to_be_bytes()[0];
            let place = self.dice.below(bytes.len() + 1);
            match self.dice.below(3) {
                0 => bytes.truncate(place),
                1 => bytes.insert(place, byte),
                _ if place < bytes.len() => bytes[place] = byte,
                _ => bytes.push(byte),
            }
        }
    }
}

async fn maker(node: &Node, seed: u64) -> Maker {
    let secret = node.create(vec![text("k", "v")], "").await;
    let robot = node.create_account("robot").await;
    let version = secret.current_version.unwrap().id;
    let known = vec![
        ("folder_id", node.made.folder_id.to_string()),
        ("cloud_id", node.made.cloud_id.to_string()),
        ("organization_id", node.made.organization_id.to_string()),
        ("resource_id", node.made.folder_id.to_string()),
        ("secret_id", secret.id),
        ("version_id", version),
        ("service_account_id", robot.id.clone()),
        ("subject_id", robot.id),
        ("permission", "payload.get".to_owned()),
        ("role_id", "viewer".to_owned()),
        ("type", "serviceAccount".to_owned()),
    ];
    let hard =
        ["", "a", "\0", "ключ", "../..", "-1", "name", "serviceAccount", "viewer", "\u{202e}"];
    let long = ["x".repeat(51), "y".repeat(5_000), "é".repeat(300)];
    let ids = || known.iter().map(|(_, id)| id.clone());
    let texts = hard.into_iter().map(str::to_owned).chain(long);
    // What exists comes up more often than what does not.
    let texts = texts.chain(ids()).chain(ids()).collect();
    Maker { dice: Dice(seed), calm: false, known, texts }
}

fn input_of(service: &str, method: &str) -> MessageDescriptor {
    let service = descriptor_pool().get_service_by_name(service).unwrap();
    service.methods().find(|known| known.name() == method).unwrap().input()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s22_no_message_breaks_a_method() {
    let node = Node::start().await;
    let mut maker = maker(&node, 1).await;
    let served = METHODS.iter().filter(|method| PUBLIC_SERVICES.contains(&method.service));
    let served = served.map(|method| (method.grpc_path, method.service, method.method));
    let (mut calls, mut accepted) = (0, 0);
    for (grpc_path, service, method) in served.chain(OWN) {
        let input = input_of(service, method);
        for number in 0..MESSAGES_OF_EACH_METHOD {
            maker.calm = number % 2 == 0;
            let mut bytes = maker.message(&input, 4).encode_to_vec();
            if number % 4 == 1 {
                maker.spoil(&mut bytes);
            }
            let mut client = tonic::client::Grpc::new(node.channel.clone());
            client.ready().await.unwrap();
            let path = PathAndQuery::from_static(grpc_path);
            let call = client.unary(node.request(bytes), path, Raw);
            let answer: Result<tonic::Response<Vec<u8>>, _> =
                tokio::time::timeout(WAIT, call).await.expect("an answer");
            calls += 1;
            match answer {
                Ok(_) => accepted += 1,
                Err(status) => {
                    let broken = [Code::Internal, Code::Unknown, Code::DataLoss, Code::Unavailable];
                    let broken = broken.contains(&status.code());
                    assert!(!broken, "{grpc_path} no. {number}: {status:?}");
                }
            }
        }
    }
    assert!(accepted * 20 > calls, "{accepted} of {calls}: this test reaches nothing any more");
    node.create(vec![text("k", "v")], "").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_and_no_query_break_a_route() {
    let node = Node::start().await;
    let mut maker = maker(&node, 2).await;
    let router = router::public(&node.app, node.metrics.rpc.clone()).unwrap();
    let mut calls = 0;
    for route in REST_ROUTES {
        let public = METHODS.iter().filter(|method| PUBLIC_SERVICES.contains(&method.service));
        let served = public.map(|method| (method.grpc_path, method.service, method.method));
        let mut served = served.chain(OWN);
        let Some((_, service, method)) = served.find(|(path, _, _)| *path == route.grpc_path)
        else {
            continue;
        };
        let input = input_of(service, method);
        for number in 0..MESSAGES_OF_EACH_METHOD {
            maker.calm = number % 2 == 0;
            // JSON has no word for some times that a message can hold.
            let message = serde_json::to_vec(&maker.message(&input, 4));
            let mut body = message.unwrap_or_else(|_| b"{}".to_vec());
            if number % 4 == 1 {
                maker.spoil(&mut body);
            }
            if route.body.is_empty() && number % 3 != 0 {
                body.clear();
            }
            let query =
                maker.dice.of(&["", "?pageSize=x", "?a.b.c=1&a=2", "?%ff=%", "?folderId=a"]);
            let filled = filled(route.template, &mut maker);
            let request = http::Request::builder()
                .method(route.verb)
                .uri(format!("{filled}{query}"))
                .header("authorization", format!("Bearer {}", node.token()))
                .body(Body::from(body))
                .unwrap();
            let response = router.answer(request).await;
            let status = response.status().as_u16();
            let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let answer = String::from_utf8_lossy(&bytes);
            assert!(![500, 503].contains(&status), "{filled} no. {number}: {answer}");
            serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
            calls += 1;
        }
    }
    assert!(calls > 1_000, "{calls}: this test reaches nothing any more");
    node.create(vec![text("k", "v")], "").await;
    node.stop().await;
}

/// The path of a template, with something in the place of each variable.
fn filled(template: &str, maker: &mut Maker) -> String {
    let mut path = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (_, behind) = after.split_once('}').unwrap();
        path.push_str(before);
        let known = maker.dice.of(&maker.known).1;
        path.push_str(&maker.dice.of(&[known.clone(), known, "%00".into(), "%2e%2e".into()]));
        rest = behind;
    }
    path + rest
}

/// Nested deeper than anybody reads, and longer than anybody keeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn depth_and_length_are_bounded() {
    let node = Node::start().await;
    let router = router::public(&node.app, node.metrics.rpc.clone()).unwrap();
    let bombs = [
        "[".repeat(100_000),
        r#"{"folderId":"#.repeat(50_000),
        format!(r#"{{"labels":{}1{}}}"#, r#"{"a":"#.repeat(10_000), "}".repeat(10_000)),
    ];
    for bomb in bombs {
        let request = http::Request::post("/lockbox/v1/secrets")
            .header("authorization", format!("Bearer {}", node.token()))
            .body(Body::from(bomb))
            .unwrap();
        assert_eq!(router.answer(request).await.status().as_u16(), 400);
    }
    // A group within a group within a group, which a decoder skips as an unknown field.
    let nested = [vec![0x7b; 200_000], vec![0x7c; 200_000]].concat();
    let mut client = tonic::client::Grpc::new(node.channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/yandex.cloud.lockbox.v1.SecretService/Get");
    let answer: Result<tonic::Response<Vec<u8>>, _> =
        client.unary(node.request(nested), path, Raw).await;
    assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument);
    node.stop().await;
}
