//! What is heard, held against what was said: delay, loudness, gaps. All of it works on 48 kHz mono.

mod chirp;
mod click;
mod correlate;
mod level;
mod spectrogram;
mod telephone;

pub use chirp::{Chirp, Heard};
pub use click::loudest_click_db;
pub use correlate::{Alignment, align};
pub use level::{PART, db, gaps, levels_db, spoken};
pub use spectrogram::draw;
pub use telephone::telephone;
