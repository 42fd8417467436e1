//! The file of a history: what is written is read, and what is wrong is refused by line.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lockbox_jepsen::history::answer::{Answer, Code};
use lockbox_jepsen::history::call::{Call, ReadSecret};
use lockbox_jepsen::history::event::{Header, Phase};
use lockbox_jepsen::history::ids::{NodeId, OpId, ProcessId};
use lockbox_jepsen::history::jsonl::{ReadError, read};
use lockbox_jepsen::history::op::{Failure, Invocation, Outcome, Reply};
use lockbox_jepsen::history::recorder::{RecordError, Recorder};

/// A file in memory that can fail.
#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>, bool);

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut file = self.0.lock().unwrap();
        if self.1 && file.len() > 1000 {
            return Err(std::io::Error::other("the disk is full"));
        }
        file.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn header() -> Header {
    Header { format: 0, seed: 7, nodes: vec![NodeId(1)], started_at_ns: 1 }
}

fn recorder(file: &File) -> Recorder {
    let ticks = AtomicU64::new(0);
    let tick = Arc::new(move || ticks.fetch_add(10, Ordering::Relaxed));
    Recorder::start(header(), file.clone(), tick).unwrap()
}

fn ask(process: u64) -> Invocation {
    let (subject, idempotency_key) = (None, None);
    let call = Call::GetSecret(ReadSecret { secret: "s1".into() });
    Invocation {
        subject,
        idempotency_key,
        ..Invocation::by_administrator(ProcessId(process), NodeId(1), call)
    }
}

fn done() -> Outcome {
    Outcome::Ok(Reply { answer: Answer::Done, index: 3, term: 1, served_by: NodeId(1) })
}

#[test]
fn what_many_workers_record_is_read_again_in_order() {
    let file = File::default();
    let recorder = recorder(&file);
    recorder.phase(Phase::Quiet).unwrap();
    std::thread::scope(|scope| {
        for process in 0..8 {
            let recorder = &recorder;
            scope.spawn(move || {
                for _ in 0..1000 {
                    let op = recorder.invoke(ask(process)).unwrap();
                    recorder.complete(op, done()).unwrap();
                }
            });
        }
    });
    let recorded = recorder.finish().unwrap();
    assert_eq!((recorded.ops, recorded.events), (8000, 16_001));
    let bytes = file.0.lock().unwrap().clone();
    let history = read(bytes.as_slice()).unwrap();
    assert_eq!(history.ops.len(), 8000);
    assert!(history.ops.iter().all(|op| op.reply().is_some()));
    assert_eq!(history.end.order, 16_001);
}

#[test]
fn a_file_that_cannot_be_written_is_told_at_the_latest_at_the_end() {
    let file = File(Arc::default(), true);
    let recorder = recorder(&file);
    for _ in 0..20_000 {
        if recorder.phase(Phase::Quiet).is_err() {
            break;
        }
    }
    assert!(matches!(recorder.finish(), Err(RecordError::Io(_))));
}

fn written() -> Vec<String> {
    let file = File::default();
    let recorder = recorder(&file);
    let op = recorder.invoke(ask(0)).unwrap();
    recorder.complete(op, done()).unwrap();
    let op = recorder.invoke(ask(0)).unwrap();
    let lost = Failure { code: Code::Unavailable, message: "gone".into() };
    recorder.complete(op, Outcome::Info(lost)).unwrap();
    recorder.finish().unwrap();
    let text = String::from_utf8(file.0.lock().unwrap().clone()).unwrap();
    text.lines().map(|line| format!("{line}\n")).collect()
}

fn refused(lines: &[String]) -> String {
    read(lines.concat().as_bytes()).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_refused_by_its_line() {
    let lines = written();
    assert!(read(lines.concat().as_bytes()).is_ok());

    let mut other = lines.clone();
    other[0] = other[0].replace("\"format\":1", "\"format\":9");
    assert_eq!(refused(&other), "line 1: format 9 is not the format 1 that this build reads");

    let mut other = lines.clone();
    other[2] = other[2].replace("\"index\":3", "\"index\":3,\"more\":4");
    assert!(refused(&other).starts_with("line 3: unknown field `more`"), "{}", refused(&other));

    let mut other = lines.clone();
    other[1] = "{\"event\":\"surprise\"}\n".to_owned();
    assert!(refused(&other).starts_with("line 2: unknown variant `surprise`"));

    let mut other = lines.clone();
    other.swap(1, 2);
    assert!(refused(&other).contains("operation 0 ends and never began"));

    let mut other = lines.clone();
    other.remove(2);
    assert!(refused(&other).contains("line 3: process 0 begins operation 1 while its operation 0"));

    let cut = lines.concat();
    let error = read(&cut.as_bytes()[..cut.len() - 5]).unwrap_err();
    assert!(matches!(error, ReadError::CutOff { line: 5 }));
    assert!(matches!(read(&b""[..]), Err(ReadError::Empty)));
}

#[test]
fn a_process_is_dead_after_an_unknown_outcome() {
    let file = File::default();
    let recorder = recorder(&file);
    let op = recorder.invoke(ask(0)).unwrap();
    let lost = Failure { code: Code::Unavailable, message: "gone".into() };
    recorder.complete(op, Outcome::Info(lost)).unwrap();
    assert_eq!(recorder.invoke(ask(0)).unwrap(), OpId(1));
    recorder.finish().unwrap();
    let bytes = file.0.lock().unwrap().clone();
    let error = read(bytes.as_slice()).unwrap_err().to_string();
    let expected = "line 4: process 0 begins operation 1 after operation 0 of unknown outcome";
    assert_eq!(error, expected);
}
