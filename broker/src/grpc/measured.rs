//! Calls, measured: how long each took until its answer began, and how it went.

use std::{
    collections::HashSet,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use futures::future::BoxFuture;
use tonic::{
    Code, Status,
    codegen::{Service, http},
};

use crate::telemetry::RpcMetrics;

/// Who has a name other than these is nobody's method: its calls share a label.
const UNKNOWN: &str = "_unknown";

/// Makes [`Measured`] of a service.
#[derive(Clone, Debug)]
pub(super) struct Measure {
    metrics: RpcMetrics,
    methods: Arc<HashSet<String>>,
}

impl Measure {
    /// `methods` are those that have a label, as `Service/Method`.
    pub(super) fn new(metrics: RpcMetrics, methods: HashSet<String>) -> Self {
        Self {
            metrics,
            methods: Arc::new(methods),
        }
    }
}

impl<S> tower_layer::Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured {
            inner,
            measure: self.clone(),
        }
    }
}

/// A service whose calls are measured.
#[derive(Clone, Debug)]
pub(super) struct Measured<S> {
    inner: S,
    measure: Measure,
}

impl<S, A, B> Service<http::Request<A>> for Measured<S>
where
    S: Service<http::Request<A>, Response = http::Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<A>) -> Self::Future {
        #[expect(clippy::disallowed_methods, reason = "a measurement")]
        let started = Instant::now();
        let path = request.uri().path();
        let method = path.rsplit_once('.').map_or("", |(_, method)| method);
        let method = self.measure.methods.get(method);
        let method = method.map_or(UNKNOWN, String::as_str).to_owned();
        let mut call = Call {
            metrics: self.measure.metrics.clone(),
            method,
            started,
            code: Code::Cancelled,
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            // An error is in the head; what goes well says so behind its answer.
            let status = Status::from_header_map(answer.headers());
            call.answered(status.map_or(Code::Ok, |status| status.code()));
            Ok(answer)
        })
    }
}

/// A call under way: told of when it is answered, and when nobody waits for it any more.
struct Call {
    metrics: RpcMetrics,
    method: String,
    started: Instant,
    code: Code,
}

impl Call {
    fn answered(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = format!("{:?}", self.code);
        self.metrics
            .done(&self.method, &code, self.started.elapsed());
    }
}
