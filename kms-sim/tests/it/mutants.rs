//! The seeded bugs of the KMS bite: each test runs healthy and as the mutant (`crate::trial`).

use lockbox_core::Mutant;
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::ledger::verify::verify;
use lockbox_kms_sim::store::records::KeyStatus;

use crate::support::{admin, data_key, open, through_node};
use crate::trial::Trial;

#[tokio::test]
async fn retry_billed_twice() {
    let trial = Trial::of(Mutant::RetryBilledTwice);
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let caller = through_node(&admin(), &[1; 16]);
    assert!(kms.call(&caller, data_key(&key)).await.unwrap().billable);
    let again = kms.call(&caller, data_key(&key)).await.unwrap();
    kms.stop().await;
    trial.end(again.billable);
}

#[tokio::test]
async fn served_unbilled() {
    let trial = Trial::of(Mutant::ServedUnbilled);
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    kms.call(&admin(), data_key(&key)).await.unwrap();
    // What a kill would leave behind right now.
    let recorded = verify(&kms.engine.view()).unwrap().records;
    kms.stop().await;
    trial.end(recorded == 0);
}

#[tokio::test]
async fn wrong_key_billed() {
    let trial = Trial::of(Mutant::WrongKeyBilled);
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let other = kms.create(&admin(), Algorithm::Aes256).await;
    kms.call(&admin(), data_key(&key)).await.unwrap();
    let verified = verify(&kms.engine.view()).unwrap();
    kms.stop().await;
    assert_eq!(verified.problems, [], "its own books agree");
    let billed: Vec<_> = verified.counters.keys().map(|counter| counter.key_id.clone()).collect();
    trial.end(billed == [other]);
}

#[tokio::test]
async fn key_status_cached() {
    let trial = Trial::of(Mutant::KeyStatusCached);
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    kms.call(&admin(), data_key(&key)).await.unwrap();
    kms.set_status(&admin(), &key, KeyStatus::Inactive).await;
    let after = kms.call(&admin(), data_key(&key)).await;
    kms.stop().await;
    trial.end(after.is_ok());
}
