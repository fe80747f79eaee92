//! Sound through ALSA: the right microphone and loudspeaker, their clocks, and recovery from whatever a cable
//! does. Touches no picture.

pub mod clock_fit;
pub mod clock_line;
pub mod device;
pub mod kept_rate;
