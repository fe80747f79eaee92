//! What the sound threads count. Each number is declared here, and nowhere else.

use crate::media::counters::counters;

counters! {
    /// Of microphone and loudspeaker.
    pub struct SoundCounters;
    /// The same in `holobooth status`.
    pub struct SoundCounts;
    /// Frames of 10 ms taken from the microphone.
    captured: count "frames captured",
    /// Of these, frames that were coded and given to the link: none while muted.
    coded: count "frames coded",
    /// Frames that found no room on the way to the link.
    send_dropped: count "not sent",
    /// Times that the microphone was not read in time.
    capture_xruns: count "microphone overruns",
    /// Times that the loudspeaker had nothing to play.
    playback_xruns: count "loudspeaker underruns",
    /// Times that a card had to be opened again.
    restarts: count "restarts",
    /// Time that the microphone's thread was busy, and did not wait for the card, in µs: canceller, limiter and coder.
    microphone_busy_us: count "µs busy with the microphone",
    /// The same of the loudspeaker's: decoders, jitter buffers and mixer.
    loudspeaker_busy_us: count "µs busy with the loudspeaker",
    /// Samples played that the echo canceller needed before they were known: their echo stays.
    reference_late: count "samples played known too late",
    /// Times that the echo canceller's reference was set anew: at a card's start, and when a clock jumped.
    reference_jumps: count "jumps of the echo reference",
    /// Times that the microphone was ducked because the echo's path had changed.
    ducked: count "times ducked",
    /// Frames whose peaks the limiter held back.
    limited: count "frames limited",
    /// The loudest sample of the last second at the microphone, in dB below full scale.
    microphone_below_db: gauge "dB below full scale at the microphone",
    /// The same at the loudspeaker.
    loudspeaker_below_db: gauge "dB below full scale at the loudspeaker",
    /// What the echo canceller takes from the echo (ERLE), in dB.
    erle_db: gauge "dB ERLE",
    /// From the loudspeaker's converter to the microphone's, in µs, as the echo canceller has found it.
    echo_delay_us: gauge "µs echo delay",
}

counters! {
    /// Of one peer's voice.
    pub struct VoiceCounters;
    /// The same in `holobooth status`.
    pub struct VoiceCounts;
    /// Frames decoded and played.
    played: count "played",
    /// Frames invented because they did not come in time.
    concealed: count "concealed",
    /// Frames that came after their time.
    late: count "late",
    /// Frames for which there was no room.
    dropped: count "dropped",
    /// Frames that no decoder would take.
    malformed: count "malformed",
    /// Pitch periods put in or taken out.
    jumps: count "jumps",
    /// Times that the voice began anew.
    restarts: count "beginnings",
    /// What waits to be played, in µs: the least of the last 100 ms.
    buffer_us: gauge "µs buffered",
    /// From mouth to ear, in µs; 0 while nobody speaks.
    mouth_to_ear_us: gauge "µs mouth to ear",
}
