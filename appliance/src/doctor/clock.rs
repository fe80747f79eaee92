//! The clock: right to the year, and kept right by somebody.
//!
//! Source: adjtimex(2).

use std::mem;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::libc::{STA_UNSYNC, TIME_ERROR, timex};

use super::evaluation::Evaluation;
use super::subject::Subject;

/// 2026-01-01, in s since 1970: this program is not older, so a clock that is, is wrong.
const EARLIEST_S: u64 = 1_767_225_600;
/// And this year is too far away: 2100-01-01.
const LATEST_S: u64 = 4_102_444_800;

pub(super) fn check(_: &Subject) -> Evaluation {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (state, timex) = read_clock();
    evaluate(now_s, synchronised(state, timex.status))
}

/// The kernel's clock state and parameters; nothing is set.
fn read_clock() -> (i32, timex) {
    // SAFETY: `timex` is a plain C structure, and zero is a value of each of its fields.
    let mut clock: timex = unsafe { mem::zeroed() };
    // SAFETY: the structure is ours; with `modes` 0 the call only reads.
    let state = unsafe { nix::libc::adjtimex(&mut clock) };
    (state, clock)
}

/// Whether a time server or a better clock disciplines the kernel's.
fn synchronised(state: i32, status: i32) -> bool {
    (0..TIME_ERROR).contains(&state) && status & STA_UNSYNC == 0
}

fn evaluate(now_s: u64, synchronised: bool) -> Evaluation {
    let advice = "let it reach a time server (NTP, UDP port 123), or set it";
    let year = 1970 + now_s / 31_556_952;
    if !(EARLIEST_S..LATEST_S).contains(&now_s) {
        Evaluation::wrong(format!("it reads the year {year}: certificates of relays look invalid"), advice)
    } else if synchronised {
        Evaluation::ok("synchronised")
    } else {
        Evaluation::warning(format!("not synchronised (it reads the year {year})"), advice)
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::Verdict::{Ok as Fine, Warning, Wrong};
    use super::*;

    #[test]
    fn years_off_is_wrong_and_unkept_is_a_warning() {
        let day_s = 86_400;
        for (now_s, synchronised, verdict) in [
            (0, true, Wrong),
            (EARLIEST_S - day_s, true, Wrong),
            (LATEST_S + day_s, false, Wrong),
            (u64::MAX, true, Wrong),
            (EARLIEST_S + day_s, true, Fine),
            (EARLIEST_S + day_s, false, Warning),
        ] {
            assert_eq!(evaluate(now_s, synchronised).verdict, verdict, "{now_s}");
        }
        assert!(evaluate(day_s, true).found.contains("1970"));
        assert!(evaluate(EARLIEST_S + day_s, false).found.contains("2026"));
    }

    #[test]
    fn the_kernel_says_whether_its_clock_is_disciplined() {
        assert!(synchronised(0, 0) && !synchronised(0, STA_UNSYNC));
        assert!(!synchronised(TIME_ERROR, 0) && !synchronised(-1, 0), "an error is not synchronised");
        // A tick is 1/USER_HZ s: 10 000 µs on every Linux, and 0 when the call did not fill the structure.
        let (state, clock) = read_clock();
        assert!(state >= 0 && (9_000..=11_000).contains(&clock.tick), "{state}, {} µs", clock.tick);
    }
}
