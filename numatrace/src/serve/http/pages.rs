//! What there is to ask for.

use std::{convert::Infallible, sync::Arc};

use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    header::{self, HeaderName, HeaderValue},
};

use super::{
    Shared, count,
    watch::{Answered, Watch},
};
use crate::serve::{
    answers::Form,
    auth::Verdict,
    exposition::{Format, wants_gzip},
};

const FRONT: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><title>numatrace</title></head><body><h1>numatrace</h1>\
                     <p><a href=\"/metrics\">Metrics</a></p></body></html>\n";
const TEXT: &str = "text/plain; charset=utf-8";

/// What is said, before it has the headers that all have.
struct Page {
    status: StatusCode,
    content_type: &'static str,
    more: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Page {
    fn text(status: StatusCode, text: impl Into<Bytes>) -> Page {
        Page { status, content_type: TEXT, more: Vec::new(), body: text.into() }
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Page {
        self.more.push((name, HeaderValue::from_static(value)));
        self
    }
}

/// Answers a request.
pub(super) async fn answer(
    request: Request<Incoming>,
    watch: &Arc<Watch>,
    shared: &Arc<Shared>,
) -> Result<Response<Answered>, Infallible> {
    watch.asked();
    let page = page(&request, watch, shared).await;
    let mut response = Response::new(Answered::new(page.body, watch));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    for (name, value) in &shared.web_config.current().headers {
        headers.insert(name.clone(), value.clone());
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.extend(page.more);
    Ok(response)
}

async fn page(request: &Request<Incoming>, watch: &Arc<Watch>, shared: &Arc<Shared>) -> Page {
    // A body is never read. Where there is one the connection ends, so that it is not taken for the next request.
    if !request.body().is_end_stream() {
        count(&shared.refusals.malformed);
        let page = Page::text(StatusCode::PAYLOAD_TOO_LARGE, "no request here has a body\n");
        return page.with(header::CONNECTION, "close");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let page = Page::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
        return page.with(header::ALLOW, "GET, HEAD");
    }
    // Says nothing but that someone is there, and those who ask (kubelets) have no password.
    if request.uri().path() == "/-/healthy" {
        return Page::text(StatusCode::OK, "healthy\n");
    }
    if let Some(refusal) = refuse(request, shared).await {
        return refusal;
    }
    match request.uri().path() {
        "/metrics" => metrics(request, watch, shared).await,
        "/" => Page { content_type: "text/html; charset=utf-8", ..Page::text(StatusCode::OK, FRONT) },
        _ => Page::text(StatusCode::NOT_FOUND, "there is nothing here but /metrics\n"),
    }
}

/// What those are told who may not see anything.
async fn refuse(request: &Request<Incoming>, shared: &Shared) -> Option<Page> {
    let config = shared.web_config.current();
    let auth = config.auth.as_ref()?;
    match auth.check(request.headers().get(header::AUTHORIZATION)).await {
        Verdict::Right => None,
        Verdict::Wrong => {
            count(&shared.refusals.unauthorized);
            let page = Page::text(StatusCode::UNAUTHORIZED, "unauthorized\n");
            Some(page.with(header::WWW_AUTHENTICATE, "Basic realm=\"numatrace\", charset=\"UTF-8\""))
        }
        Verdict::TooMany => {
            count(&shared.refusals.too_many_failures);
            let page = Page::text(StatusCode::TOO_MANY_REQUESTS, "too many attempts with wrong credentials\n");
            Some(page.with(header::RETRY_AFTER, "1"))
        }
    }
}

async fn metrics(request: &Request<Incoming>, watch: &Watch, shared: &Shared) -> Page {
    let all = |name| {
        let values = request.headers().get_all(name).into_iter();
        let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then(|| values.join(","))
    };
    let format = Format::negotiate(all(header::ACCEPT).as_deref());
    let gzip = wants_gzip(all(header::ACCEPT_ENCODING).as_deref());
    match shared.answers.get(Form { format, gzip }).await {
        Ok(answer) => {
            watch.answers_from(answer.generation);
            let page = Page { content_type: format.content_type(), ..Page::text(StatusCode::OK, answer.bytes) };
            let page = page.with(header::VARY, "Accept, Accept-Encoding");
            if gzip { page.with(header::CONTENT_ENCODING, "gzip") } else { page }
        }
        Err(sentence) => Page::text(StatusCode::SERVICE_UNAVAILABLE, format!("{sentence}\n")),
    }
}
