//! The breaker on tokio's paused clock: no test waits.

use lockbox_platform::system::SystemRandom;

use super::*;

/// The longest draw, so that the ends of pauses are known.
struct Longest;

impl Randomness for Longest {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(u8::MAX);
    }
}

fn breaker() -> Breaker {
    Breaker::new(Arc::new(Longest))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

async fn fail(breaker: &Breaker, times: u32) {
    for _ in 0..times {
        breaker.enter(soon()).await.unwrap().failed();
    }
}

fn opens(breaker: &Breaker) -> u64 {
    breaker.counts().opens.load(Ordering::Relaxed)
}

/// What is told of a rest, with the longest draw.
fn resting(rest: Duration, pause: Duration) -> NotAsked {
    NotAsked::Resting { retry_after: rest.max(TOLD_MIN) + pause / 2 }
}

async fn refused(breaker: &Breaker) -> NotAsked {
    breaker.enter(soon()).await.err().unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_opens_after_failures_in_a_row_and_says_when_to_come_back() {
    let breaker = breaker();
    fail(&breaker, FAILURES_MAX - 1).await;
    breaker.enter(soon()).await.unwrap().answered();
    fail(&breaker, FAILURES_MAX - 1).await;
    assert_eq!((breaker.state(), opens(&breaker)), (State::Closed, 0));
    fail(&breaker, 1).await;
    assert_eq!((breaker.state(), opens(&breaker)), (State::Open, 1));
    assert_eq!(refused(&breaker).await, resting(PAUSE_MIN, PAUSE_MIN));
    tokio::time::advance(PAUSE_MIN / 2).await;
    assert_eq!(refused(&breaker).await, resting(PAUSE_MIN / 2, PAUSE_MIN));
    assert_eq!(breaker.counts().not_asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn one_probe_goes_through_and_its_answer_closes_it() {
    let breaker = breaker();
    fail(&breaker, FAILURES_MAX).await;
    tokio::time::advance(PAUSE_MIN).await;
    let probe = breaker.enter(soon()).await.unwrap();
    assert_eq!(breaker.state(), State::Probing);
    assert_eq!(refused(&breaker).await, resting(PAUSE_MIN, PAUSE_MIN));
    probe.answered();
    assert_eq!(breaker.state(), State::Closed);
    // It counts from the beginning.
    fail(&breaker, FAILURES_MAX - 1).await;
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_pause_grows_with_each_failed_probe_up_to_its_bound() {
    let breaker = breaker();
    fail(&breaker, FAILURES_MAX).await;
    let mut pause = PAUSE_MIN;
    for _ in 0..8 {
        assert_eq!(refused(&breaker).await, resting(pause, pause));
        tokio::time::advance(pause).await;
        breaker.enter(soon()).await.unwrap().failed();
        pause = (pause * 2).min(PAUSE_MAX);
    }
    assert_eq!((pause, opens(&breaker)), (PAUSE_MAX, 9));
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_caller_went_away_makes_room_for_another() {
    let breaker = breaker();
    fail(&breaker, FAILURES_MAX).await;
    tokio::time::advance(PAUSE_MIN).await;
    drop(breaker.enter(soon()).await.unwrap());
    assert_eq!(opens(&breaker), 1, "nothing was learnt");
    breaker.enter(soon()).await.unwrap().answered();
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn calls_of_an_earlier_outage_say_nothing_when_they_end_late() {
    let breaker = breaker();
    let mut hanging = Vec::new();
    for _ in 0..2 * FAILURES_MAX {
        hanging.push(breaker.enter(soon()).await.unwrap());
    }
    for ticket in hanging.drain(..usize::try_from(FAILURES_MAX).unwrap()) {
        ticket.failed();
    }
    tokio::time::advance(PAUSE_MIN).await;
    breaker.enter(soon()).await.unwrap().answered();
    for ticket in hanging {
        ticket.failed();
    }
    assert_eq!((breaker.state(), opens(&breaker)), (State::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn so_many_calls_are_under_way_and_so_many_wait() {
    let breaker = breaker();
    let mut under_way = Vec::new();
    for _ in 0..IN_FLIGHT_MAX {
        under_way.push(breaker.enter(soon()).await.unwrap());
    }
    let late = breaker.enter(Instant::now() + Duration::from_millis(5)).await;
    assert_eq!(late.err(), Some(NotAsked::Late));

    let waiting = (0..=WAITING_MAX).map(|_| breaker.enter(soon()));
    let waiting = futures::future::join_all(waiting);
    let ends = async {
        // All wait by now; the first in the queue gets the place, the rest learn that it is over.
        tokio::task::yield_now().await;
        under_way.pop().unwrap().answered();
        tokio::task::yield_now().await;
        for ticket in under_way.drain(..usize::try_from(FAILURES_MAX).unwrap()) {
            ticket.failed();
        }
    };
    // Without a budget for its polls, so that all of them are polled before it goes on.
    let both = async { tokio::join!(waiting, ends) };
    let (entered, ()) = tokio::task::unconstrained(both).await;
    let is = |wanted: NotAsked| {
        let same = |result: &&Result<Ticket<'_>, NotAsked>| result.as_ref().err() == Some(&wanted);
        entered.iter().filter(same).count()
    };
    assert_eq!(is(NotAsked::Crowded), 1);
    assert_eq!(is(resting(PAUSE_MIN, PAUSE_MIN)), WAITING_MAX - 1);
    assert_eq!(entered.iter().filter(|result| result.is_ok()).count(), 1);
}

#[test]
fn pauses_are_drawn_between_their_half_and_their_whole() {
    let breaker = Breaker::new(Arc::new(SystemRandom));
    let drawn: Vec<_> = (0..100).map(|_| breaker.drawn(PAUSE_MAX)).collect();
    assert!(drawn.iter().all(|pause| (PAUSE_MAX / 2..=PAUSE_MAX).contains(pause)));
    assert!(drawn.iter().any(|pause| *pause != drawn[0]));
}

/// Callers who were refused at the same time, and those who failed together, do not come back
/// together; and nobody comes back before the pause is over.
#[tokio::test(start_paused = true)]
async fn callers_are_told_different_times_within_bounds() {
    let breaker = Breaker::new(Arc::new(SystemRandom));
    fail(&breaker, FAILURES_MAX).await;
    let told = async || match refused(&breaker).await {
        NotAsked::Resting { retry_after } => retry_after,
        other => panic!("{other:?}"),
    };
    let Phase::Open { until, pause } = breaker.lock().phase else { panic!("it is open") };
    let rest = until - Instant::now();
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(told().await);
    }
    assert!(open.iter().all(|after| (rest..=rest + pause / 2).contains(after)), "{open:?}");
    assert!(open.iter().any(|after| *after != open[0]), "{open:?}");
    // Close to its end, too.
    tokio::time::advance(rest - Duration::from_millis(1)).await;
    let (first, second) = (told().await, told().await);
    let bounds = TOLD_MIN..=TOLD_MIN + pause / 2;
    assert!(bounds.contains(&first) && bounds.contains(&second), "{first:?} {second:?}");

    let second = Duration::from_secs(1);
    let around: Vec<_> = (0..100).map(|_| breaker.around(second)).collect();
    let bounds = second * 3 / 4..=second * 5 / 4;
    assert!(around.iter().all(|after| bounds.contains(after)), "{around:?}");
    assert!(around.iter().any(|after| *after != around[0]), "{around:?}");
}
