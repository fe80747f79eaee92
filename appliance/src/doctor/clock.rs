//! The clock: right to the year, and kept right by somebody.
//!
//! Source: adjtimex(2).

use std::mem;
use std::time::{SystemTime, UNIX_EPOCH};

use super::evaluation::Evaluation;
use super::subject::Subject;

/// 2026-01-01, in s since 1970: this program is not older, so a clock that is, is wrong.
const EARLIEST_S: u64 = 1_767_225_600;
/// And this year is too far away: 2100-01-01.
const LATEST_S: u64 = 4_102_444_800;

pub(super) fn check(_: &Subject) -> Evaluation {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    evaluate(now_s, synchronised())
}

/// Whether the kernel has been told that its clock follows a better one.
fn synchronised() -> bool {
    // SAFETY: `timex` is a plain C structure, and zero is a value of each of its fields.
    let mut timex: nix::libc::timex = unsafe { mem::zeroed() };
    // SAFETY: the structure is ours; with `modes` 0 nothing is set, only told.
    let state = unsafe { nix::libc::adjtimex(&mut timex) };
    (0..nix::libc::TIME_ERROR).contains(&state) && timex.status & nix::libc::STA_UNSYNC == 0
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
        synchronised();
    }
}
