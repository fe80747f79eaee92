//! Pairing by code over a connection: the caller, at whom the code was entered, gives the callee, which shows
//! it, a room key.
//!
//! ```text
//!  caller                                   callee
//!    SPAKE2's message        ─────────────►
//!                            ◄─────────────  SPAKE2's message
//!    confirmation            ─────────────►  wrong: closed, and counted
//!                            ◄─────────────  confirmation
//!    keeps the room key,
//!    and gives it, sealed    ─────────────►  keeps it
//!                            ◄─────────────  done
//! ```
//! The caller keeps a new key before it gives it: were it lost on the way, the callee would still show a
//! code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, RecvStream, SendStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::link::net::membership::code;
use crate::link::net::socket::Socket;
use crate::link::{Answer, net::tls};
use crate::pairing::code::{CONFIRMATION, Call, Code, EXPORTER, MESSAGE, Offer, SEALED};
use crate::pairing::{Fingerprint, Part, RoomKey, Sighting};

/// A pairing that takes longer is none.
const LIMIT: Duration = Duration::from_secs(3);
/// The callee's last word.
const DONE: u8 = 1;

/// Why a pairing came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("the code is not the one that the other booth shows")]
    Wrong,
    #[error("the connection broke")]
    Broken,
    #[error("it took too long")]
    Late,
    #[error("the system has no randomness to give")]
    Random,
    #[error(transparent)]
    Disk(#[from] crate::pairing::Error),
}

impl From<quinn::ConnectionError> for Failed {
    fn from(_: quinn::ConnectionError) -> Self {
        Self::Broken
    }
}

/// One end of a pairing.
pub(crate) struct Pairing {
    pub(crate) own: Fingerprint,
    /// Where a room key is kept.
    pub(crate) folder: PathBuf,
}

impl Pairing {
    /// Calls: gives `room`, or a new key, to the booth at the other end of `connection`, which shows `code`.
    /// What was given.
    pub(crate) async fn call(
        &self,
        connection: &Connection,
        code: &Code,
        room: Option<RoomKey>,
    ) -> Result<RoomKey, Failed> {
        timeout(LIMIT, async {
            let callee = tls::shown(connection).ok_or(Failed::Broken)?;
            let exported = exported(connection)?;
            let call = Call { caller: self.own, callee, exported: &exported };
            let (half, message) = call.begin(Part::Dialler, code);
            let (mut out, mut input) = connection.open_bi().await?;
            write(&mut out, &message).await?;
            let shared = half.finish(&read::<MESSAGE>(&mut input).await?).ok_or(Failed::Wrong)?;
            write(&mut out, &shared.confirm(Part::Dialler)).await?;
            // Who closes now does so because we were wrong.
            let confirmation = read::<CONFIRMATION>(&mut input).await.map_err(|_| Failed::Wrong)?;
            if !shared.evaluate(Part::Listener, &confirmation) {
                return Err(Failed::Wrong);
            }
            let room = match room {
                Some(room) => room,
                // One that was given before may have arrived, although we were not told.
                None => match RoomKey::kept(&self.folder)? {
                    Some(room) => room,
                    None => {
                        let room = RoomKey::random().map_err(|_| Failed::Random)?;
                        self.keep(room.clone()).await?;
                        room
                    }
                },
            };
            write(&mut out, &shared.seal(&room).ok_or(Failed::Broken)?).await?;
            match read::<1>(&mut input).await? {
                [DONE] => Ok(room),
                _ => Err(Failed::Broken),
            }
        })
        .await
        .unwrap_or(Err(Failed::Late))
    }

    /// Answers a call, while this booth shows `code`. The key that was given and is kept.
    pub(crate) async fn answer(&self, connection: &Connection, code: &Code) -> Result<RoomKey, Failed> {
        timeout(LIMIT, async {
            let caller = tls::shown(connection).ok_or(Failed::Broken)?;
            let exported = exported(connection)?;
            let call = Call { caller, callee: self.own, exported: &exported };
            let (half, message) = call.begin(Part::Listener, code);
            let (mut out, mut input) = connection.accept_bi().await?;
            let theirs = read::<MESSAGE>(&mut input).await?;
            write(&mut out, &message).await?;
            let shared = half.finish(&theirs).ok_or(Failed::Wrong)?;
            if !shared.evaluate(Part::Dialler, &read::<CONFIRMATION>(&mut input).await?) {
                return Err(Failed::Wrong);
            }
            write(&mut out, &shared.confirm(Part::Listener)).await?;
            let room = shared.open(&read::<SEALED>(&mut input).await?).ok_or(Failed::Broken)?;
            self.keep(room.clone()).await?;
            write(&mut out, &[DONE]).await?;
            // It has to arrive before the connection goes.
            let _ = out.finish();
            let _ = timeout(Duration::from_millis(500), out.stopped()).await;
            Ok(room)
        })
        .await
        .unwrap_or(Err(Failed::Late))
    }

    async fn keep(&self, room: RoomKey) -> Result<(), Failed> {
        let folder = self.folder.clone();
        let kept = tokio::task::spawn_blocking(move || room.keep(&folder)).await;
        Ok(kept.map_err(|_| Failed::Broken)??)
    }
}

fn exported(connection: &Connection) -> Result<[u8; 32], Failed> {
    let mut exported = [0; 32];
    connection.export_keying_material(&mut exported, EXPORTER, b"").map_err(|_| Failed::Broken)?;
    Ok(exported)
}

async fn write(out: &mut SendStream, bytes: &[u8]) -> Result<(), Failed> {
    out.write_all(bytes).await.map_err(|_| Failed::Broken)
}

async fn read<const N: usize>(input: &mut RecvStream) -> Result<[u8; N], Failed> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).await.map_err(|_| Failed::Broken)?;
    Ok(bytes)
}

/// How long a code that was entered is tried, in µs.
const TRY_US: u64 = 6_000_000;
/// Booths that wait for a code and are remembered.
const OPEN: usize = 64;

/// What has ended at the [`PairingAgent`].
pub(crate) enum Step {
    /// A call of somebody else.
    Answered(Result<RoomKey, Failed>),
    /// A call of ours to this booth, for the order of this number.
    Called(Fingerprint, u64, Result<RoomKey, Failed>),
}

/// A code that was entered here.
struct Order {
    /// Calls of an order before this one may still be under way.
    number: u64,
    code: Code,
    /// The booth that shows it, when it was named.
    name: Option<String>,
    answer: Answer,
    until_us: u64,
    called: BTreeSet<Fingerprint>,
    /// Calls that have not ended.
    calling: usize,
    /// Some booth took it for wrong.
    wrong: bool,
}

/// Where codes are shown and entered.
pub(crate) struct PairingAgent {
    pairing: Arc<Pairing>,
    room: Option<RoomKey>,
    /// None at a booth that has a room, or knows its peer: it shows no code.
    offer: Option<Offer>,
    /// Booths on our networks that show one.
    open: BTreeMap<Fingerprint, Sighting>,
    order: Option<Order>,
    orders: u64,
    /// One guess after the other, so that none is made beside one that ends the code.
    answering: bool,
    pub(crate) steps: JoinSet<Step>,
}

impl PairingAgent {
    /// At a booth that has `room`, or none and `shows` a code then.
    pub(crate) fn new(pairing: Pairing, room: Option<RoomKey>, shows: bool) -> Self {
        Self {
            pairing: Arc::new(pairing),
            room,
            offer: shows.then(Offer::default),
            open: BTreeMap::new(),
            order: None,
            orders: 0,
            answering: false,
            steps: JoinSet::new(),
        }
    }

    /// The code to be shown; empty when there is none.
    pub(crate) fn shown(&mut self, now_us: u64) -> String {
        self.offer.as_mut().and_then(|offer| offer.code(now_us)).map_or_else(String::new, Code::digits)
    }

    /// Whether codes are shown here, and so calls are about them.
    pub(crate) fn is_open(&self) -> bool {
        self.offer.is_some()
    }

    /// Somebody calls. Whether that is a guess; if not, the connection is closed.
    pub(crate) fn admit(&mut self, connection: Connection, now_us: u64) -> bool {
        let from = connection.remote_address().ip();
        let Some(offer) = self.offer.as_mut().filter(|_| !self.answering) else {
            connection.close(code::BUSY, b"another guess is under way");
            return false;
        };
        let admitted = offer.admits(from, now_us);
        let Some(shown) = offer.code(now_us).filter(|_| admitted).cloned() else {
            connection.close(code::BUSY, b"too many guesses");
            return false;
        };
        self.answering = true;
        let pairing = self.pairing.clone();
        self.steps.spawn(async move {
            let answered = pairing.answer(&connection, &shown).await;
            let why = if answered.is_ok() { code::OVER } else { code::WRONG_CODE };
            connection.close(why, b"");
            Step::Answered(answered)
        });
        true
    }

    /// A booth that shows a code is seen, or not any more.
    pub(crate) fn sighted(&mut self, sighting: &Sighting) {
        if sighting.addresses.is_empty() || !sighting.open {
            self.open.remove(&sighting.fingerprint);
        } else if self.open.len() < OPEN || self.open.contains_key(&sighting.fingerprint) {
            self.open.insert(sighting.fingerprint, sighting.clone());
        }
    }

    /// A code was entered here; with a name, only the booth of that name is called.
    pub(crate) fn enter(&mut self, code: Code, name: Option<String>, answer: Answer, now_us: u64) {
        if let Some(old) = self.order.take() {
            let _ = old.answer.send(Err("another code was entered".to_owned()));
        }
        self.orders += 1;
        let (number, until_us) = (self.orders, now_us + TRY_US);
        let called = BTreeSet::new();
        self.order = Some(Order { number, code, name, answer, until_us, called, calling: 0, wrong: false });
    }

    /// Calls booths that have come into sight, and gives up in time.
    pub(crate) fn look(&mut self, socket: Option<&Socket>, now_us: u64) {
        let Some(order) = &mut self.order else { return };
        // Who was called has answered, and it is wrong there: others that come into sight later will not know
        // it either.
        if now_us >= order.until_us || (order.wrong && order.calling == 0) {
            let why = if order.wrong {
                "the code is not the one that the other booth shows now; read it again"
            } else {
                "no booth that waits for a code is on this network; are both on the same one, and does the other show its code?"
            };
            let _ = order.answer.send(Err(why.to_owned()));
            self.order = None;
            return;
        }
        let Some(socket) = socket else { return };
        for (who, sighting) in &self.open {
            let named = order.name.as_ref().is_none_or(|name| *name == sighting.name);
            if !named || !order.called.insert(*who) {
                continue;
            }
            order.calling += 1;
            let number = order.number;
            let dial = socket.dial_open(sighting.addresses.clone());
            let (pairing, code, room, who) =
                (self.pairing.clone(), order.code.clone(), self.room.clone(), *who);
            self.steps.spawn(async move {
                let called = async {
                    let connection = dial.await.map_err(|_| Failed::Broken)?.connection;
                    // The record that led us here proves nothing; the code does.
                    let called = pairing.call(&connection, &code, room).await;
                    connection.close(code::OVER, b"");
                    called
                };
                Step::Called(who, number, called.await)
            });
        }
    }

    /// What has come of a step: who was turned away, or the room that this booth belongs to now.
    pub(crate) fn stepped(&mut self, step: Step, now_us: u64) -> Stepped {
        match step {
            Step::Answered(answered) => {
                self.answering = false;
                match (answered, &mut self.offer) {
                    (Ok(room), _) => return Stepped::Paired(room),
                    (Err(Failed::Wrong), Some(offer)) => {
                        offer.wrong(now_us);
                        return Stepped::GuessedWrong;
                    }
                    (Err(e), _) => log::debug!("link: a pairing: {e}"),
                }
            }
            Step::Called(who, number, called) => {
                let name = self.open.get(&who).map_or_else(|| who.name(), |seen| seen.name.clone());
                match called {
                    Ok(room) => {
                        if let Some(order) = self.order.take_if(|order| order.number == number) {
                            let _ = order.answer.send(Ok(format!("{name} belongs to this booth's room now")));
                        }
                        if self.room.is_none() {
                            return Stepped::Paired(room);
                        }
                    }
                    Err(e) => {
                        log::warn!("link: pairing with {name} failed: {e}");
                        if let Some(order) = self.order.as_mut().filter(|order| order.number == number) {
                            order.wrong |= matches!(e, Failed::Wrong);
                            order.calling = order.calling.saturating_sub(1);
                        }
                    }
                }
            }
        }
        Stepped::Nothing
    }
}

/// What a [`Step`] means for the booth.
pub(crate) enum Stepped {
    Nothing,
    GuessedWrong,
    Paired(RoomKey),
}
