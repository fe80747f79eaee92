//! A QUIC stream for each frame: what QUIC offers by itself, over the library and congestion control that our
//! link uses.
//!
//! Old frames go before new ones, since the new ones need them. Once a newer keyframe is under way, what is
//! older and past the deadline is given up, unless it is a keyframe itself: pictures must begin somewhere.
//! The receiver puts frames back in order.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use holobooth::pairing::Identity;
use quinn::{ClientConfig, Connection, Endpoint, SendStream, ServerConfig, TransportConfig, VarInt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::keyframe_request::{RequestReceiver, RequestSender};
use crate::bench::link::clip::Request;
use crate::bench::link::measure::DEADLINE_US;
use crate::bench::link::scheme::{Carrier, Frame, READY, Surroundings};
use crate::bench::link::stamp;
use crate::bench::link::viewer::{Verdict, Viewer};
use crate::child::Side;
use crate::clock::now_us;
use holobooth::realtime;

const PORT: u16 = 5010;
/// The name in a booth's certificate.
const NAME: &str = "holobooth";
/// More than are ever under way.
const STREAMS: u32 = 4096;
const LONGEST: usize = 16 << 20;
const CONNECT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// For so long, in µs, a whole keyframe waits for frames before it that may still come.
const TIMEOUT_US: i64 = DEADLINE_US / 2;

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .congestion_controller_factory(Arc::new(quinn::congestion::BbrConfig::default()))
        .initial_rtt(Duration::from_millis(100))
        .keep_alive_interval(Some(Duration::from_secs(1)))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS));
    Arc::new(transport)
}

fn address(side: Side, port: u16) -> io::Result<SocketAddr> {
    format!("{}:{port}", side.address()).parse().map_err(io::Error::other)
}

fn identity(around: Surroundings<'_>, side: Side) -> io::Result<Identity> {
    Identity::load_or_make(&around.dir.join(side.name())).map_err(io::Error::other)
}

/// Its threads are as urgent as the one that builds it.
fn runtime() -> io::Result<Runtime> {
    let build = || {
        realtime::set_realtime_priority(realtime::LINK)?;
        Builder::new_multi_thread().worker_threads(1).enable_all().build()
    };
    std::thread::scope(|scope| scope.spawn(build).join()).map_err(|_| io::Error::other("the runtime"))?
}

/// The sending end.
pub(super) struct Sender {
    runtime: Option<Runtime>,
    connection: Connection,
    /// The newest keyframe's number.
    keyframe: watch::Sender<u32>,
    requests_in: RequestReceiver,
}

impl Sender {
    pub(super) fn start(around: Surroundings<'_>) -> io::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(identity(around, Side::B)?.certificate).map_err(io::Error::other)?;
        let mut config = ClientConfig::with_root_certificates(Arc::new(roots)).map_err(io::Error::other)?;
        config.transport_config(transport());
        let runtime = runtime()?;
        let connection = runtime.block_on(async {
            let endpoint = Endpoint::client(address(Side::A, 0)?)?;
            let connecting =
                endpoint.connect_with(config, address(Side::B, PORT)?, NAME).map_err(io::Error::other)?;
            tokio::time::timeout(CONNECT, connecting).await?.map_err(io::Error::other)
        })?;
        Ok(Self {
            runtime: Some(runtime),
            connection,
            keyframe: watch::Sender::new(0),
            requests_in: RequestReceiver::open()?,
        })
    }
}

impl Carrier for Sender {
    fn request(&mut self) -> Request {
        Request { keyframe: self.requests_in.asked(), kbps: None }
    }

    fn send(&mut self, frame: Frame) -> io::Result<()> {
        if let Some(reason) = self.connection.close_reason() {
            return Err(reason.into());
        }
        if frame.keyframe {
            self.keyframe.send_replace(frame.number);
        }
        if let Some(runtime) = &self.runtime {
            runtime.spawn(carry(self.connection.clone(), frame, self.keyframe.subscribe()));
        }
        Ok(())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.connection.close(VarInt::from_u32(0), b"the clip is over");
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(POLL_INTERVAL);
        }
    }
}

async fn carry(connection: Connection, frame: Frame, keyframe: watch::Receiver<u32>) {
    let Ok(mut stream) = connection.open_uni().await else { return };
    // Fails only on a stream that is over.
    let _ = stream.set_priority(-i32::try_from(frame.number).unwrap_or(i32::MAX));
    let delivered = deliver(&mut stream, frame.data);
    let given_up = async {
        if frame.keyframe {
            std::future::pending::<()>().await;
        }
        pointless(frame.number, frame.capture_us, keyframe).await;
    };
    let finished = tokio::select! {
        () = delivered => true,
        () = given_up => false,
    };
    if !finished {
        let _ = stream.reset(VarInt::from_u32(0));
    }
}

async fn deliver(stream: &mut SendStream, data: Bytes) {
    if stream.write_all(&data).await.is_ok() && stream.finish().is_ok() {
        // Once all is acknowledged.
        let _ = stream.stopped().await;
    }
}

/// Returns when a frame is past the deadline and a newer keyframe is under way.
async fn pointless(number: u32, capture_us: i64, mut keyframe: watch::Receiver<u32>) {
    let left_us = (capture_us + DEADLINE_US - now_us()).max(0);
    tokio::time::sleep(Duration::from_micros(left_us.unsigned_abs())).await;
    if keyframe.wait_for(|&newest| newest > number).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The receiving end.
pub(super) fn receive(
    around: Surroundings<'_>,
    viewer: &mut Viewer,
    stop: &'static AtomicBool,
) -> io::Result<()> {
    let own = identity(around, Side::B)?;
    let mut config =
        ServerConfig::with_single_cert(vec![own.certificate], own.key).map_err(io::Error::other)?;
    config.transport_config(transport());
    let runtime = runtime()?;
    let endpoint = {
        let _inside = runtime.enter();
        Endpoint::server(config, address(Side::B, PORT)?)?
    };
    let (frames, arrived) = mpsc::channel();
    runtime.spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            if let Ok(connection) = incoming.await {
                tokio::spawn(take(connection, frames.clone()));
            }
        }
    });
    println!("{READY}");
    let mut order = Order::default();
    let mut requests_out = RequestSender::open()?;
    while !stop.load(Relaxed) {
        if let Ok(data) = arrived.recv_timeout(POLL_INTERVAL) {
            order.put(data, now_us());
        }
        while let Some(data) = order.take(now_us()) {
            if viewer.arrived(data) == Verdict::Broken {
                requests_out.ask();
            }
        }
    }
    runtime.shutdown_timeout(POLL_INTERVAL);
    Ok(())
}

async fn take(connection: Connection, frames: mpsc::Sender<Bytes>) {
    while let Ok(mut stream) = connection.accept_uni().await {
        let frames = frames.clone();
        tokio::spawn(async move {
            if let Ok(data) = stream.read_to_end(LONGEST).await {
                let _ = frames.send(data.into());
            }
        });
    }
}

/// Puts frames back in order.
#[derive(Default)]
struct Order {
    next: u32,
    held: BTreeMap<u32, Held>,
}

struct Held {
    data: Bytes,
    keyframe: bool,
    since_us: i64,
}

impl Order {
    fn put(&mut self, data: Bytes, now_us: i64) {
        if let Some(stamp) = stamp::read(&data)
            && stamp.number >= self.next
        {
            self.held.insert(stamp.number, Held { data, keyframe: stamp.keyframe, since_us: now_us });
        }
    }

    /// The next in order; or a keyframe that has waited long enough for what should come before it.
    fn take(&mut self, now_us: i64) -> Option<Bytes> {
        let waited = |held: &Held| held.keyframe && now_us - held.since_us >= TIMEOUT_US;
        let number = if self.held.contains_key(&self.next) {
            self.next
        } else {
            self.held.iter().find_map(|(&number, held)| waited(held).then_some(number))?
        };
        self.held = self.held.split_off(&number);
        self.next = number.saturating_add(1);
        self.held.remove(&number).map(|held| held.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u32) -> Bytes {
        // An IDR or a trailing picture: type 20 or 1.
        let kind = if number.is_multiple_of(10) { 20 } else { 1 };
        stamp::put(number, &[0, 0, 1, kind << 1, 1, 0x80])
    }

    fn numbers(order: &mut Order, now_us: i64) -> Vec<u32> {
        std::iter::from_fn(|| order.take(now_us)).map(|data| stamp::read(&data).unwrap().number).collect()
    }

    #[test]
    fn frames_come_out_in_order_or_from_a_keyframe_that_waited() {
        let mut order = Order::default();
        for number in [1, 2, 0, 4, 5] {
            order.put(frame(number), 0);
        }
        assert_eq!(numbers(&mut order, 0), [0, 1, 2]);
        order.put(frame(2), 10);
        order.put(frame(10), 1_000);
        order.put(frame(11), 1_000);
        assert_eq!(numbers(&mut order, 1_000 + TIMEOUT_US - 1), [0; 0]);
        assert_eq!(numbers(&mut order, 1_000 + TIMEOUT_US), [10, 11]);
        order.put(frame(3), 1_000 + TIMEOUT_US);
        assert!(order.held.is_empty());
    }
}
