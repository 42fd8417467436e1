//! Who called is the same whether the leader was asked or a follower that forwards.

use lockbox_platform::authorized_key::{AuthorizedKeyFile, KeyAlgorithm};
use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::iam::v1 as iam;
use lockbox_proto::yandex::cloud::iam::v1::key_service_client::KeyServiceClient;
use lockbox_proto::yandex::cloud::iam::v1::service_account_service_client::ServiceAccountServiceClient;
use lockbox_proto::yandex::cloud::operation::operation_service_client::OperationServiceClient;
use lockbox_proto::yandex::cloud::operation::{GetOperationRequest, Operation};
use lockbox_proto::yandex::cloud::resourcemanager::v1::folder_service_client::FolderServiceClient;
use serde_json::Value;

use crate::client::Client;
use crate::cluster::{Cluster, NODES, Part};
use crate::messages::{binding, response, text};

/// A service account with a key, and what it may do in the folder.
pub(crate) struct Robot {
    pub(crate) id: String,
    pub(crate) key: AuthorizedKeyFile,
}

impl Client {
    /// Makes an account with this role on the folder; this client is the administrator.
    pub(crate) async fn create_robot(&self, role: &str) -> Robot {
        let request = iam::CreateServiceAccountRequest {
            folder_id: self.folder.clone(),
            name: "robot".to_owned(),
            ..Default::default()
        };
        let mut accounts = ServiceAccountServiceClient::new(self.channel.clone());
        let operation = accounts.create(self.request(request)).await.unwrap().into_inner();
        let id = response::<iam::ServiceAccount>(&operation).id;

        let request =
            iam::CreateKeyRequest { service_account_id: id.clone(), ..Default::default() };
        let mut keys = KeyServiceClient::new(self.channel.clone());
        let made = keys.create(self.request(request)).await.unwrap().into_inner();
        let key = AuthorizedKeyFile {
            id: made.key.unwrap().id,
            service_account_id: id.clone(),
            created_at: String::new(),
            key_algorithm: KeyAlgorithm::Rsa2048,
            public_key: String::new(),
            private_key: made.private_key.into(),
        };

        let request = access::UpdateAccessBindingsRequest {
            resource_id: self.folder.clone(),
            access_binding_deltas: vec![access::AccessBindingDelta {
                action: access::AccessBindingAction::Add.into(),
                access_binding: Some(binding(role, "serviceAccount", &id)),
            }],
        };
        let mut folders = FolderServiceClient::new(self.channel.clone());
        folders.update_access_bindings(self.request(request)).await.unwrap();
        Robot { id, key }
    }

    async fn operation(&self, id: &str) -> Operation {
        let request = GetOperationRequest { operation_id: id.to_owned() };
        let mut operations = OperationServiceClient::new(self.channel.clone());
        operations.get(self.request(request)).await.unwrap().into_inner()
    }
}

/// The audit records of a part that are of this event.
pub(crate) fn records(cluster: &Cluster, part: Part, event: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(cluster.data(part).join("audit.jsonl")).unwrap();
    let parsed = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of = |record: &Value| record["event_type"].as_str().unwrap().ends_with(event);
    parsed.filter(of).collect()
}

/// What records say of who called, what it might, and on what.
fn caller(record: &Value) -> [&Value; 4] {
    assert_eq!(record["event_status"], "DONE", "{record}");
    let origin = &record["request_metadata"];
    let of = [&record["authentication"], &record["authorization"], &record["resource_metadata"]];
    [of[0], of[1], of[2], &origin["remote_address"]]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_caller_is_the_same_through_leader_and_follower() {
    let cluster = Cluster::start(Vec::new()).await;
    let own_key = cluster.admin(Part::Kms).create_kms_key().await;
    let leader = cluster.leader().await;
    let at_leader = cluster.admin(Part::Node(leader));
    let robot = at_leader.create_robot("admin").await;
    let (_, token) = at_leader.log_in(&robot.key).await;
    let secret = at_leader.with_token(&token).create(&own_key, vec![text("k", "v")]).await;

    let mut operations = Vec::new();
    for node in NODES {
        let client = cluster.admin(Part::Node(node)).with_token(&token);
        let added = client.add(&secret, vec![text("k", &node.to_string())]).await.unwrap();
        assert_eq!(added.created_by, robot.id);
        operations.push(added.id);
        client.read(&secret).await.unwrap();
    }
    // One of them was asked of the leader, two were forwarded; all tell the same of all three.
    assert_eq!(cluster.leader().await, leader, "it changed meanwhile, and nothing was shown");
    for node in NODES {
        let client = cluster.admin(Part::Node(node));
        for id in &operations {
            assert_eq!(client.operation(id).await.created_by, robot.id);
        }
    }

    for event in [".AddVersion", ".GetPayload"] {
        // Each record is with the node that was asked, and with no other.
        let of = |node| records(&cluster, Part::Node(node), event);
        let [first, second, third] = NODES.map(of).map(|mut records| {
            assert_eq!(records.len(), 1, "{records:#?}");
            records.remove(0)
        });
        assert_eq!(first["authentication"]["subject_id"], robot.id.as_str());
        assert_eq!(first["authentication"]["subject_type"], "SERVICE_ACCOUNT");
        assert_eq!(first["authentication"]["subject_name"], "robot");
        assert_eq!(caller(&first), caller(&second));
        assert_eq!(caller(&first), caller(&third));
    }
    // The KMS acted for the same caller each time, whichever node asked it: for the first version
    // and for three more, each of them merged once or more, and for the reads.
    for (event, least) in [(".GenerateDataKey", 4), (".Decrypt", 6)] {
        let all = records(&cluster, Part::Kms, event);
        let of_key = |record: &&Value| record["details"]["key_id"] == own_key.as_str();
        let used: Vec<&Value> = all.iter().filter(of_key).collect();
        assert!(used.len() >= least, "{used:#?}");
        for record in used {
            assert_eq!(record["authentication"]["subject_id"], robot.id.as_str(), "{record}");
        }
    }
}
