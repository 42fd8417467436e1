//! A call that breaks on its way.

use std::path::Path;
use std::time::Duration;

use lockbox_core::Clock;
use lockbox_platform::audit::{self, AuditConfig, AuditFiles};
use lockbox_platform::detach::{Calls, detached};
use lockbox_platform::exit::FatalExit;
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::rate::{Rate, RateLimits};
use lockbox_platform::system::{SystemClock, SystemRandom};
use lockbox_platform::tasks::Tasks;
use tonic::Code;
use tonic::codegen::http::HeaderMap;

use super::*;
use crate::audit_head::AuditHeads;
use crate::authn::Authenticator;
use crate::authn::policy::Policy;
use crate::config::Periods;
use crate::engine::{Engine, EngineParts};
use crate::keys::command::Quotas;
use crate::metrics::KmsMetrics;
use crate::root_key::RootKey;
use crate::usage::KeyOperations;

/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

async fn edge(directory: &Path, tasks: &Tasks) -> Edge {
    let metrics = Metrics::new(Prefix::Kms).unwrap();
    let kms_metrics = KmsMetrics::register(&metrics).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let parts = EngineParts {
        root: RootKey::from_bytes(&[9; 32]),
        clock: Arc::clone(&clock),
        random: Arc::new(SystemRandom),
        quotas: Quotas { keys_per_cloud: 1, versions_per_key: 1 },
        metrics: kms_metrics.ledger.clone(),
        tasks: tasks.clone(),
    };
    let audit_config = AuditConfig::new(&directory.join("audit.jsonl"));
    let auditor = audit::open(&audit_config, Arc::clone(&clock), tasks, metrics.audit.clone());
    let auditor = auditor.unwrap();
    let engine = Engine::open(&directory.join("data"), parts).await.unwrap();
    let (files, signer) = (AuditFiles::of(&audit_config.path), engine.mac_key().head_signer());
    let (writer, signer, own_clock) = (auditor.clone(), signer.unwrap(), Arc::clone(&clock));
    let audit_heads = AuditHeads::new(writer, files, signer, own_clock, tasks.clone());
    let hour = Duration::from_secs(3600);
    Edge {
        engine: Arc::new(engine),
        authenticator: Authenticator::new(vec![], Policy::default(), None, Arc::clone(&clock)),
        auditor,
        audit_heads,
        metrics: kms_metrics,
        key_operations: KeyOperations::default(),
        clock,
        random: Arc::new(SystemRandom),
        calls: Calls::default(),
        fatal: tasks.fatal().clone(),
        operators: Vec::new(),
        rate: RateLimits::new(Rate::default()),
        periods: Periods { rotation_min: hour, pending_min: hour, deleted: hour },
    }
}

fn broken() -> u64 {
    panic!("broken")
}

/// What it had done is done: there is a record of it, also when its caller has gone.
#[tokio::test]
async fn a_call_that_breaks_is_on_record() {
    let directory = tempfile::tempdir().unwrap();
    let tasks = Tasks::new(FatalExit::new());
    let edge = Arc::new(edge(directory.path(), &tasks).await);
    let method = "/yandex.cloud.kms.v1.SymmetricCryptoService/Decrypt";
    let breaks = |known: bool| {
        let edge = Arc::clone(&edge);
        let context = RequestContext::take(method, &mut HeaderMap::new(), None, &SystemRandom);
        async move {
            let mut call = Call::of(&edge, Arc::new(context), &MetadataMap::new());
            if known {
                let caller = Caller::operator("operator");
                call.authenticated = Some(caller.into());
            }
            tokio::task::yield_now().await;
            let value = broken();
            let event = unread::event(method).expect("an event");
            call.finish(&edge, event, Ok(Answer { value, index: 1 })).await
        }
    };
    let answer = detached(&edge.calls, breaks(false)).await;
    assert_eq!(answer.unwrap_err().code(), Code::Internal);
    let mut gone = Box::pin(detached(&edge.calls, breaks(true)));
    assert!(futures::poll!(gone.as_mut()).is_pending());
    drop(gone);
    edge.calls.close();
    tokio::time::timeout(PATIENCE, edge.calls.wait()).await.expect("in time");

    let audit = std::fs::read_to_string(directory.path().join("audit.jsonl")).unwrap();
    let records: Vec<serde_json::Value> =
        audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2, "{records:?}");
    for (record, is_known) in records.iter().zip([false, true]) {
        assert_eq!(record["event_type"], "yandex.cloud.audit.kms.Decrypt");
        assert_eq!(record["event_status"], "ERROR");
        assert_eq!(record["error"]["code"], i32::from(Code::Internal));
        assert_eq!(record["authentication"]["authenticated"], is_known, "{record}");
    }
    edge.engine.stop().await;
    drop(edge);
    assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
}
