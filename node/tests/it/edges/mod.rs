//! Every rule that the definitions put on a request, at its edge: the last value that is taken and
//! the first that is not, over gRPC and over REST. A refused request changes nothing and names the
//! field (`contract §1`, `§5.2`).

mod beyond;
mod rules;
mod texts;
mod walk;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use lockbox::router::{self, OWN_SERVICES, PUBLIC_SERVICES};
use lockbox_platform::http_service::HttpService;
use lockbox_proto::{REST_ROUTES, RestRoute, descriptor_pool};
use prost_reflect::MethodDescriptor;
use tokio::time::Instant;
use tonic::Code;

use self::walk::{Edge, edges};
use self::wire::{Verdict, by_grpc, by_rest};
use crate::client::text;
use crate::fixture::{Node, WAIT};

/// Methods whose definition has rules that nobody judges, for nobody serves them.
const UNSERVED: [&str; 2] = [
    "yandex.cloud.resourcemanager.v1.CloudService.Delete",
    "yandex.cloud.resourcemanager.v1.FolderService.Delete",
];

/// Fields that more is asked of than their definition says: what is wrong then, and why.
const ASKED_MORE: [(&str, &str, &str); 8] = [
    ("page_token", "is not a token of this list", "tokens are made by the server"),
    ("iam_token", "is no token of this cluster", "so are these"),
    ("type", "is not a known type of subject", "types are words of a list, of any length"),
    ("role_id", "is not a known role", "so are roles"),
    ("permission", "is none of ", "so are permissions"),
    ("pending_period", "must be at most ", "a duration may be longer than a secret lives"),
    ("expires_at", "a suspension ends by Reactivate alone", "a field that is not understood"),
    ("not_after", "is in the past", "a binding that has ended would be none"),
];

/// Tables that go on by themselves, whatever is refused: where the log is, its time, and what that
/// has left behind.
const MOVING: [&str; 4] = ["last_applied", "log_time", "expiry_begin", "expiry_next"];

/// One method with its edges and its routes.
struct Plan {
    method: MethodDescriptor,
    edges: Vec<Edge>,
    routes: Vec<&'static RestRoute>,
}

/// What was sent, for the one who reads that the test is good.
#[derive(Default)]
struct Tally {
    grpc: usize,
    rest: usize,
    /// Values that JSON has no word for.
    unspoken: usize,
}

impl Plan {
    fn of(method: MethodDescriptor, known: &BTreeMap<&str, String>) -> Self {
        let mut known = known.clone();
        let resource = match method.parent_service().name() {
            "SecretService" => "secret_id",
            "ServiceAccountService" => "service_account_id",
            "CloudService" => "cloud_id",
            _ => "folder_id",
        };
        known.insert("resource_id", known[resource].clone());
        let grpc_path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let routes = REST_ROUTES.iter().filter(|route| route.grpc_path == grpc_path).collect();
        Self { edges: edges(&method.input(), &known), method, routes }
    }

    fn is_served(&self) -> bool {
        !UNSERVED.contains(&self.method.full_name())
    }

    /// Sends the edges of one side, and says which answers are wrong.
    async fn send(
        &self,
        node: &Node,
        router: &HttpService,
        accepted: bool,
        tally: &mut Tally,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        for edge in self.edges.iter().filter(|edge| edge.accepted == accepted) {
            let name = self.method.full_name();
            let mut judge = |way: &str, verdict: &Verdict, is_right: bool| {
                if !is_right {
                    let Edge { field, rule, .. } = edge;
                    wrong.push(format!("{name} by {way}, {rule} of {field}: {verdict:?}"));
                }
            };
            let verdict = by_grpc(node, &self.method, &edge.message).await;
            tally.grpc += 1;
            judge("gRPC", &verdict, self.is_right(edge, &verdict));
            // JSON has no word for a time that is none: it is an error to write it, or another time.
            if edge.rule == "time" && !accepted {
                tally.unspoken += self.routes.len();
                continue;
            }
            for route in &self.routes {
                let verdict = by_rest(node, router, route, &edge.message).await;
                tally.rest += 1;
                // A path without the id is the path of nothing.
                let in_path = route.template.contains(&format!("{{{}}}", edge.field));
                let nowhere = in_path && edge.rule == "required" && !accepted;
                let is_right = match nowhere {
                    true => verdict.code == Code::NotFound,
                    false => self.is_right(edge, &verdict),
                };
                judge(route.template, &verdict, is_right);
            }
        }
        wrong
    }

    fn is_right(&self, edge: &Edge, verdict: &Verdict) -> bool {
        if !self.is_served() {
            return verdict.code == Code::Unimplemented;
        }
        let said = verdict.of(&edge.field);
        if !edge.accepted {
            return verdict.code == Code::InvalidArgument && said.is_some();
        }
        let leaf = edge.field.rsplit('.').next().unwrap();
        let asked_more = |said: &str| {
            ASKED_MORE.iter().any(|(field, why, _)| *field == leaf && said.starts_with(why))
        };
        let broken = [Code::Internal, Code::Unknown, Code::DataLoss, Code::Unimplemented];
        !broken.contains(&verdict.code) && said.is_none_or(asked_more)
    }
}

/// Every method that is served, those that end something last.
fn methods() -> Vec<MethodDescriptor> {
    let names = PUBLIC_SERVICES.iter().chain(&OWN_SERVICES);
    let services = names.map(|name| descriptor_pool().get_service_by_name(name).unwrap());
    let mut methods: Vec<_> = services.flat_map(|s| s.methods().collect::<Vec<_>>()).collect();
    methods.sort_by_key(|method| ["Delete", "Suspend", "Revoke"].contains(&method.name()));
    methods
}

/// What exists, by the names of the fields that are for it.
async fn known(node: &Node) -> BTreeMap<&'static str, String> {
    let secret = node.create(vec![text("k", "v")], "").await;
    let robot = node.create_account("robot").await;
    let key = node.create_key(&robot.id).await.key.unwrap();
    BTreeMap::from([
        ("folder_id", node.made.folder_id.to_string()),
        ("cloud_id", node.made.cloud_id.to_string()),
        ("organization_id", node.made.organization_id.to_string()),
        ("version_id", secret.current_version.unwrap().id),
        ("secret_id", secret.id),
        ("service_account_id", robot.id),
        ("key_id", key.id),
    ])
}

/// The hash of each table, but for those that go on by themselves.
async fn tables(node: &Node) -> BTreeMap<String, [u8; 32]> {
    let hashed = node.app.replica.state_hash(0, Instant::now() + WAIT).await.unwrap();
    let families = hashed.hashes.families.into_iter();
    let tables = families.flat_map(|family| {
        family.tables.into_iter().map(move |t| (format!("{}.{}", family.name, t.name), t))
    });
    let still = tables.filter(|(_, table)| !MOVING.contains(&table.name));
    still.map(|(name, table)| (name, table.hash)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_holds_at_its_edge_and_a_refusal_changes_nothing() {
    let node = Node::start().await;
    let router = router::public(&node.app, node.metrics.rpc.clone()).unwrap();
    let known = known(&node).await;
    let plans: Vec<_> = methods().into_iter().map(|method| Plan::of(method, &known)).collect();
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    let before = tables(&node).await;
    for plan in &plans {
        wrong.extend(plan.send(&node, &router, false, &mut tally).await);
    }
    let refused = tables(&node).await;
    for plan in &plans {
        wrong.extend(plan.send(&node, &router, true, &mut tally).await);
    }
    // Before the state: what should have been refused is what has changed it.
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(refused, before, "a refused request has changed something");
    assert_ne!(tables(&node).await, before, "no request was taken");

    let all = || plans.iter().flat_map(|plan| plan.edges.iter().map(move |edge| (plan, edge)));
    let name = |(plan, edge): (&Plan, &Edge)| {
        (plan.method.full_name().to_owned(), edge.field.clone(), edge.rule)
    };
    let rules: BTreeSet<_> = all().map(name).collect();
    report(&rules, &tally);
    // The definitions of today; more may come, and then these numbers grow.
    assert!(rules.len() >= 200, "{}: this test reaches nothing any more", rules.len());
    assert!(tally.grpc >= 600 && tally.rest >= 500, "{} and {}", tally.grpc, tally.rest);
    node.stop().await;
}

fn report(rules: &BTreeSet<(String, String, &str)>, tally: &Tally) {
    let Tally { grpc, rest, unspoken } = tally;
    let (methods, count) = (rules.iter().map(|rule| &rule.0).collect::<BTreeSet<_>>(), rules.len());
    println!(
        "{count} rules of {} methods: {grpc} requests by gRPC, {rest} by REST, {unspoken} that \
         JSON has no word for",
        methods.len()
    );
}
