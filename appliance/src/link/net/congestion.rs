//! The outer congestion of a connection: quinn's BBR, which never holds back what our own estimate of the
//! line allows.
//!
//! BBR (draft-cardwell-iccrg-bbr-congestion-control) keeps a connection from flooding a line of which it
//! knows nothing else. A conversation cannot live with two of its habits: every ten seconds it stops for a
//! fifth of one to see the shortest round trip, and after any loss it sends only what has arrived. The
//! estimator above it (see [`crate::link::rate::estimator`]) knows the line better, so what that plans may
//! always be in flight.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use quinn::congestion::{Bbr, BbrConfig, Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

/// What may be in flight on one connection whatever BBR thinks, in bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct MinWindow(Arc<AtomicU64>);

impl MinWindow {
    /// So many bytes from now on.
    pub(crate) fn set(&self, bytes: u64) {
        self.0.store(bytes, Relaxed);
    }
}

/// Makes a congestion for each connection, and for each path of one.
#[derive(Debug)]
pub(crate) struct CongestionFactory(pub(crate) MinWindow);

impl ControllerFactory for CongestionFactory {
    fn build(self: Arc<Self>, _: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let bbr = Bbr::new(Arc::new(BbrConfig::default()), current_mtu);
        Box::new(Congestion { bbr, min_window: self.0.clone() })
    }
}

#[derive(Debug, Clone)]
struct Congestion {
    bbr: Bbr,
    min_window: MinWindow,
}

impl Controller for Congestion {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.bbr.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.bbr.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.bbr.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.bbr.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.bbr.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.bbr.window().max(self.min_window.0.load(Relaxed))
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.bbr.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.bbr.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_holds_and_bbr_does_above_it() {
        let min_window = MinWindow::default();
        let congestion = Arc::new(CongestionFactory(min_window.clone())).build(Instant::now(), 1_200);
        let bbr = congestion.window();
        assert!(bbr > 0);
        min_window.set(bbr * 3);
        assert_eq!(congestion.window(), bbr * 3);
        assert_eq!(congestion.clone_box().window(), bbr * 3);
        min_window.set(0);
        assert_eq!(congestion.window(), bbr);
    }
}
