//! What belongs on the screen at a given time. No I/O: time is passed in, never read.
//!
//! ```text
//!              picture                       picture
//!   ┌──────┐ ───────────► ┌──────┐ ◄───────────────────┐
//!   │ Card │              │ Live │ ──────────────► ┌────────┐
//!   └──────┘ ◄─┐          └──────┘  none for       │ Fading │
//!              │                    TIMEOUT_US    └────────┘
//!              └──────────────────────────────────────┘
//!                         black after FADE_US
//! ```
//! A card that goes over pictures leads to `Card` from anywhere, and no picture away from it.
//!
//! A person must never stand frozen: from the last picture to black it takes at most `TIMEOUT_US + FADE_US`.

/// How long a picture stays when none follows, in µs. Longer than any gap of a working line at 15 pictures a
/// second.
pub(super) const TIMEOUT_US: u64 = 250_000;
/// From there to black, in µs.
pub(super) const FADE_US: u64 = 200_000;

/// What is on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// A card: no picture comes.
    Card,
    /// The newest picture, since this time.
    Live { since_us: u64 },
    /// The last picture, on its way to black since this time.
    Fading { since_us: u64 },
}

impl Show {
    /// A picture came.
    pub(super) fn picture(&mut self, now_us: u64) {
        *self = Self::Live { since_us: now_us };
    }

    /// A card takes the place of whatever is there.
    pub(super) fn card(&mut self) {
        *self = Self::Card;
    }

    /// Time went by. Returns how bright the last picture is to be drawn again, of 256; `None` when nothing of
    /// it changes.
    pub(super) fn tick(&mut self, now_us: u64) -> Option<u16> {
        if let Self::Live { since_us } = *self
            && now_us >= since_us + TIMEOUT_US
        {
            *self = Self::Fading { since_us: since_us + TIMEOUT_US };
        }
        let Self::Fading { since_us } = *self else { return None };
        let gone = now_us.saturating_sub(since_us);
        if gone >= FADE_US {
            *self = Self::Card;
            return Some(0);
        }
        Some((256 * (FADE_US - gone) / FADE_US) as u16)
    }

    /// When `tick` is wanted again, in µs from now; `None` while only an event can change anything.
    pub(super) fn next_tick_us(&self, now_us: u64, refresh_us: u64) -> Option<u64> {
        match *self {
            Self::Card => None,
            Self::Live { since_us } => Some((since_us + TIMEOUT_US).saturating_sub(now_us)),
            Self::Fading { .. } => Some(refresh_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_while_pictures_come() {
        let mut show = Show::Card;
        for t in (0..3_000_000).step_by(33_333) {
            show.picture(t);
            assert_eq!(show.tick(t + 33_000), None);
        }
    }

    #[test]
    fn never_a_frozen_person() {
        let mut show = Show::Card;
        show.picture(0);
        let mut last = 257;
        let mut t = 0;
        while show != Show::Card {
            t += show.next_tick_us(t, 16_667).unwrap().max(1);
            if let Some(level) = show.tick(t) {
                assert!(level < last, "brightness only falls");
                last = level;
            }
            assert!(t <= 500_000, "black within half a second");
        }
        assert_eq!(last, 0);
        assert_eq!(show.next_tick_us(t, 16_667), None);
    }

    #[test]
    fn a_card_ends_both_picture_and_fade() {
        for mut show in [Show::Live { since_us: 0 }, Show::Fading { since_us: 0 }, Show::Card] {
            show.card();
            assert_eq!((show, show.tick(FADE_US / 2), show.next_tick_us(1, 1)), (Show::Card, None, None));
        }
    }

    #[test]
    fn a_picture_ends_the_fade() {
        let mut show = Show::Live { since_us: 0 };
        assert!(show.tick(TIMEOUT_US + FADE_US / 2).is_some_and(|l| (100..160).contains(&l)));
        show.picture(400_000);
        assert_eq!(show, Show::Live { since_us: 400_000 });
    }
}
