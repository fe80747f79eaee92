//! What the link counts. Each number is declared here, and nowhere else: status, its JSON and doctor read the
//! declaration.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::media::counters::counters;

counters! {
    /// What the link counts for all callers together.
    pub struct Counters;
    /// The same in `holobooth status`.
    pub struct Counts;
    /// Peers turned away because they were not who they had to be, or of another room.
    refused: count "refused",
    /// Callers told to come again, or not listened to any longer: too many at once, or they did not go on.
    rejected_busy: count "rejected as busy",
    /// Wrong guesses of our code, and guesses that were not heard.
    guesses_refused: count "guesses refused",
    /// Records on our networks that claimed to be of the room and were not.
    records_refused: count "records refused",
}

counters! {
    /// What the link, and the decoder behind it, count for one peer.
    pub struct PeerCounters;
    /// The same in `holobooth status`.
    pub struct PeerCounts;
    /// Sessions begun.
    connects: count "sessions",
    /// Smoothed round trip, in µs.
    rtt_us: gauge "µs RTT",
    /// What the path to the peer is thought to carry, in kbit/s.
    path_kbps: gauge "kbit/s path",
    /// The queue that stands on the path, in µs.
    queue_us: gauge "µs queue",
    /// Share of our datagrams that are lost on the path, in thousandths.
    loss_permille: gauge "‰ lost",
    /// The largest datagram of ours that goes to the peer, in bytes, without what MoQ, QUIC and the seal put
    /// around it.
    datagram_bytes: gauge "B datagrams",
    /// Times that the path came to carry smaller datagrams.
    mtu_drops: count "MTU drops",
    /// Frames given to the transport.
    sent_frames: count "frames sent",
    /// Of these, keyframes.
    sent_keyframes: count "keyframes sent",
    /// Bytes of these, as coded.
    sent_bytes: count "bytes sent",
    /// Frames left out: no room in the transport, or nothing that they refer to had been sent.
    dropped_frames: count "frames dropped",
    /// Frames received whole.
    received_frames: count "frames received",
    /// Bytes of these, as coded.
    received_bytes: count "bytes received",
    /// Frames that did not arrive whole.
    lost_frames: count "frames lost",
    /// Keyframes that we asked for.
    keyframe_requests: count "keyframes requested",
    /// Frames decoded.
    decoded: count "decoded",
    /// Whole frames that could not be decoded.
    decode_errors: count "undecodable",
    /// Whole frames not decoded because something before them was missing.
    decode_skipped: count "skipped",
    /// Times that we asked for a frame's missing shards.
    nacks: count "NACKs sent",
    /// Shards that we sent again.
    repairs: count "shards repaired",
    /// Voice frames given to the transport.
    voice_sent: count "voice frames sent",
    /// Of these, those that left more than 5 ms after they were captured and coded.
    voice_delayed: count "voice frames delayed",
    /// Voice frames received, each once.
    voice_received: count "voice frames received",
    /// Voice frames that no datagram brought.
    voice_lost: count "voice frames lost",
    /// Datagrams that came again.
    repeated: count "repeated",
    /// Datagrams that made no sense.
    malformed: count "malformed",
    /// Datagrams that did not decrypt: changed, repeated, or made by somebody else.
    decrypt_failed: count "decryption failed",
}

/// Adds `n` to `counter`.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

/// Sets `gauge` to `value`.
pub(crate) fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Relaxed);
}
