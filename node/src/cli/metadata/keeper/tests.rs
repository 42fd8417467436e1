//! The keeper with a clock of its own and logins that are scripted.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures::FutureExt;
use tokio::sync::Notify;

use super::*;
use lockbox_platform::exit::FatalExit;
use lockbox_platform::tasks::{TaskKind, Tasks};

/// A clock that stands until it is moved. The wall can be moved alone.
#[derive(Default)]
struct Hands {
    wall_ms: AtomicU64,
    monotonic_ms: AtomicU64,
}

impl Hands {
    fn pass(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap();
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.monotonic_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::SeqCst))
    }
}

/// A service that gives tokens t2, t3, … for an hour, when it is let.
struct Service {
    clock: Arc<Hands>,
    logins: AtomicUsize,
    refuses: Mutex<Option<&'static str>>,
    gate: Option<Notify>,
}

struct Kept {
    service: Arc<Service>,
    clock: Arc<Hands>,
    handle: TokenHandle,
    tasks: Tasks,
}

const HOUR: Duration = Duration::from_secs(3600);

fn issued(clock: &Hands, number: usize) -> IssuedToken {
    let expires_at_ms = clock.wall_ms() + 3_600_000;
    IssuedToken { token: SensitiveString::new(format!("t{number}")), expires_at_ms }
}

impl Kept {
    /// With the token t1, given now.
    fn start(gate: Option<Notify>) -> Self {
        let clock = Arc::new(Hands::default());
        let service = Arc::new(Service {
            clock: Arc::clone(&clock),
            logins: AtomicUsize::new(0),
            refuses: Mutex::new(None),
            gate,
        });
        let of_login = Arc::clone(&service);
        let log_in: LogIn = Box::new(move || {
            let service = Arc::clone(&of_login);
            async move {
                let number = service.logins.fetch_add(1, Ordering::SeqCst) + 2;
                if let Some(gate) = &service.gate {
                    gate.notified().await;
                }
                match *service.refuses.lock().unwrap() {
                    Some(why) => Err(Failure::usage(why)),
                    None => Ok(issued(&service.clock, number)),
                }
            }
            .boxed()
        });
        let first = issued(&clock, 1);
        let (handle, keeper) = TokenKeeper::new(log_in, Arc::clone(&clock) as _, first);
        let tasks = Tasks::new(FatalExit::new());
        tasks.spawn(TaskKind::Critical, "tokens", keeper.run(tasks.token()));
        Self { service, clock, handle, tasks }
    }

    async fn token(&self) -> Result<(String, u64), String> {
        let lent = self.handle.token().await?;
        Ok((lent.token.expose().clone(), lent.left.as_secs()))
    }

    fn logins(&self) -> usize {
        self.service.logins.load(Ordering::SeqCst)
    }

    async fn stop(self) {
        self.tasks.shutdown(Duration::from_secs(5)).await.unwrap();
        assert_eq!(self.tasks.fatal().raised(), None);
    }
}

fn said(token: &str, seconds: u64) -> Result<(String, u64), String> {
    Ok((token.to_owned(), seconds))
}

#[tokio::test]
async fn a_token_is_handed_out_until_shortly_before_its_end() {
    let kept = Kept::start(None);
    assert_eq!(kept.token().await, said("t1", 3600));
    kept.clock.pass(Duration::from_secs(3299));
    assert_eq!(kept.token().await, said("t1", 301));
    assert_eq!(kept.logins(), 0);
    // Due, and still good: who asks does not wait for the next one.
    kept.clock.pass(Duration::from_secs(1));
    assert_eq!(kept.token().await, said("t1", 300));
    while kept.token().await != said("t2", 3600) {
        tokio::task::yield_now().await;
    }
    assert_eq!(kept.logins(), 1);
    kept.stop().await;
}

#[tokio::test]
async fn all_wait_for_one_login_when_the_token_has_ended() {
    let kept = Kept::start(Some(Notify::new()));
    kept.clock.pass(HOUR);
    let (first, second, ()) = tokio::join!(kept.token(), kept.token(), async {
        while kept.logins() == 0 {
            tokio::task::yield_now().await;
        }
        kept.service.gate.as_ref().unwrap().notify_one();
    });
    assert_eq!((first, second), (said("t2", 3600), said("t2", 3600)));
    assert_eq!(kept.logins(), 1);
    kept.stop().await;
}

#[tokio::test]
async fn a_failed_login_takes_no_good_token_away_and_is_not_repeated_at_once() {
    let kept = Kept::start(None);
    *kept.service.refuses.lock().unwrap() = Some("the node is asleep");
    kept.clock.pass(HOUR - Duration::from_secs(100));
    for _ in 0..3 {
        assert_eq!(kept.token().await, said("t1", 100));
        tokio::task::yield_now().await;
    }
    assert_eq!(kept.logins(), 1);
    kept.clock.pass(Duration::from_secs(100));
    assert_eq!(kept.token().await, Err("the node is asleep".to_owned()));
    assert_eq!(kept.token().await, Err("the node is asleep".to_owned()));
    assert_eq!(kept.logins(), 2);
    *kept.service.refuses.lock().unwrap() = None;
    kept.clock.pass(PAUSE);
    assert_eq!(kept.token().await, said("t4", 3600));
    kept.stop().await;
}

#[tokio::test]
async fn a_machine_that_slept_and_a_clock_that_was_set_make_no_token_older() {
    let kept = Kept::start(None);
    // Asleep, the monotonic clock stands.
    kept.clock.wall_ms.fetch_add(3_600_000, Ordering::SeqCst);
    assert_eq!(kept.token().await, said("t2", 3600));
    // Set back, the wall clock says less than has passed.
    kept.clock.monotonic_ms.fetch_add(3_600_000, Ordering::SeqCst);
    kept.clock.wall_ms.fetch_sub(1_000_000, Ordering::SeqCst);
    assert_eq!(kept.token().await, said("t3", 3600));
    kept.stop().await;
}

#[tokio::test]
async fn who_asks_while_too_many_wait_is_refused_at_once() {
    let kept = Kept::start(Some(Notify::new()));
    kept.clock.pass(HOUR);
    let mut asking: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(kept.token())).collect();
    for one in &mut asking {
        assert!(futures::poll!(one.as_mut()).is_pending());
    }
    while kept.logins() == 0 {
        tokio::task::yield_now().await;
    }
    let refused = kept.token().await.unwrap_err();
    assert!(refused.contains("too many"), "{refused}");
    drop(asking);
    kept.stop().await;
}
