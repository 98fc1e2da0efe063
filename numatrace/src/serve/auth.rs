//! Basic authentication: who may see the numbers. Place in the flow: `http` asks for each request.
//!
//! A password is checked with bcrypt, which is slow on purpose. So that this is nobody's lever: one check at a time, on a thread of
//! its own; few wait for it; after [`FAILURES`] wrong ones in a second all but known credentials are turned away unchecked; and
//! credentials that were right once are known by a keyed hash, so that Prometheus costs nothing.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
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
    known: Mutex<VecDeque<[u8; 32]>>,
    failures: Mutex<VecDeque<Instant>>,
    checks: Arc<Semaphore>,
    waiting: AtomicUsize,
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
            known: Mutex::default(),
            failures: Mutex::default(),
            checks: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Looks at the `Authorization` of a request.
    pub(super) async fn check(&self, header: Option<&HeaderValue>) -> Verdict {
        let Some((user, password)) = header.and_then(credentials) else { return Verdict::Wrong };
        let digest = self.digest(&user, &password);
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest) {
            return Verdict::Right;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waits = Waits(&self.waiting);
        if self.waiting.load(Ordering::Relaxed) > WAITING {
            return Verdict::TooMany;
        }
        let Ok(permit) = Arc::clone(&self.checks).acquire_owned().await else { return Verdict::Wrong };
        drop(waits);
        if self.has_many_failures() {
            return Verdict::TooMany;
        }
        let (hash, is_user) = self.users.get(&user).map_or((&self.decoy, false), |hash| (hash, true));
        let hash = hash.clone();
        let check = tokio::task::spawn_blocking(move || {
            // Also when the client has left meanwhile, the next check waits for this one.
            let _permit = permit;
            bcrypt::verify(password, &hash).unwrap_or(false)
        });
        let right = check.await.unwrap_or(false) && is_user;
        if right {
            self.remember(digest);
            Verdict::Right
        } else {
            self.failures.lock().unwrap_or_else(PoisonError::into_inner).push_back(Instant::now());
            Verdict::Wrong
        }
    }

    fn digest(&self, user: &str, password: &[u8]) -> [u8; 32] {
        let hash = Sha256::new().chain_update(self.salt);
        hash.chain_update((user.len() as u64).to_le_bytes()).chain_update(user).chain_update(password).finalize().into()
    }

    fn remember(&self, digest: [u8; 32]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN {
            known.pop_front();
        }
        known.push_back(digest);
    }

    fn has_many_failures(&self) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        while failures.front().is_some_and(|at| at.elapsed() >= Duration::from_secs(1)) {
            failures.pop_front();
        }
        failures.len() >= FAILURES
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
            auth.remember(auth.digest("alice", &n.to_ne_bytes()));
        }
        assert_eq!(auth.known.lock().unwrap().len(), KNOWN);
    }
}
