//! The echo guard: ducks the microphone while the echo's path has changed and is being learnt anew.
//!
//! What the filter takes out (captured minus residual) is its estimate of the echo. While the estimate is
//! right the residual is orthogonal to it, whoever speaks besides; when the path has changed, the estimate is
//! not taken out but put in, and the residual holds it with a minus. That tells a broken path from double
//! talk within a tenth of a second, where powers alone cannot.
//!
//! An adaptive filter that is certain of its path takes the new echo for somebody's voice and learns slowly; one that
//! begins anew learns it in half a second. So who asks the guard begins anew when it says that the path broke.
//!
//! It ducks only while something that was played may have an echo, until the filter that began anew has proven right, and
//! for a second and a half at most.
//!
//! A card that was interrupted is a warning: where there is an echo it ducks at once, until the clocks are known again.

use crate::sound::rate::FRAME;

/// How far the sums reach back, for each block of 5 ms: 75 ms.
const FORGET: f64 = 0.935;
/// Of the estimate, what the residual must hold with a minus.
const BROKEN: f64 = 0.5;
/// How correlated both must be: a near voice that is louder than the echo has some of everything in it.
const CORRELATED: f64 = 0.5;
/// The same, for it to be doubted.
const DOUBTFUL: f64 = 0.12;
const DOUBTFULLY_CORRELATED: f64 = 0.2;
/// Of the estimate, what the residual may hold when it has proven right, and for how many blocks it must.
const RIGHT: f64 = 0.2;
const PROVEN_BLOCKS: u32 = 60;
/// The estimate's mean square that is loud enough to judge by: -62 dB.
const LOUD: f64 = 6.5e-7;
/// Of what is left, the estimate's least part that is heard beside it: -10 dB. An echo below that is masked.
const HEARD: f64 = 0.1;
/// Blocks for which it must look broken.
const BROKEN_BLOCKS: u32 = 5;
/// It stays ducked for at least so many blocks after it last looked broken.
const HOLD_BLOCKS: u32 = 150;
/// Never ducked for longer: 1.5 s.
const MOST_BLOCKS: u32 = 300;
/// What ducking leaves: -20 dB.
const DUCKED: f32 = 0.1;
/// Samples over which the gain falls by a factor of e, and rises.
const FALL: f32 = 96.0;
const RISE: f32 = 2_400.0;

/// Watches filter and path, and ducks.
#[derive(Debug, Clone)]
pub struct EchoGuard {
    cross: f64,
    estimate: f64,
    residual: f64,
    suspicious: u32,
    doubtful: bool,
    /// Blocks for which the estimate has proven right, since the filter began anew.
    proven: u32,
    /// Blocks for which it is still to be ducked, 1 until the filter has proven right; and for which it has been.
    hold: u32,
    held: u32,
    /// Something was played that may have an echo now.
    playing: bool,
    /// It is ducked because a card was interrupted, and where there is an echo.
    interrupted: bool,
    gain: f32,
    count: u64,
}

impl Default for EchoGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl EchoGuard {
    /// A guard that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            cross: 0.0,
            estimate: 0.0,
            residual: 0.0,
            suspicious: 0,
            doubtful: false,
            proven: 0,
            hold: 0,
            held: 0,
            playing: false,
            interrupted: false,
            gain: 1.0,
            count: 0,
        }
    }

    /// A card was interrupted: until its clock is found again, nobody knows when what was played is heard.
    pub fn interrupt(&mut self) {
        // Who is ducked for a broken path already stays so, whatever is played.
        self.interrupted |= self.hold == 0;
        self.hold = HOLD_BLOCKS;
        self.suspicious = 0;
    }

    /// Takes a block of 5 ms, full scale at ±1: as captured, and as the adaptive filter left it; and whether something
    /// was `playing` that may have an echo in it. Gives whether the path broke with this block; the filter should then
    /// begin anew.
    pub fn look(&mut self, captured: &[f32], residual: &[f32], playing: bool) -> bool {
        self.playing = playing;
        let (mut cross, mut estimate, mut left) = (0.0, 0.0, 0.0);
        for (captured, residual) in captured.iter().zip(residual) {
            let (echo, residual) = (f64::from(captured - residual), f64::from(*residual));
            cross += echo * residual;
            estimate += echo * echo;
            left += residual * residual;
        }
        let count = captured.len().max(1) as f64;
        self.cross = FORGET * self.cross + (1.0 - FORGET) * cross / count;
        self.estimate = FORGET * self.estimate + (1.0 - FORGET) * estimate / count;
        self.residual = FORGET * self.residual + (1.0 - FORGET) * left / count;
        let both = (self.estimate * self.residual).sqrt();
        let put_in = |part: f64, correlated: f64| {
            self.estimate > LOUD && -self.cross > part * self.estimate && -self.cross > correlated * both
        };
        let looks_broken = self.is_heard() && put_in(BROKEN, CORRELATED);
        self.doubtful = put_in(DOUBTFUL, DOUBTFULLY_CORRELATED);
        self.suspicious = if looks_broken { self.suspicious + 1 } else { 0 };
        let right = self.estimate > LOUD && self.cross.abs() < RIGHT * self.estimate;
        self.proven += u32::from(right && self.proven < PROVEN_BLOCKS);
        let ducked = self.hold > 0;
        let may_break = self.proven >= PROVEN_BLOCKS || (ducked && !self.interrupted);
        let is_broken = self.suspicious >= BROKEN_BLOCKS && may_break;
        if is_broken {
            self.hold = HOLD_BLOCKS;
        }
        if self.held >= MOST_BLOCKS {
            // Not again before it has looked whole for once.
            self.hold = 0;
            if self.suspicious == 0 {
                self.held = 0;
            }
        } else if self.hold > 0 {
            self.held += u32::from(self.ducking());
            // Until the filter that began anew has proven right, what it leaves may be all of the echo.
            let unproven = !self.interrupted && self.proven < PROVEN_BLOCKS;
            self.hold = (self.hold - 1).max(u32::from(unproven));
        } else {
            self.held = 0;
        }
        let broke = is_broken && self.hold > 0 && (!ducked || self.interrupted);
        self.interrupted &= self.hold > 0 && !broke;
        self.count += u64::from(broke);
        if broke {
            // What is summed up is of a filter that begins anew.
            self.proven = 0;
            self.cross = 0.0;
            self.estimate = 0.0;
            self.residual = 0.0;
        }
        broke
    }

    /// Applies the gain, which is 1 most of the time.
    pub fn duck(&mut self, frame: &mut [f32; FRAME]) {
        let (target, step) = if self.ducking() { (DUCKED, 1.0 / FALL) } else { (1.0, 1.0 / RISE) };
        if target == 1.0 && self.gain > 0.999 {
            self.gain = 1.0;
            return;
        }
        for sample in frame {
            self.gain += (target - self.gain) * step;
            *sample *= self.gain;
        }
    }

    /// Whether the estimate may be wrong: too early to duck, and late enough not to believe it.
    #[must_use]
    pub fn doubts(&self) -> bool {
        self.doubtful
    }

    /// Whether it ducks now.
    #[must_use]
    pub fn ducking(&self) -> bool {
        self.hold > 0 && if self.interrupted { self.is_heard() } else { self.playing }
    }

    /// Whether the estimate is loud enough to be heard beside what is left.
    fn is_heard(&self) -> bool {
        self.estimate > LOUD && self.estimate > HEARD * self.residual
    }

    /// How often the path broke.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = FRAME / 2;

    /// A guard that is shown so many blocks of 5 ms: the echo's estimate, how much of the estimate is no
    /// longer in what is heard, and a near voice, all noise of a thousandth of the mean square that is given.
    struct Room {
        guard: EchoGuard,
        random: fastrand::Rng,
        playing: bool,
    }

    impl Room {
        fn new() -> Self {
            Self { guard: EchoGuard::new(), random: fastrand::Rng::with_seed(1), playing: true }
        }

        fn noise(&mut self, power: f64) -> [f32; BLOCK] {
            let amplitude = (3e-3 * power).sqrt() as f32;
            std::array::from_fn(|_| amplitude * (2.0 * self.random.f32() - 1.0))
        }

        /// Gives for how many of the blocks it ducked.
        fn hear(&mut self, blocks: u32, echo: f64, other_path: bool, near: f64) -> u32 {
            let mut ducked = 0;
            for _ in 0..blocks {
                let (estimate, near) = (self.noise(echo), self.noise(near));
                let real = if other_path { self.noise(echo) } else { estimate };
                let captured: [f32; BLOCK] = std::array::from_fn(|k| real[k] + near[k]);
                let residual: [f32; BLOCK] = std::array::from_fn(|k| captured[k] - estimate[k]);
                self.guard.look(&captured, &residual, self.playing);
                ducked += u32::from(self.guard.ducking());
            }
            ducked
        }
    }

    #[test]
    fn ducks_soon_after_the_path_changed() {
        let mut room = Room::new();
        assert_eq!(room.hear(500, 1.0, false, 0.001), 0);
        let ducked = room.hear(25, 1.0, true, 0.001);
        assert!(ducked >= 10, "{ducked} of 100 ms");
        assert_eq!(room.guard.count(), 1);
        let mut frame = [1.0; FRAME];
        room.guard.duck(&mut frame);
        room.guard.duck(&mut frame);
        assert!(frame[0] > frame[FRAME - 1]);
        assert!(frame[FRAME - 1] < 0.12);
    }

    #[test]
    fn does_not_duck_in_double_talk() {
        let mut room = Room::new();
        for near in [0.1, 1.0, 3.0] {
            assert_eq!(room.hear(2_500, 1.0, false, near), 0, "{near}");
        }
    }

    #[test]
    fn does_not_duck_before_the_filter_has_proven_right() {
        assert_eq!(Room::new().hear(500, 1.0, true, 0.001), 0);
    }

    #[test]
    fn does_not_duck_when_little_is_played() {
        let mut room = Room::new();
        room.hear(500, 1.0, false, 0.001);
        assert_eq!(room.hear(500, 0.000_3, true, 1.0), 0);
    }

    #[test]
    fn lets_go_when_the_path_is_learnt_and_ducks_again_when_it_breaks_again() {
        let mut room = Room::new();
        room.hear(100, 1.0, false, 0.001);
        room.hear(100, 1.0, true, 0.001);
        room.hear(HOLD_BLOCKS + 100, 1.0, false, 0.001);
        assert!(!room.guard.ducking());
        room.hear(50, 1.0, true, 0.001);
        assert!(room.guard.ducking());
        assert_eq!(room.guard.count(), 2);
    }

    #[test]
    fn what_masks_the_estimate_tells_nothing_of_the_path() {
        // Of the estimate's power, the part of the residual that goes with it, and the part that does not.
        for (with, without, breaks) in [(1.0_f32, 1.0, true), (3.0, 3.0, false)] {
            let mut room = Room::new();
            room.hear(100, 1.0, false, 0.001);
            for _ in 0..50 {
                let (estimate, other) = (room.noise(1.0), room.noise(1.0));
                let residual: [f32; BLOCK] = std::array::from_fn(|k| without * other[k] - with * estimate[k]);
                let captured: [f32; BLOCK] = std::array::from_fn(|k| residual[k] + estimate[k]);
                room.guard.look(&captured, &residual, true);
            }
            assert_eq!(room.guard.count() > 0, breaks, "{with} and {without}");
        }
    }

    #[test]
    fn stays_ducked_until_what_was_learnt_anew_has_proven_right() {
        let mut room = Room::new();
        room.hear(100, 1.0, false, 0.001);
        room.hear(25, 1.0, true, 0.001);
        // The estimate of a filter that has learnt nothing is nothing: all that is heard is left.
        let nothing_learnt = room.hear(HOLD_BLOCKS + 50, 0.0, false, 1.0);
        assert_eq!(nothing_learnt, HOLD_BLOCKS + 50);
        room.playing = false;
        assert_eq!(room.hear(2 * MOST_BLOCKS, 0.0, false, 1.0), 0, "nothing can have an echo");
        room.playing = true;
        assert_eq!(room.hear(10, 0.0, false, 1.0), 10, "it is as little known as before");
        room.hear(PROVEN_BLOCKS + 1, 1.0, false, 0.001);
        assert!(!room.guard.ducking());
    }

    #[test]
    fn ducks_at_once_when_a_card_is_interrupted_but_only_an_echo() {
        let mut room = Room::new();
        room.hear(100, 1.0, false, 0.001);
        room.guard.interrupt();
        assert!(room.guard.ducking(), "before anything is heard");
        assert!(room.hear(HOLD_BLOCKS + 100, 1.0, false, 0.001) < HOLD_BLOCKS);
        assert_eq!((room.guard.ducking(), room.guard.count()), (false, 0), "the path is the same");
        room.guard.interrupt();
        room.hear(30, 1.0, true, 0.001);
        assert_eq!((room.guard.ducking(), room.guard.count()), (true, 1), "it is another one");
        room.guard.interrupt();
        assert!(room.guard.ducking(), "a second card is interrupted, too");
        let mut room = Room::new();
        room.guard.interrupt();
        room.hear(50, 1.0, true, 0.001);
        assert_eq!(room.guard.count(), 0, "it has not proven right yet");
        let mut room = Room::new();
        room.hear(100, 0.000_1, false, 1.0);
        room.guard.interrupt();
        assert_eq!(room.hear(100, 0.000_1, false, 1.0), 0, "nothing is played");
        let mut room = Room::new();
        room.hear(100, 1.0, false, 100.0);
        room.guard.interrupt();
        assert_eq!(room.hear(100, 1.0, false, 100.0), 0, "the near voice masks it");
    }

    #[test]
    fn never_ducks_for_longer_than_a_second_and_a_half() {
        let mut room = Room::new();
        room.hear(100, 1.0, false, 0.001);
        let ducked = room.hear(2_500, 1.0, true, 0.001);
        assert!(ducked <= MOST_BLOCKS, "{ducked}");
        assert_eq!(room.guard.count(), 1);
        let mut frame = [1.0; FRAME];
        for _ in 0..40 {
            frame = [1.0; FRAME];
            room.guard.duck(&mut frame);
        }
        assert_eq!(frame, [1.0; FRAME]);
    }
}
