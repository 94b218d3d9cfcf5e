//! Logs to standard error, metrics to whoever scrapes them.
//!
//! Standard output belongs to data. Metrics are named `<crate>_<noun>_<unit>`, described once with [`describe`], and
//! their labels are bounded: netuid yes, hotkey no. Histograms get explicit buckets by the unit in their name, so
//! that they stay histograms, which can be summed over processes.

use std::convert::Infallible;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use futures::StreamExt;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming as Body};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use thiserror::Error;
use tracing::debug;
use tracing_subscriber::EnvFilter;

use crate::net::{Connection, Incoming, Net};
use crate::shutdown::Shutdown;

/// Scrapers served at a time: Prometheus uses one connection, a few people may look as well.
const SCRAPERS_MAX: usize = 16;
/// How long one scrape may take.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often samples of histograms are folded into their buckets, so that they do not pile up unread.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Bucket bounds by the unit at the end of a histogram's name.
const BUCKETS: &[(&str, &[f64])] = &[
    (
        "_seconds",
        &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0],
    ),
    (
        "_bytes",
        &[
            256.0,
            1_024.0,
            4_096.0,
            16_384.0,
            65_536.0,
            262_144.0,
            1_048_576.0,
            4_194_304.0,
        ],
    ),
    (
        "_tokens",
        &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0],
    ),
    (
        "_ppm",
        &[
            0.0,
            100_000.0,
            250_000.0,
            500_000.0,
            750_000.0,
            900_000.0,
            990_000.0,
            1_000_000.0,
        ],
    ),
];
/// Bucket bounds of histograms that count something else.
const COUNT_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// A line for people, coloured on a terminal.
    #[default]
    Text,
    /// A JSON object per line for programs.
    Json,
}

/// Why logs or metrics could not be set up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error(
        "log filter {filter:?} is not understood, write for example `info` or `warn,agon_miner=debug`: {reason}"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// Where it fails.
        reason: String,
    },
    /// Logs were already set up in this process.
    #[error("logs are already set up in this process")]
    LogsAlreadySet,
    /// Metrics were already set up in this process.
    #[error("metrics are already set up in this process")]
    MetricsAlreadySet,
    /// The metrics' address cannot be listened on.
    #[error("listen for scrapers on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What libraries with much to say are asked to keep to themselves; the user's own words come after it and win.
///
/// The engine's network reports as an error whenever a peer is not there yet, or nobody is to hear a message. Who is
/// there and who is not, `ledger/committee` tells.
const QUIET: &str =
    "arc_malachitebft=warn,arc_malachitebft_network=off,arc_malachitebft_discovery=off,libp2p=warn";

/// Sends log lines that pass `filter` (as in `warn,agon_miner=debug`) to standard error.
///
/// # Errors
///
/// [`TelemetryError::Filter`] with what is wrong in it; [`TelemetryError::LogsAlreadySet`] on a second call.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let env_filter =
        EnvFilter::try_new(format!("{QUIET},{filter}")).map_err(|error| TelemetryError::Filter {
            filter: filter.to_owned(),
            reason: error.to_string(),
        })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(env_filter)
        // It would tell of a line that cannot be written on standard error, and panic where that is what fails, as a
        // log on a full disk does.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    let set = match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    set.map_err(|_| TelemetryError::LogsAlreadySet)
}

/// What a metric counts; every metric of a crate is listed once, and described by [`describe`].
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Metric {
    /// A number that only grows; its name ends in `_total`.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Counter,
            help,
        }
    }

    /// A number that goes up and down.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Gauge,
            help,
        }
    }

    /// A distribution, in buckets chosen by the unit in its name.
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Histogram,
            help,
        }
    }

    /// The name under which it is scraped.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    fn touch(&self) {
        match self.kind {
            Kind::Counter => metrics::counter!(self.name).increment(1),
            Kind::Gauge => metrics::gauge!(self.name).set(1.0),
            Kind::Histogram => metrics::histogram!(self.name).record(1.0),
        }
    }
}

/// What a scraper would see of a process in which each metric was touched once: for checks of names and help texts.
///
/// # Panics
///
/// Never: the lists of buckets are constants of this module, and none is empty.
#[must_use]
pub fn sample(table: &[Metric]) -> String {
    let recorder = with_buckets(PrometheusBuilder::new())
        .expect("no list of buckets is empty")
        .build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        describe(table);
        table.iter().for_each(Metric::touch);
    });
    handle.render()
}

/// Gives each metric its help text. To be called after [`serve_metrics`]; without it, it does nothing.
pub fn describe(table: &[Metric]) {
    for metric in table {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

/// Collects this process's metrics and shows them at `http://<addr>/metrics` until `shutdown`.
///
/// Gives the address that is listened on, which matters when `addr` has port 0.
///
/// # Errors
///
/// [`TelemetryError::Listen`] with the address; [`TelemetryError::MetricsAlreadySet`] on a second call.
pub async fn serve_metrics(addr: SocketAddr, shutdown: &Shutdown) -> Result<SocketAddr, TelemetryError> {
    let listen_error = |source| TelemetryError::Listen { addr, source };
    let incoming = Net::tcp()
        .listen_capped(addr, SCRAPERS_MAX)
        .await
        .map_err(listen_error)?;
    let bound = incoming.local_addr();
    let recorder = with_buckets(PrometheusBuilder::new())
        .expect("no list of buckets is empty")
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::MetricsAlreadySet)?;
    describe(crate::net::METRICS);
    let requested = shutdown.requested();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = requested => {}
            () = serve_scrapers(incoming, handle.clone()) => {}
            () = keep_up(handle) => {}
        }
    });
    Ok(bound)
}

fn with_buckets(builder: PrometheusBuilder) -> Result<PrometheusBuilder, BuildError> {
    let builder = builder.set_buckets(COUNT_BUCKETS)?;
    BUCKETS.iter().try_fold(builder, |builder, (unit, bounds)| {
        builder.set_buckets_for_metric(Matcher::Suffix((*unit).to_owned()), bounds)
    })
}

async fn keep_up(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

async fn serve_scrapers(mut incoming: Incoming, handle: PrometheusHandle) {
    while let Some(Ok(connection)) = incoming.next().await {
        tokio::spawn(serve_scraper(connection, handle.clone()));
    }
}

async fn serve_scraper(connection: Connection, handle: PrometheusHandle) {
    let answer =
        service_fn(move |request| std::future::ready(Ok::<_, Infallible>(scrape(&request, &handle))));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SCRAPE_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(connection), answer);
    match tokio::time::timeout(SCRAPE_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "scrape failed"),
        Err(_) => debug!("scrape timed out"),
    }
}

fn scrape(request: &Request<Body>, handle: &PrometheusHandle) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, handle.render()),
        _ => (StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned()),
    };
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "text/plain; version=0.0.4")
        .body(Full::from(body))
        .expect("status and header are constants")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn get(addr: SocketAddr, path: &str) -> String {
        let mut socket = tokio::net::TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    // One test for all of it, as a process has one recorder.
    #[tokio::test]
    async fn metrics_are_scraped_described_and_in_buckets() {
        let shutdown = Shutdown::new();
        let addr = serve_metrics("127.0.0.1:0".parse().unwrap(), &shutdown)
            .await
            .unwrap();
        describe(&[
            Metric::counter("agon_test_answers_total", "Answers given."),
            Metric::histogram("agon_test_answer_seconds", "Time to the last token."),
        ]);
        metrics::counter!("agon_test_answers_total").increment(3);
        metrics::histogram!("agon_test_answer_seconds").record(0.02);
        metrics::histogram!("agon_test_batch_slots").record(5.0);

        let text = get(addr, "/metrics").await;
        for line in [
            "HTTP/1.1 200 OK",
            "# HELP agon_test_answers_total Answers given.",
            "# TYPE agon_test_answers_total counter",
            "agon_test_answers_total 3",
            "# TYPE agon_test_answer_seconds histogram",
            "agon_test_answer_seconds_bucket{le=\"0.01\"} 0",
            "agon_test_answer_seconds_bucket{le=\"0.03\"} 1",
            "agon_test_batch_slots_bucket{le=\"8\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        assert!(get(addr, "/").await.starts_with("HTTP/1.1 404"));

        let again = serve_metrics("127.0.0.1:0".parse().unwrap(), &shutdown).await;
        assert!(matches!(again, Err(TelemetryError::MetricsAlreadySet)));
    }

    #[test]
    fn a_filter_that_does_not_parse_is_quoted() {
        let error = init(LogFormat::Text, "agon_miner=loud").unwrap_err();
        assert!(error.to_string().contains("\"agon_miner=loud\""), "{error}");
    }
}
