//! Which cases there are, and which of them are chosen.

use super::case::{Case, Step};

const STEPS: [Step; 3] = [Step::Delay(60), Step::Delay(-40), Step::Room];
const BULKS_MS: [u32; 3] = [60, 120, 200];
const SNRS_DB: [f64; 2] = [30.0, 60.0];
const SERS_DB: [f64; 2] = [0.0, -10.0];

/// All of them. Those of the same room at 0 and at 200 ppm differ in nothing else.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut turn = 0;
    let mut rooms = |rt60_s, distortion_percent, clocks: &[(f64, bool)]| {
        for snr_db in SNRS_DB {
            for ser_db in SERS_DB {
                let (bulk_ms, step) = (BULKS_MS[turn % 3], STEPS[turn / 2 % 3]);
                turn += 1;
                cases.extend(clocks.iter().map(|&(ppm, wobble)| Case {
                    rt60_s,
                    snr_db,
                    ser_db,
                    ppm,
                    wobble,
                    distortion_percent,
                    bulk_ms,
                    step,
                }));
            }
        }
    };
    let two = [(0.0, false), (200.0, false)];
    rooms(0.25, 1.0, &two);
    rooms(0.4, 1.0, &two);
    rooms(0.25, 3.0, &two);
    rooms(0.25, 1.0, &[(50.0, false), (-50.0, false), (-200.0, false), (0.0, true)]);
    cases
}

/// A handful, for a developer at work.
pub fn quick() -> Vec<Case> {
    let chosen = [(200.0, 30.0, -10.0), (200.0, 60.0, 0.0), (-50.0, 30.0, 0.0), (-50.0, 60.0, -10.0)];
    let plain = |case: &Case| case.rt60_s < 0.3 && case.distortion_percent < 2.0;
    all()
        .into_iter()
        .filter(|case| plain(case) && chosen.contains(&(case.ppm, case.snr_db, case.ser_db)))
        .collect()
}

impl Case {
    /// What `--only` may name: one word for each property.
    pub fn words(&self) -> [String; 7] {
        let wobble = if self.wobble { "wobble" } else { "steady" };
        let step = match self.step {
            Step::Delay(ms) => format!("step{ms:+}"),
            Step::Room => "step-room".to_owned(),
        };
        [
            format!("rt-{}", self.rt60_s),
            format!("snr-{}", self.snr_db),
            format!("ser{}", self.ser_db),
            format!("ppm-{}", self.ppm),
            wobble.to_owned(),
            format!("distortion-{}", self.distortion_percent),
            step,
        ]
    }
}

/// The cases that `words` leave: of each property that a word names, those with one of the words.
///
/// # Errors
/// When a word names nothing.
pub fn chosen(cases: Vec<Case>, words: &[String]) -> Result<Vec<Case>, String> {
    let all: Vec<[String; 7]> = cases.iter().map(Case::words).collect();
    if let Some(word) = words.iter().find(|word| !all.iter().flatten().any(|known| known == *word)) {
        let mut known: Vec<&str> = all.iter().flatten().map(String::as_str).collect();
        known.sort_unstable();
        known.dedup();
        return Err(format!("--only knows no {word}; it knows {}", known.join(", ")));
    }
    let fits = |own: &[String; 7]| {
        (0..7).all(|property| {
            let mut asked =
                words.iter().filter(|word| all.iter().any(|known| known[property] == **word)).peekable();
            asked.peek().is_none() || asked.any(|word| *word == own[property])
        })
    };
    Ok(cases.into_iter().zip(&all).filter(|(_, own)| fits(own)).map(|(case, _)| case).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_forty_and_every_one_at_200_ppm_has_its_like_at_0() {
        let cases = all();
        assert_eq!(cases.len(), 40);
        for case in cases.iter().filter(|case| case.ppm == 200.0) {
            assert!(cases.contains(&Case { ppm: 0.0, ..*case }), "{case}");
        }
    }

    #[test]
    fn words_choose_cases() {
        let choose = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            chosen(all(), &words)
        };
        assert_eq!(choose(&[]).unwrap().len(), 40);
        assert_eq!(choose(&["snr-30"]).unwrap().len(), 20);
        assert_eq!(choose(&["snr-30", "ppm-200"]).unwrap().len(), 6);
        assert_eq!(choose(&["wobble"]).unwrap().len(), 4);
        assert!(choose(&["loud"]).unwrap_err().contains("snr-60"));
        assert_eq!(quick().len(), 4);
    }
}
