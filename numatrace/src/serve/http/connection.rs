//! One connection, from TLS to its end.

use std::sync::Arc;

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Shared, count, pages,
    watch::{Watch, Watched},
};

/// Until it ends by itself, or has to.
pub(super) async fn run(stream: TcpStream, watch: Arc<Watch>, shared: Arc<Shared>) {
    tokio::select! {
        () = speak(stream, &watch, &shared) => {}
        () = watch.closed() => {}
    }
    shared.connections.ended(&watch);
}

async fn speak(stream: TcpStream, watch: &Arc<Watch>, shared: &Arc<Shared>) {
    // Answers are written in one piece: there is nothing to wait for.
    let _ = stream.set_nodelay(true);
    let Some(tls) = shared.web_config.current().tls.clone() else {
        watch.ready();
        return requests(stream, watch, shared).await;
    };
    match TlsAcceptor::from(tls.config).accept(stream).await {
        Ok(stream) => {
            watch.ready();
            requests(stream, watch, shared).await;
        }
        Err(_) => count(&shared.refusals.tls),
    }
}

async fn requests<S: AsyncRead + AsyncWrite + Unpin>(stream: S, watch: &Arc<Watch>, shared: &Arc<Shared>) {
    let io = TokioIo::new(Watched { stream, watch: Arc::clone(watch) });
    let service = service_fn(|request| pages::answer(request, watch, shared));
    let ended = http1::Builder::new()
        .timer(TokioTimer::new())
        // Watch has the times, because this one is also the time between two requests.
        .header_read_timeout(None)
        .max_header_size(shared.limits.head_bytes)
        .serve_connection(io, service)
        .await;
    // A client that goes away, and one that is told 400 or 431 by hyper.
    if ended.is_err_and(|error| error.is_parse() || error.is_parse_too_large()) && watch.reads() {
        count(&shared.refusals.malformed);
    }
}
