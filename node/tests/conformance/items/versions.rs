//! Items 5 to 7: versions added, made current, destroyed.

use serde_json::{Value, json};

use crate::api::{Api, code, pairs, text, texts};
use crate::waiting::until;

const PAYLOAD: &str = "lockbox.v1.PayloadService/Get";

/// Set, replace, remove in each way, keep the order, copy, an explicit base, a foreign one.
pub(super) async fn add_version(api: Api) {
    let id = api.secret(&[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let first = text(&api.get(&id).await["currentVersion"]["id"]);
    let change = |entries: Value| json!({ "payloadEntries": entries });
    api.add(&id, change(texts(&[("b", "changed"), ("d", "4")]))).await;
    let expected = pairs(&[("a", "1"), ("b", "changed"), ("c", "3"), ("d", "4")]);
    assert_eq!(api.entries(&id, "").await, expected, "in the base's order, new ones behind");
    // By a missing and by an empty value; what is not there is no mistake.
    let removals = json!([{ "key": "a" }, { "key": "c", "textValue": "" }, { "key": "nothing" }]);
    api.add(&id, change(removals)).await;
    let expected = pairs(&[("b", "changed"), ("d", "4")]);
    assert_eq!(api.entries(&id, "").await, expected);
    let copy = api.add(&id, json!({ "description": "a copy" })).await;
    assert_eq!(api.entries(&id, "").await, expected);
    assert_eq!(text(&copy["description"]), "a copy");
    assert_eq!(copy["payloadEntryKeys"], json!(["b", "d"]));
    api.add(&id, json!({ "baseVersionId": first })).await;
    assert_eq!(api.entries(&id, "").await, pairs(&[("a", "1"), ("b", "2"), ("c", "3")]));
    // What was a version stays what it was.
    assert_eq!(api.entries(&id, &text(&copy["id"])).await, expected);

    let other = api.secret(&[("x", "y")]).await;
    let foreign = text(&api.get(&other).await["currentVersion"]["id"]);
    let add = "lockbox.v1.SecretService/AddVersion";
    let with = |mut fields: Value| {
        fields["secretId"] = json!(id);
        fields
    };
    let foreign = with(json!({ "baseVersionId": foreign }));
    api.refused(code::NOT_FOUND, add, foreign).await;
    for entries in
        [texts(&[("k", "1"), ("k", "2")]), json!([{ "key": "a" }, { "key": "b" }, { "key": "c" }])]
    {
        api.refused(code::INVALID_ARGUMENT, add, with(change(entries))).await;
    }
}

/// The pointer moves on every addition and by SetCurrentVersion; a destroyed current version is
/// shown and not read, and an addition repairs the secret.
pub(super) async fn current_version(api: Api) {
    let id = api.secret(&[("k", "1")]).await;
    let current = async || text(&api.get(&id).await["currentVersion"]["id"]);
    let first = current().await;
    let second = api.add(&id, json!({ "payloadEntries": texts(&[("k", "2")]) })).await;
    assert_eq!(current().await, text(&second["id"]));
    let third = api.add(&id, json!({ "baseVersionId": first })).await;
    assert_eq!(current().await, text(&third["id"]), "also from an old base");
    let set = json!({ "secretId": id, "versionId": second["id"] });
    let set = api.must("lockbox.v1.SecretService/SetCurrentVersion", set).await;
    assert_eq!(set["response"]["id"], second["id"]);
    assert_eq!(current().await, text(&second["id"]));
    assert_eq!(api.entries(&id, "").await, pairs(&[("k", "2")]));

    let destroy = json!({ "secretId": id, "versionId": second["id"] });
    api.must("lockbox.v1.SecretService/ScheduleVersionDestruction", destroy.clone()).await;
    let shown = api.get(&id).await;
    assert_eq!(shown["currentVersion"]["id"], second["id"]);
    assert_eq!(shown["currentVersion"]["status"], "SCHEDULED_FOR_DESTRUCTION");
    api.refused(code::FAILED_PRECONDITION, PAYLOAD, json!({ "secretId": id })).await;
    api.refused(code::FAILED_PRECONDITION, PAYLOAD, destroy).await;
    // From an empty payload: nothing of the version that goes.
    api.add(&id, json!({ "payloadEntries": texts(&[("fresh", "3")]) })).await;
    assert_eq!(api.entries(&id, "").await, pairs(&[("fresh", "3")]));
    let unknown = json!({ "secretId": id, "versionId": "e6qnothing" });
    let set = "lockbox.v1.SecretService/SetCurrentVersion";
    api.refused(code::NOT_FOUND, set, unknown).await;
}

/// Seven days unless said otherwise, called off, carried out, final.
pub(super) async fn destruction(api: Api) {
    let id = api.secret(&[("k", "1")]).await;
    let first = text(&api.get(&id).await["currentVersion"]["id"]);
    api.add(&id, json!({ "payloadEntries": texts(&[("k", "2")]) })).await;
    let schedule = "lockbox.v1.SecretService/ScheduleVersionDestruction";
    let cancel = "lockbox.v1.SecretService/CancelVersionDestruction";
    let of_first = || json!({ "secretId": id, "versionId": first });
    let scheduled = api.must(schedule, of_first()).await;
    let week = seconds(&scheduled["response"]["destroyAt"]) - seconds(&scheduled["createdAt"]);
    assert_eq!(week, 7 * 24 * 3600, "{scheduled}");
    assert_eq!(scheduled["response"]["status"], "SCHEDULED_FOR_DESTRUCTION");
    let kept = api.must(cancel, of_first()).await;
    assert_eq!(kept["response"]["status"], "ACTIVE");
    assert!(kept["response"].get("destroyAt").is_none(), "{kept}");
    assert_eq!(api.entries(&id, &first).await, pairs(&[("k", "1")]));
    api.refused(code::FAILED_PRECONDITION, cancel, of_first()).await;

    let mut soon = of_first();
    soon["pendingPeriod"] = json!("1s");
    api.must(schedule, soon).await;
    let listed = until("destroyed version", async || {
        let list = json!({ "secretId": id });
        let listed = api.must("lockbox.v1.SecretService/ListVersions", list).await;
        let versions = listed["versions"].as_array().cloned().unwrap();
        let mine = versions.into_iter().find(|version| version["id"] == json!(first)).unwrap();
        (mine["status"] == "DESTROYED").then_some(mine)
    })
    .await;
    assert_eq!(listed["id"], json!(first), "it stays in the list");
    api.refused(code::FAILED_PRECONDITION, cancel, of_first()).await;
    api.refused(code::FAILED_PRECONDITION, PAYLOAD, of_first()).await;
    for wrong in ["0s", "-1s", "31536001s"] {
        let mut wrong_period = of_first();
        wrong_period["pendingPeriod"] = json!(wrong);
        api.refused(code::INVALID_ARGUMENT, schedule, wrong_period).await;
    }
}

/// Seconds of a time in RFC 3339 since some day; enough to subtract two.
fn seconds(at: &Value) -> i64 {
    let at: prost_types::Timestamp = text(at).parse().unwrap();
    at.seconds
}
