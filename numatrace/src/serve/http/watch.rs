//! What each connection is about, and since when: who is late has to go.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use super::{Limits, Refusals, count};

/// What a connection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// TLS is being agreed upon.
    Handshake,
    /// A request is being read.
    Head,
    /// An answer is being made, or sent.
    Answer { generation: u64, made: bool },
    /// Between two requests.
    Idle,
    /// It was told to go.
    Closing,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Watch {
    state: Mutex<(Phase, Instant)>,
    close: Notify,
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, (Phase, Instant)> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.state();
        if state.0 != Phase::Closing {
            *state = (phase, Instant::now());
        }
    }

    /// TLS is agreed upon, or not wanted.
    pub(super) fn ready(&self) {
        self.enter(Phase::Head);
    }

    /// A request has come.
    pub(super) fn asked(&self) {
        self.enter(Phase::Answer { generation: u64::MAX, made: false });
    }

    /// Its answer comes from this collection.
    pub(super) fn answers_from(&self, of: u64) {
        if let Phase::Answer { generation, .. } = &mut self.state().0 {
            *generation = of;
        }
    }

    /// All of the answer was handed over; it is not sent yet.
    fn made_all(&self) {
        if let Phase::Answer { made, .. } = &mut self.state().0 {
            *made = true;
        }
    }

    fn sent_all(&self) {
        let waits = matches!(self.state().0, Phase::Answer { made: true, .. });
        if waits {
            self.enter(Phase::Idle);
        }
    }

    fn received(&self) {
        let begins = self.state().0 == Phase::Idle;
        if begins {
            self.enter(Phase::Head);
        }
    }

    /// Whether a request was being read: what the server says then is that it was malformed.
    pub(super) fn reads(&self) -> bool {
        self.state().0 == Phase::Head
    }

    /// Ends when the connection has to.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    fn tell_to_go(&self) {
        self.enter(Phase::Closing);
        self.close.notify_one();
    }

    fn is_late(&self, limits: &Limits, now: Instant) -> Option<bool> {
        let (phase, since) = *self.state();
        let (limit, slow): (Duration, bool) = match phase {
            Phase::Handshake | Phase::Head => (limits.head, true),
            Phase::Answer { .. } => (limits.answer, true),
            Phase::Idle => (limits.idle, false),
            Phase::Closing => return None,
        };
        (now.saturating_duration_since(since) >= limit).then_some(slow)
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Vec<Arc<Watch>>>);

impl Connections {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<Watch>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more: a free one, or that of the connection that was idle for longest, else that of the one from which a whole
    /// request has been awaited for longest, which is counted. Whoever keeps connections without using them cannot keep others out;
    /// `None` where answers are sent to all.
    pub(super) fn open(&self, most: usize, refusals: &Refusals) -> Option<Arc<Watch>> {
        let mut all = self.all();
        if all.iter().filter(|watch| watch.state().0 != Phase::Closing).count() >= most {
            let oldest = |wanted: fn(Phase) -> bool| {
                let those = all.iter().filter(|watch| wanted(watch.state().0));
                those.min_by_key(|watch| watch.state().1)
            };
            if let Some(idle) = oldest(|phase| phase == Phase::Idle) {
                idle.tell_to_go();
            } else {
                count(&refusals.limit);
                oldest(|phase| matches!(phase, Phase::Handshake | Phase::Head))?.tell_to_go();
            }
        }
        let watch = Arc::new(Watch { state: Mutex::new((Phase::Handshake, Instant::now())), close: Notify::new() });
        all.push(Arc::clone(&watch));
        Some(watch)
    }

    /// One has ended.
    pub(super) fn ended(&self, watch: &Arc<Watch>) {
        self.all().retain(|known| !Arc::ptr_eq(known, watch));
    }

    /// Closes what is late.
    pub(super) fn close_late(&self, limits: &Limits, refusals: &Refusals) {
        let now = Instant::now();
        for watch in self.all().iter() {
            if let Some(slow) = watch.is_late(limits, now) {
                if slow {
                    count(&refusals.slow);
                }
                watch.tell_to_go();
            }
        }
    }

    /// Closes the one that still sends the oldest answer, if that is older than the newest collection.
    pub(super) fn close_slowest(&self, newest: u64, refusals: &Refusals) {
        let all = self.all();
        let sending = all.iter().filter_map(|watch| match watch.state().0 {
            Phase::Answer { generation, .. } if generation < newest => Some((generation, watch)),
            _ => None,
        });
        if let Some((_, watch)) = sending.min_by_key(|(generation, _)| *generation) {
            count(&refusals.slow);
            watch.tell_to_go();
        }
    }
}

/// A stream that tells its [`Watch`] what happens.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) watch: Arc<Watch>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.watch.received();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        // hyper flushes the stream when its own buffer is empty.
        if matches!(result, Poll::Ready(Ok(()))) {
            self.watch.sent_all();
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The body of an answer: shared bytes, in one piece.
pub(super) struct Answered {
    bytes: Option<Bytes>,
    watch: Arc<Watch>,
}

impl Answered {
    pub(super) fn new(bytes: Bytes, watch: &Arc<Watch>) -> Answered {
        Answered { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), watch: Arc::clone(watch) }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.watch.made_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    fn phases(of: &[Arc<Watch>]) -> Vec<Phase> {
        of.iter().map(|watch| watch.state().0).collect()
    }

    #[test]
    fn a_newcomer_takes_the_place_of_an_idle_one_or_of_one_that_says_nothing() {
        let (all, refusals) = (Connections::default(), Refusals::default());
        let open = || all.open(4, &refusals);
        let four: Vec<_> = (0..4).map(|_| open().unwrap()).collect();
        let answer = Phase::Answer { generation: 1, made: false };
        four[0].enter(answer);
        four[2].ready();
        four[3].enter(Phase::Idle);
        assert_eq!(phases(&four), [answer, Phase::Handshake, Phase::Head, Phase::Idle]);
        // Idle ones first: nobody is refused.
        let fifth = open().unwrap();
        assert_eq!(phases(&four), [answer, Phase::Handshake, Phase::Head, Phase::Closing]);
        assert_eq!(refusals.limit.load(Ordering::Relaxed), 0);
        fifth.asked();
        for (nth, closed) in [(1, 1), (2, 2)] {
            let newcomer = open().unwrap();
            newcomer.asked();
            assert_eq!(four[nth].state().0, Phase::Closing);
            assert_eq!(refusals.limit.load(Ordering::Relaxed), closed);
        }
        // Whoever is being answered stays.
        assert!(open().is_none());
        assert_eq!(refusals.limit.load(Ordering::Relaxed), 3);
        assert_eq!(four[0].state().0, answer);
        all.ended(&four[1]);
        assert!(open().is_none());
        all.ended(&four[0]);
        assert!(open().is_some());
    }
}
