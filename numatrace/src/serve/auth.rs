//! Basic authentication: who may see the numbers. Place in the flow: `http` asks for each request.
//!
//! A password is checked with bcrypt, which is slow on purpose. So that this is nobody's lever: one check at a time, on a thread of
//! its own; few wait for it; after [`FAILURES`] wrong ones in a second, or half of the time spent on wrong ones, all but known
//! credentials are turned away unchecked; and credentials that were right once are known by a keyed hash, so that Prometheus costs
//! nothing.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// Wrong credentials in a second, beyond which no more are checked.
const FAILURES: usize = 10;
/// Time in checks of wrong credentials, beyond which no more are checked. Half of the time that passes is taken off again, so that
/// wrong ones take half of a core at most, however much one costs.
const SPENT: Duration = Duration::from_millis(500);
/// Credentials that can wait for their check.
const WAITING: usize = 8;
/// Right credentials that are remembered.
const KNOWN: usize = 64;

/// What came of a look at credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// They were not checked: there were too many wrong ones.
    TooMany,
}

/// The users of a configuration.
#[derive(Debug)]
pub(super) struct Auth {
    /// bcrypt hashes by name.
    users: HashMap<String, String>,
    /// The most expensive of them: for names that are not known, so that they take as long.
    decoy: String,
    /// Makes digests of known credentials useless to anyone else.
    salt: [u8; 32],
    outcomes: Arc<Outcomes>,
    checks: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// What came of checks so far. Each check tells it by itself: who asked can have left before it ends.
#[derive(Debug, Default)]
struct Outcomes {
    known: Mutex<VecDeque<[u8; 32]>>,
    failures: Mutex<Failures>,
}

impl Outcomes {
    fn known(&self) -> MutexGuard<'_, VecDeque<[u8; 32]>> {
        // Nothing panics while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, digest: [u8; 32]) {
        let mut known = self.known();
        if known.len() >= KNOWN {
            known.pop_front();
        }
        known.push_back(digest);
    }
}

/// Wrong credentials that were checked.
#[derive(Debug, Default)]
struct Failures {
    /// When, those of the last second.
    times: VecDeque<Instant>,
    /// Time in their checks, less half of the time since.
    spent: Duration,
    /// As of this moment.
    spent_at: Option<Instant>,
}

impl Failures {
    /// A check that took so long has ended.
    fn add(&mut self, now: Instant, took: Duration) {
        self.pass(now);
        self.times.push_back(now);
        self.spent += took;
    }

    fn are_many(&mut self, now: Instant) -> bool {
        self.pass(now);
        self.times.len() >= FAILURES || self.spent >= SPENT
    }

    fn pass(&mut self, now: Instant) {
        while self.times.front().is_some_and(|at| now.saturating_duration_since(*at) >= Duration::from_secs(1)) {
            self.times.pop_front();
        }
        let passed = self.spent_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.spent = self.spent.saturating_sub(passed / 2);
        self.spent_at = Some(now);
    }
}

/// One of those that wait for a check.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Auth {
    /// Of names and bcrypt hashes that can be parsed; `None` where there are none.
    pub(super) fn new(users: HashMap<String, String>) -> Option<Auth> {
        let decoy = users.values().max_by_key(|hash| cost(hash))?.clone();
        Some(Auth {
            users,
            decoy,
            salt: salt(),
            outcomes: Arc::default(),
            checks: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Looks at the `Authorization` of a request.
    pub(super) async fn check(&self, header: Option<&HeaderValue>) -> Verdict {
        let Some((user, password)) = header.and_then(credentials) else { return Verdict::Wrong };
        let digest = self.digest(&user, &password);
        if self.outcomes.known().contains(&digest) {
            return Verdict::Right;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waits = Waits(&self.waiting);
        if self.waiting.load(Ordering::Relaxed) > WAITING {
            return Verdict::TooMany;
        }
        let Ok(permit) = Arc::clone(&self.checks).acquire_owned().await else { return Verdict::Wrong };
        drop(waits);
        // Someone else may have shown the same ones meanwhile.
        if self.outcomes.known().contains(&digest) {
            return Verdict::Right;
        }
        if self.outcomes.failures().are_many(Instant::now()) {
            return Verdict::TooMany;
        }
        let (hash, is_user) = self.users.get(&user).map_or((&self.decoy, false), |hash| (hash, true));
        let hash = hash.clone();
        let outcomes = Arc::clone(&self.outcomes);
        let check = tokio::task::spawn_blocking(move || {
            // Also when the client has left meanwhile, the next check waits for this one and what came of it.
            let _permit = permit;
            let begin = Instant::now();
            let right = bcrypt::verify(password, &hash).unwrap_or(false) && is_user;
            if right {
                outcomes.remember(digest);
            } else {
                let now = Instant::now();
                outcomes.failures().add(now, now.saturating_duration_since(begin));
            }
            right
        });
        if check.await.unwrap_or(false) { Verdict::Right } else { Verdict::Wrong }
    }

    /// Whether these are its users, with these hashes.
    pub(super) fn has(&self, users: &HashMap<String, String>) -> bool {
        self.users == *users
    }

    fn digest(&self, user: &str, password: &[u8]) -> [u8; 32] {
        let hash = Sha256::new().chain_update(self.salt);
        hash.chain_update((user.len() as u64).to_le_bytes()).chain_update(user).chain_update(password).finalize().into()
    }
}

/// The cost of a bcrypt hash: its work is two to the power of it. `None` where it is no such hash.
pub(super) fn cost(hash: &str) -> Option<u32> {
    hash.parse::<bcrypt::HashParts>().ok().map(|parts| parts.get_cost())
}

/// Name and password of `Basic`.
fn credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.to_str().ok()?.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some((String::from_utf8(decoded[..colon].to_vec()).ok()?, decoded[colon + 1..].to_vec()))
}

/// Bytes that nobody can guess: the standard library's hashes are keyed by the system's random numbers.
fn salt() -> [u8; 32] {
    let mut salt = [0; 32];
    for (at, part) in salt.chunks_exact_mut(8).enumerate() {
        part.copy_from_slice(&RandomState::new().hash_one(at).to_ne_bytes());
    }
    salt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(text))).unwrap()
    }

    fn auth(cost: u32) -> Auth {
        Auth::new(HashMap::from([("alice".to_owned(), bcrypt::hash("s3:cret", cost).unwrap())])).unwrap()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_time().build().unwrap()
    }

    #[test]
    fn right_wrong_and_none() {
        runtime().block_on(async {
            let auth = auth(4);
            assert_eq!(auth.check(Some(&basic("alice:s3:cret"))).await, Verdict::Right);
            for wrong in ["alice:", "alice:s3:creT", "bob:s3:cret", ":", "alice", ""] {
                assert_eq!(auth.check(Some(&basic(wrong))).await, Verdict::Wrong, "{wrong}");
            }
            for other in ["", "Basic", "Basic !!!", "Bearer YWxpY2U6czM6Y3JldA==", "Basic\u{9}x"] {
                assert_eq!(auth.check(Some(&HeaderValue::from_str(other).unwrap())).await, Verdict::Wrong, "{other}");
            }
            assert_eq!(auth.check(None).await, Verdict::Wrong);
        });
    }

    #[test]
    fn many_wrong_ones_are_not_checked_and_known_ones_still_pass() {
        runtime().block_on(async {
            let auth = auth(4);
            assert_eq!(auth.check(Some(&basic("alice:s3:cret"))).await, Verdict::Right);
            let begin = Instant::now();
            let mut verdicts = Vec::new();
            for n in 0..200 {
                verdicts.push(auth.check(Some(&basic(&format!("alice:{n}")))).await);
            }
            let wrong = verdicts.iter().filter(|verdict| **verdict == Verdict::Wrong).count();
            // As many in each second that this took.
            let most = FAILURES * (2 + begin.elapsed().as_secs() as usize);
            assert!((FAILURES..=most).contains(&wrong), "{wrong}");
            assert_eq!(verdicts[FAILURES], Verdict::TooMany);
            assert_eq!(auth.check(Some(&basic("alice:s3:cret"))).await, Verdict::Right);
        });
    }

    #[test]
    fn few_wait() {
        runtime().block_on(async {
            let auth = Arc::new(auth(4));
            let held = Arc::clone(&auth.checks).acquire_owned().await.unwrap();
            let waiting: Vec<_> = (0..WAITING + 5)
                .map(|n| {
                    let auth = Arc::clone(&auth);
                    tokio::spawn(async move { auth.check(Some(&basic(&format!("alice:{n}")))).await })
                })
                .collect();
            tokio::task::yield_now().await;
            drop(held);
            let mut verdicts = Vec::new();
            for task in waiting {
                verdicts.push(task.await.unwrap());
            }
            assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Wrong).count(), WAITING);
            assert_eq!(auth.waiting.load(Ordering::Relaxed), 0);
        });
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let auth = auth(4);
        for n in 0..1_000_u64 {
            auth.outcomes.remember(auth.digest("alice", &n.to_ne_bytes()));
        }
        assert_eq!(auth.outcomes.known().len(), KNOWN);
    }

    #[test]
    fn who_leaves_before_the_check_ends_is_counted() {
        runtime().block_on(async {
            let auth = Arc::new(auth(4));
            for (shown, failures, known) in [("alice:wrong", 1, 0), ("alice:s3:cret", 1, 1)] {
                let asking = Arc::clone(&auth);
                let asks = tokio::spawn(async move { asking.check(Some(&basic(shown))).await });
                while auth.checks.available_permits() > 0 && !asks.is_finished() {
                    tokio::task::yield_now().await;
                }
                asks.abort();
                let _ = asks.await;
                // When there is a permit again the check has ended.
                drop(auth.checks.acquire().await.unwrap());
                assert_eq!(auth.outcomes.failures().times.len(), failures, "{shown}");
                assert_eq!(auth.outcomes.known().len(), known, "{shown}");
            }
        });
    }

    /// Someone who shows wrong ones whenever they are checked.
    #[test]
    fn wrong_ones_take_half_of_a_core_at_most_whatever_they_cost() {
        let begin = Instant::now();
        for took in [1, 20, 50, 100, 400, 1_000, 1_500].map(Duration::from_millis) {
            let (mut failures, mut now, mut spent, mut checks) = (Failures::default(), begin, Duration::ZERO, 0_u32);
            let whole = Duration::from_secs(300);
            while now < begin + whole {
                if failures.are_many(now) {
                    now += Duration::from_millis(1);
                } else {
                    now += took;
                    failures.add(now, took);
                    spent += took;
                    checks += 1;
                }
            }
            assert!(spent <= whole / 2 + SPENT + took, "{took:?}: {spent:?}");
            // And no fewer are checked than need be.
            let least = (whole.as_secs() as u32 * FAILURES as u32 * 9 / 10)
                .min(whole.as_millis() as u32 * 40 / 100 / took.as_millis() as u32);
            assert!(checks >= least, "{took:?}: {checks} of {least}");
        }
    }
}
