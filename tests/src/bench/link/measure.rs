//! From what was sent and what was seen to figures. Pure: times come in, none are read.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// A frame that is decoded later than this after capture is late, in µs: half of the 200 ms that a meeting
/// may take from light to light; the other half belongs to camera, encoder and screen.
pub const DEADLINE_US: i64 = 100_000;
/// A picture that stands for longer than this is a freeze, in µs.
pub const FREEZE_US: i64 = 200_000;
/// For how long all must be well again before it counts as recovered, in µs.
const WELL_US: i64 = 1_000_000;
/// How much more than the median delay before a step may remain after it, in µs.
const WELL_ABOVE_US: i64 = 20_000;

/// A frame that was handed to a scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its number.
    pub number: u32,
    /// When it was handed over, in µs on CLOCK_MONOTONIC.
    pub capture_us: i64,
    /// Its size as coded.
    pub bytes: u64,
    /// The bit rate of the rendition that it was taken from, in kbit/s.
    pub kbps: u32,
}

/// When the line became narrow and wide again, in µs on CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The rate falls.
    pub down_us: i64,
    /// The rate returns.
    pub up_us: i64,
}

/// Bytes that the interfaces of both ends sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wire {
    /// By the sender's, with every header down to Ethernet's.
    pub out: u64,
    /// By the receiver's.
    pub back: u64,
}

/// What became of the frames of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Frames sent.
    pub frames: usize,
    /// Of these, decoded after [`DEADLINE_US`] or never.
    pub late: usize,
    /// Of these, never.
    pub never: usize,
    /// Gaps of more than [`FREEZE_US`] between one decoded frame and the next.
    pub freezes: usize,
    /// The longest gap, in µs.
    pub longest_gap_us: i64,
    /// The median from capture to decoded of what was decoded, in µs.
    pub p50_us: Option<i64>,
    /// The 99th percentile of the same.
    pub p99_us: Option<i64>,
    /// The mean bit rate of the renditions that the frames were taken from, in kbit/s.
    pub video_kbps: f64,
    /// Bytes on the wire towards the receiver over those of the frames, less one.
    pub overhead: f64,
    /// Bytes on the wire back to the sender over those of the frames.
    pub back: f64,
    /// After a step, from the rate's return.
    pub recovery: Option<Recovery>,
}

/// How it went on after the rate of a narrow line returned. `None` in a field: not before the run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Until the second began in which no frame was late and the mean delay was at most 20 ms above the
    /// median before the step, in µs.
    pub delay_us: Option<i64>,
    /// Until a frame was sent at the bit rate of before the step, in µs; 0 for who never left it.
    pub rate_us: Option<i64>,
}

impl Recovery {
    /// Until delay and rate are back, in µs.
    pub fn both_us(self) -> Option<i64> {
        self.delay_us.zip(self.rate_us).map(|(delay, rate)| delay.max(rate))
    }
}

impl Figures {
    /// Late frames over all, in per cent.
    pub fn late_percent(&self) -> f64 {
        100.0 * self.late as f64 / self.frames.max(1) as f64
    }

    /// As one JSON object; times in ms.
    pub fn to_json(&self) -> Value {
        let ms = |us: Option<i64>| us.map(|us| us as f64 / 1000.0);
        let mut object = Map::new();
        let fields = json!({
            "frames": self.frames, "late": self.late, "never": self.never, "late_percent": self.late_percent(),
            "freezes": self.freezes, "longest_gap_ms": ms(Some(self.longest_gap_us)),
            "p50_ms": ms(self.p50_us), "p99_ms": ms(self.p99_us),
            "video_kbps": self.video_kbps, "overhead": self.overhead, "back": self.back,
        });
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        if let Some(recovery) = self.recovery {
            object.insert("recovery_ms".to_owned(), ms(recovery.both_us()).into());
            object.insert("delay_back_ms".to_owned(), ms(recovery.delay_us).into());
            object.insert("rate_back_ms".to_owned(), ms(recovery.rate_us).into());
        }
        Value::Object(object)
    }
}

/// Judges a run: the frames `sent`, in order, and the times in µs at which the numbers in `seen` were
/// decoded.
pub fn evaluate(sent: &[Sent], seen: &HashMap<u32, i64>, wire: Wire, step: Option<Step>) -> Figures {
    let delay_us = |frame: &Sent| seen.get(&frame.number).map(|decoded_us| decoded_us - frame.capture_us);
    let mut delays: Vec<i64> = sent.iter().filter_map(delay_us).collect();
    delays.sort_unstable();
    let in_time = delays.iter().filter(|&&delay| delay <= DEADLINE_US).count();
    let (freezes, longest_gap_us) = gaps(sent, seen);
    let media = sent.iter().map(|frame| frame.bytes).sum::<u64>().max(1) as f64;
    Figures {
        frames: sent.len(),
        late: sent.len() - in_time,
        never: sent.len() - delays.len(),
        freezes,
        longest_gap_us,
        p50_us: percentile(&delays, 50),
        p99_us: percentile(&delays, 99),
        video_kbps: sent.iter().map(|frame| f64::from(frame.kbps)).sum::<f64>() / sent.len().max(1) as f64,
        overhead: wire.out as f64 / media - 1.0,
        back: wire.back as f64 / media,
        recovery: step.map(|step| recovery(sent, delay_us, step)),
    }
}

/// The least of a sorted list that at least `percent` per cent are not above.
pub fn percentile(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied()
}

/// How often the picture stood for too long, and its longest stand in µs. A run in which nothing comes, or
/// nothing comes any more, is one freeze.
fn gaps(sent: &[Sent], seen: &HashMap<u32, i64>) -> (usize, i64) {
    let (Some(first), Some(last)) = (sent.first(), sent.last()) else { return (0, 0) };
    let mut instants: Vec<i64> = sent.iter().filter_map(|frame| seen.get(&frame.number).copied()).collect();
    // The picture that stood when counting began.
    let before = seen.iter().filter(|(number, _)| **number < first.number).map(|(_, &instant)| instant).max();
    instants.push(before.unwrap_or(first.capture_us));
    // What was sent last is still on its way when the sender ends.
    let end_us = last.capture_us;
    if instants.iter().all(|&instant| instant < end_us) {
        instants.push(end_us);
    }
    instants.sort_unstable();
    let gaps = instants.windows(2).map(|pair| pair[1] - pair[0]);
    (gaps.clone().filter(|&gap| gap > FREEZE_US).count(), gaps.max().unwrap_or(0))
}

fn recovery(sent: &[Sent], delay_us: impl Fn(&Sent) -> Option<i64>, step: Step) -> Recovery {
    let before: Vec<&Sent> = sent.iter().filter(|frame| frame.capture_us < step.down_us).collect();
    let mut delays: Vec<i64> = before.iter().filter_map(|frame| delay_us(frame)).collect();
    delays.sort_unstable();
    let usual_us = percentile(&delays, 50).unwrap_or(0);
    let rate = before.last().map_or(0, |frame| frame.kbps);
    let after = &sent[sent.partition_point(|frame| frame.capture_us < step.up_us)..];
    let end_us = after.last().map_or(0, |frame| frame.capture_us);
    let well = |from: usize| {
        let second: Vec<&Sent> = after[from..]
            .iter()
            .take_while(|frame| frame.capture_us < after[from].capture_us + WELL_US)
            .collect();
        let delays: Option<Vec<i64>> =
            second.iter().map(|frame| delay_us(frame).filter(|&delay| delay <= DEADLINE_US)).collect();
        delays.is_some_and(|delays| {
            delays.iter().sum::<i64>() <= (usual_us + WELL_ABOVE_US) * delays.len() as i64
        })
    };
    let whole = |&from: &usize| after[from].capture_us + WELL_US <= end_us + WELL_US / 20;
    let delay = (0..after.len()).take_while(whole).find(|&from| well(from));
    let rate = after.iter().find(|frame| frame.kbps >= rate);
    Recovery {
        delay_us: delay.map(|from| after[from].capture_us - step.up_us),
        rate_us: rate
            .map(|frame| if after[0].kbps == frame.kbps { 0 } else { frame.capture_us - step.up_us }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD_US: i64 = 33_333;

    fn sent(frames: u32) -> Vec<Sent> {
        let frame = |number| Sent {
            number,
            capture_us: 1_000_000 + i64::from(number) * PERIOD_US,
            bytes: 1_000,
            kbps: 8_000,
        };
        (0..frames).map(frame).collect()
    }

    fn seen(sent: &[Sent], delay_us: impl Fn(u32) -> Option<i64>) -> HashMap<u32, i64> {
        sent.iter().filter_map(|f| Some((f.number, f.capture_us + delay_us(f.number)?))).collect()
    }

    #[test]
    fn late_is_after_the_deadline_or_never() {
        let sent = sent(100);
        let seen = seen(&sent, |number| match number {
            10 => None,
            20 => Some(DEADLINE_US),
            30 => Some(DEADLINE_US + 1),
            _ => Some(30_000),
        });
        let wire = Wire { out: 125_000, back: 5_000 };
        let figures = evaluate(&sent, &seen, wire, None);
        assert_eq!((figures.frames, figures.late, figures.never), (100, 2, 1));
        assert_eq!((figures.p50_us, figures.p99_us), (Some(30_000), Some(DEADLINE_US + 1)));
        assert!((figures.overhead - 0.25).abs() < 1e-9 && (figures.back - 0.05).abs() < 1e-9);
        assert_eq!(figures.recovery, None);
    }

    #[test]
    fn a_freeze_is_a_gap_between_decoded_frames() {
        let sent = sent(100);
        // Six in a row that never come leave a gap of seven periods.
        let seven = seen(&sent, |number| (!(10..16).contains(&number)).then_some(30_000));
        let figures = evaluate(&sent, &seven, Wire::default(), None);
        assert_eq!((figures.freezes, figures.longest_gap_us), (1, 7 * PERIOD_US));
        let six = seen(&sent, |number| (!(10..15).contains(&number)).then_some(30_000));
        assert_eq!(evaluate(&sent, &six, Wire::default(), None).freezes, 0);
    }

    #[test]
    fn a_long_delay_is_no_freeze() {
        let all = sent(100);
        let mut seen = seen(&all, |_| Some(400_000));
        assert_eq!(evaluate(&all[10..], &seen, Wire::default(), None).freezes, 0);
        seen.retain(|&number, _| number >= 10);
        assert_eq!(evaluate(&all[10..], &seen, Wire::default(), None).freezes, 1);
    }

    #[test]
    fn nothing_at_all_is_one_long_freeze() {
        let sent = sent(100);
        let figures = evaluate(&sent, &HashMap::new(), Wire::default(), None);
        assert_eq!((figures.late, figures.never, figures.freezes), (100, 100, 1));
        assert_eq!(figures.longest_gap_us, 99 * PERIOD_US);
        assert_eq!(figures.p50_us, None);
        let half = seen(&sent, |number| (number < 50).then_some(0));
        assert_eq!(evaluate(&sent, &half, Wire::default(), None).freezes, 1);
    }

    #[test]
    fn percentiles_are_of_the_list() {
        let list: Vec<i64> = (1..=200).collect();
        assert_eq!((percentile(&list, 50), percentile(&list, 99)), (Some(100), Some(198)));
        assert_eq!(percentile(&list, 0), Some(1));
        assert_eq!(percentile(&[], 50), None);
    }

    fn stepped(delay_us: impl Fn(u32) -> Option<i64>, kbps: impl Fn(u32) -> u32) -> Recovery {
        let mut sent = sent(300);
        sent.iter_mut().for_each(|frame| frame.kbps = kbps(frame.number));
        let seen = seen(&sent, delay_us);
        let step = Step { down_us: sent[100].capture_us, up_us: sent[200].capture_us };
        evaluate(&sent, &seen, Wire::default(), Some(step)).recovery.unwrap()
    }

    #[test]
    fn recovered_when_a_whole_second_is_well() {
        // Late until 230, then on time.
        let delay = |number: u32| Some(if (100..230).contains(&number) { 300_000 } else { 30_000 });
        let recovery = stepped(delay, |_| 8_000);
        assert_eq!((recovery.delay_us, recovery.rate_us), (Some(30 * PERIOD_US), Some(0)));
        // In time, but slower than it was.
        let slow = |number: u32| Some(if number >= 100 { 60_000 } else { 30_000 });
        assert_eq!(stepped(slow, |_| 8_000).delay_us, None);
        // One late frame in every second.
        let limping = |number: u32| Some(if number.is_multiple_of(30) { 300_000 } else { 30_000 });
        assert_eq!(stepped(limping, |_| 8_000).delay_us, None);
    }

    #[test]
    fn recovered_when_the_rate_is_back_as_well() {
        let kbps = |number: u32| if (110..260).contains(&number) { 3_000 } else { 8_000 };
        let recovery = stepped(|_| Some(30_000), kbps);
        assert_eq!((recovery.delay_us, recovery.rate_us), (Some(0), Some(60 * PERIOD_US)));
        assert_eq!(recovery.both_us(), Some(60 * PERIOD_US));
        let never = stepped(|_| Some(30_000), |number| if number < 110 { 8_000 } else { 3_000 });
        assert_eq!(never.both_us(), None);
    }
}
