//! The service of introductions: bounded bytes, cheap checks, a budget, and then the certificate.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use agon_protocol::grpc::v1::introductions_server::Introductions;
use agon_protocol::grpc::v1::{IntroduceReply, IntroduceRequest};
use agon_protocol::session::Certificate;
use tonic::{Request, Response, Status};
use tracing::debug;

use super::{Handle, Service, known};
use crate::admission::Refusal;
use crate::backend::Backend;

#[tonic::async_trait]
impl<B: Backend> Introductions for Handle<B> {
    async fn introduce(
        &self,
        request: Request<IntroduceRequest>,
    ) -> Result<Response<IntroduceReply>, Status> {
        let ip = request
            .remote_addr()
            .map_or(Ipv4Addr::UNSPECIFIED.into(), |addr| addr.ip());
        let outcome = self.0.introduce(&request.into_inner(), ip).await;
        let name = match &outcome {
            Ok(name) => name,
            Err(refusal) => {
                debug!(rule = refusal.rule(), %refusal, "introduction refused");
                refusal.rule()
            }
        };
        metrics::counter!("agon_miner_introductions_total", "outcome" => name).increment(1);
        outcome?;
        Ok(Response::new(IntroduceReply {}))
    }
}

impl<B> Service<B> {
    /// Notes a session that a permitted validator asks by; gives the outcome that is counted.
    async fn introduce(&self, wire: &IntroduceRequest, ip: IpAddr) -> Result<&'static str, Refusal> {
        let certificate = Certificate::from_bytes(&wire.certificate);
        let certificate = certificate.map_err(|error| Refusal::Malformed {
            reason: format!("certificate: {error}"),
        })?;
        let subnet = known(self.subnet.borrow().clone())?;
        let Some(ring) = subnet.sessions.ring_for(&certificate)? else {
            return Ok("known");
        };
        // Held while verifying, so that the milliseconds that it takes are one thread's at most.
        let mut budget = self.budget.lock().await;
        budget.take(ip, self.known.has(ip), self.clock.now_ms())?;
        let introduced = ring.verify(&certificate).map_err(Refusal::Certificate)?;
        drop(budget);
        let mut outcome = Err(Refusal::NoSessions {
            tempo: introduced.tempo(),
        });
        self.subnet.send_if_modified(|snapshot| {
            let Some(snapshot) = snapshot else { return false };
            outcome = Arc::make_mut(snapshot).sessions.introduce(&introduced);
            outcome.is_ok()
        });
        outcome.map(|()| "introduced")
    }
}
