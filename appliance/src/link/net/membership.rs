//! Who is at the other end of a new connection: what TLS has shown, and in a room what is proved after it
//! (see [`crate::pairing`]).

use std::time::Duration;

use quinn::{Connection, ConnectionError};
use tokio::time::timeout;

use crate::link::net::congestion::MinWindow;
use crate::link::net::socket::{Dialled, Failed};
use crate::link::net::tls;
use crate::pairing::{EXPORTER, Fingerprint, LONGEST, Part, Proof, RoomKey};

/// From a handshake to the proof that both ends belong to the room.
const PROOF_LIMIT: Duration = Duration::from_secs(2);

/// Why a connection is closed, as the other side is told (RFC 9000, section 20.2).
pub(crate) mod code {
    use quinn::VarInt;

    /// The booth stops.
    pub(crate) const STOPS: VarInt = VarInt::from_u32(0);
    /// There is another connection that is as good.
    pub(crate) const ENOUGH: VarInt = VarInt::from_u32(1);
    /// It is of no more use.
    pub(crate) const OVER: VarInt = VarInt::from_u32(2);
    /// Nothing was proved on it.
    pub(crate) const UNPROVEN: VarInt = VarInt::from_u32(3);
    /// The booth is in a meeting with as many others as it can be.
    pub(crate) const ENGAGED: VarInt = VarInt::from_u32(4);
    /// The name belongs to another booth.
    pub(crate) const NAME_TAKEN: VarInt = VarInt::from_u32(5);
    /// The code was not the one that is shown.
    pub(crate) const WRONG_CODE: VarInt = VarInt::from_u32(6);
    /// No guess is taken now.
    pub(crate) const BUSY: VarInt = VarInt::from_u32(7);
}

/// A connection that is up, and which booth has proved to be at its other end, under which name; a relay has
/// not.
pub(crate) struct Up {
    pub(crate) connection: Connection,
    pub(crate) min_window: MinWindow,
    pub(crate) booth: Option<(Fingerprint, String)>,
}

/// What we have to prove, and want proved.
pub(crate) struct Membership {
    pub(crate) part: Part,
    pub(crate) own: Fingerprint,
    pub(crate) name: String,
    pub(crate) room: Option<RoomKey>,
}

impl Membership {
    /// Which booth is at the other end. Without a room it is the one that TLS let in, under the name that
    /// follows from its key.
    ///
    /// # Errors
    /// [`Failed::Unproven`], or what the other side closed the connection with.
    pub(crate) async fn prove(self, Dialled { connection, min_window }: Dialled) -> Result<Up, Failed> {
        let theirs = tls::shown(&connection).ok_or(Failed::Unproven)?;
        let Some(room) = self.room else {
            return Ok(Up { connection, min_window, booth: Some((theirs, theirs.name())) });
        };
        let mut exported = [0; 32];
        connection.export_keying_material(&mut exported, EXPORTER, b"").map_err(|_| Failed::Unproven)?;
        let proof = Proof { part: self.part, own: self.own, theirs, exported: &exported };
        let exchange = async {
            let mut out = connection.open_uni().await.ok()?;
            out.write_all(&proof.say(&room, &self.name)).await.ok()?;
            out.finish().ok()?;
            connection.accept_uni().await.ok()?.read_to_end(LONGEST).await.ok()
        };
        let message = timeout(PROOF_LIMIT, exchange).await.ok().flatten();
        let name = message.as_deref().and_then(|message| proof.evaluate(&room, message));
        match (name, connection.close_reason()) {
            (Some(name), _) => Ok(Up { connection, min_window, booth: Some((theirs, name)) }),
            (None, Some(reason)) if !is_unproven(&reason) => Err(reason.into()),
            (None, _) => {
                connection.close(code::UNPROVEN, b"another room");
                Err(Failed::Unproven)
            }
        }
    }
}

/// Whether the other side found nothing proved.
fn is_unproven(reason: &ConnectionError) -> bool {
    matches!(reason, ConnectionError::ApplicationClosed(close) if close.error_code == code::UNPROVEN)
}
