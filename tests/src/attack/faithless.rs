//! A relay whose operator has full access: it speaks MoQ as a relay does, and tampers with every track that
//! passes.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use moq_net::{Timescale, broadcast, origin, track};

use super::tls::{runtime, server};

/// Of a hundred datagrams: so many changed, dropped, repeated, held back behind the next, and followed by one
/// that was recorded.
const CHANGED: u8 = 1;
const DROPPED: u8 = 1;
const REPEATED: u8 = 2;
const HELD: u8 = 2;
const REPLAYED: u8 = 5;
/// So many of the first are recorded.
const RECORDED: usize = 200;

type Failed = Box<dyn std::error::Error + Send + Sync>;

pub(super) fn run(listen: SocketAddr, fingerprint: &Path) -> io::Result<String> {
    let (config, own) = server(b"moq-lite-06")?;
    std::fs::write(fingerprint, own.to_string())?;
    runtime()?.block_on(async {
        let endpoint = quinn::Endpoint::server(config, listen)?;
        // What booths publish goes into one, and what they are shown comes from the other.
        let (inside, driver) = origin::Producer::new(Default::default());
        tokio::spawn(moq_net::time::run(driver));
        let (outside, driver) = origin::Producer::new(Default::default());
        tokio::spawn(moq_net::time::run(driver));
        tokio::spawn(pass_all(inside.clone(), outside.clone()));
        println!("listening");
        while let Some(incoming) = endpoint.accept().await {
            let (inside, outside) = (inside.clone(), outside.clone());
            tokio::spawn(async move {
                let Ok(connection) = incoming.await else { return };
                let transport = web_transport_quinn::Session::raw(connection);
                let server = moq_net::Server::new().with_publisher(&outside).with_subscriber(inside);
                let Ok((session, driver)) = server.accept(Instant::now(), transport).await else { return };
                tokio::spawn(moq_net::time::run(driver));
                session.closed().await;
            });
        }
        Ok("over".to_owned())
    })
}

/// Every broadcast of `inside` is shown in `outside`.
async fn pass_all(inside: origin::Producer, outside: origin::Producer) {
    let mut announced = inside.consume().announced();
    let mut passing = BTreeMap::new();
    while let Some(update) = announced.next().await {
        let path: String = update.prefix.as_ref().to_owned();
        if !update.kind.is_active() {
            passing.remove(&path);
            continue;
        }
        match pass(&inside, &outside, &path) {
            Ok(broadcast) => drop(passing.insert(path, broadcast)),
            Err(error) => println!("{path}: {error}"),
        }
    }
}

fn pass(
    inside: &origin::Producer,
    outside: &origin::Producer,
    path: &str,
) -> Result<broadcast::Producer, Failed> {
    let shown = outside.create_broadcast(path)?;
    // Whatever track somebody asks for is taken from the booth that publishes it.
    let mut asked = shown.dynamic();
    let (inside, path) = (inside.clone(), path.to_owned());
    tokio::spawn(async move {
        while let Ok(request) = asked.requested_track().await {
            let name = request.name().to_owned();
            let out = request.accept(track::Info::default().with_timescale(Timescale::MICRO));
            let (inside, path) = (inside.clone(), path.clone());
            tokio::spawn(async move {
                if let Err(error) = tamper(&inside, &path, &name, out).await {
                    println!("{path}, {name}: {error}");
                }
            });
        }
    });
    shown.announce(Default::default())?;
    Ok(shown)
}

async fn tamper(
    inside: &origin::Producer,
    path: &str,
    name: &str,
    mut out: track::Producer,
) -> Result<(), Failed> {
    let broadcast = inside.consume().request_broadcast(path).await?;
    let mut track = broadcast.track(name)?.subscribe(track::Subscription::default()).await?;
    let mut random = fastrand::Rng::with_seed(7);
    let mut held: Option<(moq_net::Timestamp, Bytes)> = None;
    let mut recorded = Vec::with_capacity(RECORDED);
    while let Some(datagram) = track.recv_datagram().await? {
        let (at, payload) = (datagram.timestamp, datagram.payload);
        if recorded.len() < RECORDED {
            recorded.push(payload.clone());
        }
        let after = held.take();
        match random.u8(0..100) {
            n if n < CHANGED => {
                let mut changed = payload.to_vec();
                if let Some(byte) = changed.last_mut() {
                    *byte ^= 1;
                }
                out.append_datagram(at, Bytes::from(changed))?;
            }
            n if n < CHANGED + DROPPED => {}
            n if n < CHANGED + DROPPED + REPEATED => {
                out.append_datagram(at, payload.clone())?;
                out.append_datagram(at, payload)?;
            }
            n if n < CHANGED + DROPPED + REPEATED + HELD => held = Some((at, payload)),
            n => {
                out.append_datagram(at, payload)?;
                let replayed = n < CHANGED + DROPPED + REPEATED + HELD + REPLAYED;
                if let Some(old) = random.choice(&recorded).filter(|_| replayed && recorded.len() == RECORDED)
                {
                    out.append_datagram(at, old.clone())?;
                }
            }
        }
        if let Some((at, payload)) = after {
            out.append_datagram(at, payload)?;
        }
    }
    Ok(())
}
