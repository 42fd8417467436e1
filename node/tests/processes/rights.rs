//! A right that is given, taken or at its end is so on every node.

use std::time::Duration;

use lockbox_core::Clock;
use lockbox_platform::system::SystemClock;
use lockbox_proto::lockbox::iam::v1 as own;
use lockbox_proto::lockbox::iam::v1::access_service_client::AccessServiceClient;
use lockbox_proto::yandex::cloud::access::AccessBindingAction;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use prost_types::Timestamp;
use tonic::Code;

use crate::client::Client;
use crate::cluster::{Cluster, NODES, Part};
use crate::messages::{binding, text};
use crate::waiting::until;

/// What an end lies ahead of when it is set: long enough for a busy machine to set it.
const AHEAD: Duration = Duration::from_secs(15);

impl Client {
    async fn change(
        &self,
        resource_id: &str,
        action: AccessBindingAction,
        robot: &str,
        conditions: Option<own::Conditions>,
    ) {
        let role_id = "lockbox.payloadViewer".to_owned();
        let subject = binding(&role_id, "serviceAccount", robot).subject;
        let binding = Some(own::Binding { role_id, subject, conditions });
        let deltas = vec![own::BindingDelta { action: action.into(), binding }];
        let request = own::UpdateBindingsRequest { resource_id: resource_id.into(), deltas };
        let mut access = AccessServiceClient::new(self.channel.clone());
        access.update_bindings(self.request(request)).await.unwrap();
    }

    async fn read_version(&self, secret: &str, version: &str) -> Code {
        let (secret_id, version_id) = (secret.to_owned(), version.to_owned());
        let get = wire::GetPayloadRequest { secret_id, version_id };
        let read = self.payloads().get(self.request(get)).await;
        read.map_or_else(|status| status.code(), |_| Code::Ok)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s08_a_right_begins_and_ends_on_every_node_at_once() {
    let cluster = Cluster::start(Vec::new()).await;
    let [one, two, three] = NODES.map(|node| cluster.admin(Part::Node(node)));
    let robot = one.create_robot("lockbox.viewer").await;
    let (_, token) = two.log_in(&robot.key).await;
    let robots = [&one, &two, &three].map(|client| client.with_token(&token));
    let secret = one.create("", vec![text("k", "v")]).await;
    let get = wire::GetSecretRequest { secret_id: secret.clone() };
    let shown = two.secrets().get(two.request(get)).await.unwrap().into_inner();
    let version = shown.current_version.unwrap().id;
    let on_every_node = async |code: Code, what: &str| {
        for (node, robot) in NODES.iter().zip(&robots) {
            assert_eq!(robot.read_version(&secret, &version).await, code, "{what}, node {node}");
        }
    };
    on_every_node(Code::PermissionDenied, "nothing given").await;
    for (giver, taker) in [(&one, &two), (&two, &three), (&three, &one)] {
        giver.change(&version, AccessBindingAction::Add, &robot.id, None).await;
        on_every_node(Code::Ok, "given").await;
        taker.change(&version, AccessBindingAction::Remove, &robot.id, None).await;
        on_every_node(Code::PermissionDenied, "taken").await;
    }

    // Nobody takes it now: it ends, and who has seen that sees it everywhere.
    let end_ms = SystemClock::new().wall_ms() + u64::try_from(AHEAD.as_millis()).unwrap();
    let seconds = i64::try_from(end_ms / 1000).unwrap();
    let not_after = Some(Timestamp { seconds, nanos: 0 });
    let conditions = Some(own::Conditions { not_after, only_current_version: false });
    one.change(&version, AccessBindingAction::Add, &robot.id, conditions).await;
    assert_eq!(robots[0].read_version(&secret, &version).await, Code::Ok);
    let mut next = robots.iter().cycle();
    until("end of the right", async || {
        let robot = next.next().unwrap();
        let ended = robot.read_version(&secret, &version).await == Code::PermissionDenied;
        ended.then_some(())
    })
    .await;
    on_every_node(Code::PermissionDenied, "ended").await;
}
