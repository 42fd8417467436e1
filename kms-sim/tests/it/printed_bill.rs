//! The bill that is printed: of counters that the ledger gives, or none.

use std::time::Duration;

use lockbox_core::codec::encode as encode_row;
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::engine::db_directory;
use lockbox_kms_sim::keys::command::Quotas;
use lockbox_kms_sim::ledger::counters::{CounterKey, Counts};
use lockbox_kms_sim::store::tables::Table;
use lockbox_kms_sim::store::{Db, Write};

use crate::process::run;
use crate::support::{ROOT, TestClock, admin, open_with};

#[tokio::test]
async fn security_s19_there_is_no_bill_of_rewritten_counters() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let quotas = Quotas { keys_per_cloud: 100, versions_per_key: 100 };
    let kms = open_with(directory.path(), ROOT, clock.clone(), quotas).await.unwrap();
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    for calls in [3, 4, 5] {
        for _ in 0..calls {
            kms.encrypt(&admin(), &key, b"x").await;
        }
        clock.advance(Duration::from_hours(2));
    }
    kms.stop().await;
    let store = db_directory(directory.path());
    let rows: Vec<(Vec<u8>, Vec<u8>)> = {
        let db = Db::open(&store).unwrap();
        let rows =
            db.view().scan(Table::Counters, b"", b"").map(Result::unwrap).collect::<Vec<_>>();
        rows.into_iter().map(|(row, value)| (row.into_vec(), value.into_vec())).collect()
    };
    assert_eq!(rows.len(), 3);
    let bill = |hour: Option<u64>| {
        let time = |hour: u64| {
            let seconds = i64::try_from(hour * 3600).unwrap();
            jiff::Timestamp::from_second(seconds).unwrap().to_string()
        };
        let mut arguments = vec!["billing", "report", "--format", "json", "--data"];
        arguments.push(directory.path().to_str().unwrap());
        let span = hour.map(|hour| (time(hour), time(hour + 1)));
        if let Some((from, to)) = &span {
            arguments.extend(["--from", from.as_str(), "--to", to.as_str()]);
        }
        run(&arguments)
    };
    let hours: Vec<u64> =
        rows.iter().map(|(row, _)| CounterKey::parse(row).unwrap().hour).collect();
    let counted = |hour: Option<u64>| {
        let (code, output, error) = bill(hour);
        assert_eq!(code, 0, "{error}");
        let bill: serde_json::Value = serde_json::from_str(&output).unwrap();
        bill["meters"][0]["counted"].as_u64().unwrap()
    };
    assert_eq!(hours.iter().map(|hour| counted(Some(*hour))).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!((counted(None), counted(Some(hours[0] + 1))), (12, 0));

    // Another number, none at all, and one of an hour without calls.
    let other = encode_row(&Counts { billed: 1, unbilled: 0 });
    let mut foreign = CounterKey::parse(&rows[0].0).unwrap();
    foreign.hour += 1;
    for (row, value, hour) in [
        (rows[1].0.clone(), Some(other.clone()), hours[1]),
        (rows[0].0.clone(), None, hours[0]),
        (foreign.row(), Some(other), foreign.hour),
    ] {
        let before = {
            let db = Db::open(&store).unwrap();
            let before = db.view().get(Table::Counters, &row).unwrap();
            db.commit(&[Write { table: Table::Counters, row: row.clone(), value }]).unwrap();
            before
        };
        for span in [Some(hour), None] {
            let (code, output, error) = bill(span);
            assert_eq!((code, output.as_str()), (11, ""), "{error}");
            assert!(error.contains("counter "), "{error}");
        }
        assert_eq!(counted(Some(hours[2])), 5, "of hours that are right there is a bill");
        let db = Db::open(&store).unwrap();
        db.commit(&[Write { table: Table::Counters, row, value: before }]).unwrap();
    }
    assert_eq!(counted(None), 12);
}
