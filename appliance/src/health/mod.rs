//! What the booth knows about itself: where the milliseconds go, what was lost and why. Answers on a Unix
//! socket.

mod counters;
mod notice;
mod notices;
mod socket;
mod stages;
mod status;
mod watchdog;

pub use counters::{VideoCounters, VideoCounts};
pub use notice::Notice;
pub use notices::Notices;
pub use socket::{CHECK_SOUND, ask, order, serve};
pub use stages::{Stage, Stages};
pub use status::{
    CameraState, CameraStatus, CardState, CardStatus, CodecStatus, LinkStatus, MemberStatus, PeerStatus,
    Received, ScreenState, ScreenStatus, Sent, SoundStatus, State, Status, VoiceStatus,
};
pub use watchdog::{Say, Watchdog, stopping, watched};
