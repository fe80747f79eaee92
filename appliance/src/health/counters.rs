//! What the video threads count. Each number is declared here, and nowhere else.

use crate::media::counters::counters;

counters! {
    /// Of the video threads.
    pub struct VideoCounters;
    /// The same in `holobooth status`.
    pub struct VideoCounts;
    /// Pictures taken from the camera.
    camera_frames: count "captured",
    /// Pictures left out because the path is too narrow for all of them.
    thinned: count "thinned",
    /// Access units that found no room on the way to the link.
    send_dropped: count "not sent",
    /// Pictures shown.
    shown: count "shown",
    /// Pictures shown after a later one: always 0, or something is wrong.
    out_of_order: count "out of order",
}
