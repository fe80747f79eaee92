//! The answer to a stick: a card on the screen and a file on the stick, in the same words.

use holobooth_card::wrap;

use crate::health::Notice;

use super::evaluate::{Change, cut};

/// Seconds that a card is shown when something is wrong, and for which one is shown that waits for its
/// result.
const SHOWN_S: u32 = 60;
/// And when nothing is.
const SHOWN_BRIEFLY_S: u32 = 10;
/// Lines on a card.
const CARD_LINES: usize = 10;
/// The longest line on a card, in characters; what is longer goes on below.
const CARD_COLUMNS: usize = 80;
/// The longest text that is shown in one piece, in characters.
const LONGEST: usize = 800;

/// The result of reading a stick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// In a few words.
    pub(super) title: String,
    /// What there is to know, or to do.
    pub(super) lines: Vec<String>,
    /// Whether something was refused or went wrong.
    pub(super) trouble: bool,
    /// Whether anything happened.
    pub(super) news: bool,
    /// Whether more is to come: it says what is being done.
    pub(super) pending: bool,
}

impl Answer {
    pub(super) fn good(title: &str, lines: Vec<String>) -> Self {
        Self { title: title.into(), lines, trouble: false, news: true, pending: false }
    }

    /// What is being done, until the result takes its place.
    pub(super) fn pending(title: &str, lines: Vec<String>) -> Self {
        Self { pending: true, ..Self::good(title, lines) }
    }

    pub(super) fn nothing_new(line: &str) -> Self {
        Self {
            title: "Nothing new on the stick".into(),
            lines: vec![line.into()],
            trouble: false,
            news: false,
            pending: false,
        }
    }

    pub(super) fn refused(title: &str, reason: &str) -> Self {
        Self { trouble: true, ..Self::good(title, vec![reason.into()]) }
    }

    /// Both in one; the graver title leads.
    pub(super) fn and(mut self, other: Self) -> Self {
        let (title, below) = if other.trouble && !self.trouble || other.news && !self.news {
            (other.title, std::mem::take(&mut self.title))
        } else {
            (std::mem::take(&mut self.title), other.title)
        };
        let mut lines = self.lines;
        lines.push(below);
        lines.extend(other.lines);
        Self {
            title,
            lines,
            trouble: self.trouble || other.trouble,
            news: self.news || other.news,
            pending: self.pending || other.pending,
        }
    }

    pub(super) fn card(&self) -> Notice {
        let mut lines: Vec<String> =
            self.lines.iter().flat_map(|line| wrap(&plain(line, LONGEST), CARD_COLUMNS)).collect();
        if lines.len() > CARD_LINES {
            let more = lines.len() - (CARD_LINES - 1);
            lines.truncate(CARD_LINES - 1);
            lines.push(format!("and {more} more"));
        }
        // A meeting is behind the card: what went well is read in a moment.
        let shown_s = if self.trouble || self.pending { SHOWN_S } else { SHOWN_BRIEFLY_S };
        Notice { title: plain(&self.title, CARD_COLUMNS), lines, trouble: self.trouble, shown_s }
    }

    /// The text of the file on the stick: the same for the same answer, so that it need not be written again.
    pub(super) fn text(&self, booth: &str) -> String {
        let mut text = format!(
            "holobooth {}, booth {}\r\n\r\n{}\r\n",
            env!("CARGO_PKG_VERSION"),
            plain(booth, 80),
            plain(&self.title, 200)
        );
        for line in &self.lines {
            text.push_str(&format!("  {}\r\n", plain(line, 2000)));
        }
        text
    }
}

/// A line for each change.
pub(super) fn lines(changes: &[Change]) -> Vec<String> {
    changes.iter().map(|change| format!("{}: {}", change.key, change.what)).collect()
}

/// On one line, and no longer than it can be read: some of it came from a stick.
fn plain(text: &str, most: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    cut(&text, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_short_and_plain() {
        let answer = Answer::good(
            "Applied",
            (0..20).map(|n| format!("key.{n}: a\n\u{1b}[2J → {}", "b".repeat(500))).collect(),
        );
        let card = answer.card();
        assert_eq!((card.lines.len(), card.lines[9].starts_with("and ")), (10, true));
        assert!(
            card.lines.iter().all(|line| line.chars().count() <= CARD_COLUMNS && !line.contains('\u{1b}'))
        );
        assert!(answer.text("north").lines().count() == 23 && !answer.text("north").contains('\u{1b}'));
        assert_eq!(answer.text("north"), answer.clone().text("north"));
    }

    #[test]
    fn nothing_is_lost_where_a_line_is_broken() {
        let text = "holobooth.toml:2:1: unknown field `widht`, expected one of `device`, `width`, `height`; \
                    did you mean `width`?";
        let lines = wrap(text, CARD_COLUMNS);
        assert!(
            lines.len() == 2 && lines.iter().all(|line| line.chars().count() <= CARD_COLUMNS),
            "{lines:?}"
        );
        assert_eq!(lines.join(" "), text);
        assert_eq!(wrap(&"é".repeat(200), CARD_COLUMNS).concat(), "é".repeat(200));
    }

    #[test]
    fn of_two_answers_the_graver_leads() {
        let good = || Answer::good("Applied", vec!["a".into()]);
        let bad = || Answer::refused("Refused", "b");
        for both in [good().and(bad()), bad().and(good())] {
            assert_eq!((both.title.as_str(), both.trouble, both.lines.len()), ("Refused", true, 3));
        }
        assert_eq!(Answer::nothing_new("x").and(good()).title, "Applied");
        assert_eq!(good().and(Answer::nothing_new("x")).title, "Applied");
        assert_eq!(Answer::nothing_new("x").card().shown_s, SHOWN_BRIEFLY_S);
        let pending = good().and(Answer::pending("Collecting", Vec::new()));
        assert_eq!((pending.title.as_str(), pending.card().shown_s), ("Applied", SHOWN_S));
        assert_eq!((good().card().shown_s, bad().card().shown_s), (SHOWN_BRIEFLY_S, SHOWN_S));
    }
}
