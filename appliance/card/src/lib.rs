//! What the screen says when there is no picture: SVG cards, drawn for any size of screen.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb::Database};
use textwrap::{WordSeparator, WordSplitter, WrapAlgorithm};

/// The occasions for a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The booth is coming up.
    Starting,
    /// This booth's own camera gives nothing.
    NoCamera,
    /// The booth belongs to no room; its detail is the code that is to be entered at another booth, or
    /// nothing while none is taken.
    Pairing,
    /// No other booth has been seen yet.
    Looking,
    /// The other booth was there and is gone.
    Reconnecting,
    /// The other booth is there, but its camera gives nothing.
    NoPicture,
    /// Somebody has something to say to a person on site: its detail in a few words, its lines at length.
    Notice,
    /// The same, and something is wrong.
    Trouble,
    /// How loud microphone and loudspeaker are, while somebody sets them up.
    Levels,
}

impl Kind {
    /// Whether such a card is shown even while there are pictures.
    #[must_use]
    pub fn over_pictures(self) -> bool {
        matches!(self, Self::Notice | Self::Trouble | Self::Levels)
    }
}

/// Lines of a notice that are shown.
const LINES: usize = 10;

/// How loud something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// What, in a word.
    pub label: String,
    /// Its peak, in dB of full scale.
    pub db: i32,
}

/// A card with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The occasion.
    pub kind: Kind,
    /// This booth's name.
    pub name: String,
    /// A line for the staff: what to look at.
    pub detail: String,
    /// More of them; only notices have any.
    pub lines: Vec<String>,
    /// A bar for each; only [`Kind::Levels`] has any.
    pub levels: Vec<Level>,
}

impl Card {
    /// The starting card of a booth that does not know its name yet.
    #[must_use]
    pub fn starting() -> Self {
        Self {
            kind: Kind::Starting,
            name: String::new(),
            detail: String::new(),
            lines: Vec::new(),
            levels: Vec::new(),
        }
    }

    /// The card of the booth `name` that tells a person on site something; `trouble` when something is wrong.
    #[must_use]
    pub fn notice(name: &str, title: &str, lines: &[String], trouble: bool) -> Self {
        Self {
            kind: if trouble { Kind::Trouble } else { Kind::Notice },
            name: name.to_owned(),
            detail: title.to_owned(),
            lines: lines.iter().take(LINES).cloned().collect(),
            levels: Vec::new(),
        }
    }

    /// The card of the booth `name` that shows how loud something is; two bars have room.
    #[must_use]
    pub fn levels(name: &str, title: &str, levels: Vec<Level>) -> Self {
        Self {
            kind: Kind::Levels,
            name: name.to_owned(),
            detail: title.to_owned(),
            lines: Vec::new(),
            levels,
        }
    }

    fn title(&self) -> &str {
        match self.kind {
            Kind::Starting => "Starting",
            Kind::NoCamera => "No camera",
            Kind::Pairing if self.detail.is_empty() => "Too many wrong codes: wait a minute for a new one",
            Kind::Pairing => "Enter this code at the other booth",
            Kind::Looking => "Looking for the other booth",
            Kind::Reconnecting => "Reconnecting",
            Kind::NoPicture => "The other booth has no picture",
            Kind::Notice | Kind::Trouble | Kind::Levels => &self.detail,
        }
    }

    fn colour(&self) -> &'static str {
        match self.kind {
            Kind::Starting | Kind::Looking | Kind::Pairing | Kind::Levels => "#7fd1ff",
            Kind::NoCamera | Kind::NoPicture => "#ffb454",
            Kind::Reconnecting => "#ffe08a",
            Kind::Notice => "#8ce99a",
            Kind::Trouble => "#ff8787",
        }
    }

    /// The card as SVG for a screen of `width` x `height` pixels. Black is no light on a hologram screen, so
    /// the card is little else.
    fn svg(&self, width: u32, height: u32) -> String {
        let (w, h) = (f64::from(width), f64::from(height));
        let unit = w.min(h * 16.0 / 9.0).min(h).min(w * 1.2) / 100.0;
        let (x, y) = (w / 2.0, h / 2.0);
        let colour = self.colour();
        let text = |dy: f64, size: f64, fill: &str, words: &str| {
            // A long line gets smaller instead of leaving the screen.
            let fits = 0.92 * w / (0.62 * words.chars().count().max(1) as f64);
            let size = (size * unit).min(fits);
            let words = escape(words);
            let y = y + dy * unit;
            format!(
                r#"<text x="{x:.1}" y="{y:.1}" font-size="{size:.1}" fill="{fill}" text-anchor="middle">{words}</text>"#
            )
        };
        if self.kind == Kind::Pairing && !self.detail.is_empty() {
            let digits = self.detail.len().checked_sub(4).and_then(|at| self.detail.split_at_checked(at));
            let spaced = digits.map_or(self.detail.clone(), |(first, last)| format!("{first} {last}"));
            let command = format!("holobooth pair {} --booth '{}'", self.detail, self.name);
            return format!(
                r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="DejaVu Sans"><rect width="100%" height="100%" fill="#000"/>{}{}{}{}</svg>"##,
                qr(&command, x, y - 20.0 * unit, 36.0 * unit),
                text(10.0, 5.0, colour, self.title()),
                text(26.0, 14.0, "#ffffff", &spaced),
                text(38.0, 4.5, "#b8b8b8", &self.name),
            );
        }
        if self.kind == Kind::Levels {
            let bars: String = self
                .levels
                .iter()
                .zip([-18.0, 10.0])
                .map(|(level, dy)| level.svg((x, y + dy * unit), 0.84 * w, unit))
                .collect();
            return format!(
                r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="DejaVu Sans"><rect width="100%" height="100%" fill="#000"/>{}{bars}{}</svg>"##,
                text(-33.0, 6.5, colour, self.title()),
                text(46.0, 2.8, "#6f6f6f", &self.name),
            );
        }
        if self.kind.over_pictures() {
            let (size, rows) = rows(&self.lines, w / unit);
            let step = size * ROW;
            // Title and rows together stand in the middle.
            let top = -(rows.len() as f64 * step) / 2.0;
            let rows: String = rows
                .iter()
                .enumerate()
                .map(|(at, row)| text(top + 5.0 + (at as f64 + 0.8) * step, size, "#e8e8e8", row))
                .collect();
            return format!(
                r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="DejaVu Sans"><rect width="100%" height="100%" fill="#000"/>{}{rows}{}</svg>"##,
                text(top - 1.0, 6.5, colour, self.title()),
                text(46.0, 2.8, "#6f6f6f", &self.name),
            );
        }
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="DejaVu Sans"><rect width="100%" height="100%" fill="#000"/><circle cx="{x:.1}" cy="{:.1}" r="{:.1}" fill="none" stroke="{colour}" stroke-width="{:.1}"/><circle cx="{x:.1}" cy="{:.1}" r="{:.1}" fill="{colour}"/>{}{}{}</svg>"##,
            y - 20.0 * unit,
            6.0 * unit,
            0.8 * unit,
            y - 20.0 * unit,
            1.8 * unit,
            text(2.0, 6.5, colour, self.title()),
            text(10.0, 3.2, "#b8b8b8", &self.detail),
            text(40.0, 2.8, "#6f6f6f", &self.name),
        )
    }

    /// Draws the card into rows of XRGB8888 (`stride` bytes each, blue first in memory). False when it cannot
    /// be drawn; the rows are black then.
    pub fn draw(&self, rows: &mut [u8], stride: usize, width: u32, height: u32) -> bool {
        rows.fill(0);
        let Ok(tree) = Tree::from_str(&self.svg(width, height), options()) else { return false };
        let Some(mut pixmap) = Pixmap::new(width, height) else { return false };
        resvg::render(&tree, Transform::identity(), &mut pixmap.as_mut());
        let source = pixmap.data().chunks_exact(width as usize * 4);
        for (row, source) in rows.chunks_mut(stride).zip(source) {
            for (out, rgba) in row.chunks_exact_mut(4).zip(source.chunks_exact(4)) {
                out.copy_from_slice(&[rgba[2], rgba[1], rgba[0], 0]);
            }
        }
        true
    }
}

/// The bar of a level begins here, in dB of full scale.
const LOWEST_DB: i32 = -60;
/// From a bar's beginning on, up to these levels in dB: as quiet as it may be, loud, too loud.
const ZONES: [(i32, &str); 3] = [(-18, "#8ce99a"), (-3, "#ffe08a"), (0, "#ff8787")];
/// Levels in dB that are written below a bar.
const MARKS: [i32; 4] = [-60, -40, -20, 0];

impl Level {
    /// Its name, its number, and below them its bar, `width` pixels wide around a centre.
    fn svg(&self, (x, y): (f64, f64), width: f64, unit: f64) -> String {
        let (left, right) = (x - width / 2.0, x + width / 2.0);
        let place = |db: i32| {
            let share = f64::from(db.clamp(LOWEST_DB, 0) - LOWEST_DB) / f64::from(-LOWEST_DB);
            left + width * share
        };
        let words = |at: f64, dy: f64, size: f64, anchor: &str, words: &str| {
            let (y, size, words) = (y + dy * unit, size * unit, escape(words));
            format!(
                r##"<text x="{at:.1}" y="{y:.1}" font-size="{size:.1}" fill="#e8e8e8" text-anchor="{anchor}">{words}</text>"##
            )
        };
        let mut from_db = LOWEST_DB;
        let mut bar = String::new();
        for (to_db, colour) in ZONES {
            // What is not reached is outlined: black is no light.
            for (from, to, fill) in [
                (place(from_db), place(self.db.clamp(from_db, to_db)), colour),
                (place(self.db.clamp(from_db, to_db)), place(to_db), "#2a2a2a"),
            ] {
                if to > from {
                    bar.push_str(&format!(
                        r##"<rect x="{from:.1}" y="{:.1}" width="{:.1}" height="{:.1}" fill="{fill}"/>"##,
                        y + 2.0 * unit,
                        to - from,
                        9.0 * unit,
                    ));
                }
            }
            from_db = to_db;
        }
        let marks: String = MARKS
            .iter()
            .map(|&db| {
                let anchor = match db {
                    LOWEST_DB => "start",
                    0 => "end",
                    _ => "middle",
                };
                words(place(db), 15.0, 3.2, anchor, &db.to_string())
            })
            .collect();
        let number = if self.db < LOWEST_DB { "silent".to_owned() } else { format!("{} dB", self.db) };
        words(left, 0.0, 6.0, "start", &self.label) + &words(right, 0.0, 6.0, "end", &number) + &bar + &marks
    }
}

/// A QR code of `words`, `size` pixels wide with its quiet zone, around a centre; nothing when there are too
/// many.
fn qr(words: &str, x: f64, y: f64, size: f64) -> String {
    let Ok(code) = qrcode::QrCode::new(words) else { return String::new() };
    let modules = code.width();
    // ISO/IEC 18004 asks for four modules of quiet around it.
    let module = size / (modules + 8) as f64;
    let (left, top) = (x - size / 2.0, y - size / 2.0);
    let dark = code.to_colors().into_iter().enumerate().filter(|(_, colour)| *colour == qrcode::Color::Dark);
    let squares: String =
        dark.map(|(at, _)| format!("M{} {}h1v1h-1z", at % modules + 4, at / modules + 4)).collect();
    format!(
        r##"<rect x="{left:.1}" y="{top:.1}" width="{size:.1}" height="{size:.1}" fill="#fff"/><path transform="translate({left:.1} {top:.1}) scale({module:.4})" d="{squares}" fill="#000"/>"##
    )
}

/// How far apart rows of text are, of their size.
const ROW: f64 = 1.3;
/// The sizes that a notice's rows may have, in hundredths of the card.
const SIZES: [f64; 4] = [4.0, 3.4, 2.9, 2.5];
/// How much room there is for them, likewise.
const ROOM: f64 = 68.0;

/// `lines` cut between words into rows for a card of a width in hundredths of its height, and the size at
/// which all of them have room. What has none even at the smallest is left out, and that is shown.
fn rows(lines: &[String], width: f64) -> (f64, Vec<String>) {
    let mut fallback = (SIZES[0], Vec::new());
    for size in SIZES {
        let characters = (0.92 * width / (0.62 * size)) as usize;
        let rows: Vec<String> = lines.iter().flat_map(|line| wrap(line, characters.max(8))).collect();
        if rows.len() as f64 * size * ROW <= ROOM {
            return (size, rows);
        }
        fallback = (size, rows);
    }
    let (size, mut rows) = fallback;
    rows.truncate((ROOM / (size * ROW)) as usize - 1);
    rows.push("…".to_owned());
    (size, rows)
}

/// Breaks text between words into lines of at most `columns` characters; a longer word is broken anywhere.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let options = textwrap::Options::new(columns)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::wrap(text, options).into_iter().map(Cow::into_owned).collect()
}

/// The booth's own font, so that a card needs nothing installed.
fn options() -> &'static Options<'static> {
    static OPTIONS: OnceLock<Options<'static>> = OnceLock::new();
    OPTIONS.get_or_init(|| {
        let mut fonts = Database::new();
        fonts.load_font_data(dejavu::sans::regular().to_vec());
        Options { fontdb: Arc::new(fonts), font_family: "DejaVu Sans".to_owned(), ..Options::default() }
    })
}

fn escape(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .map(|c| match c {
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '&' => "&amp;".to_owned(),
            '"' => "&quot;".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(name: &str) -> Card {
        Card {
            kind: Kind::Looking,
            name: name.into(),
            detail: "10.9.0.2:4433".into(),
            lines: vec![],
            levels: vec![],
        }
    }

    /// Bounding box of what is lit.
    fn lit(card: &Card, width: u32, height: u32) -> (usize, usize, usize, usize) {
        let stride = width as usize * 4;
        let mut rows = vec![9; stride * height as usize];
        assert!(card.draw(&mut rows, stride, width, height));
        let (mut x0, mut y0, mut x1, mut y1) = (usize::MAX, usize::MAX, 0, 0);
        for (i, p) in rows.chunks_exact(4).enumerate().filter(|(_, p)| p[..3] != [0, 0, 0]) {
            let _ = p;
            let (x, y) = (i % width as usize, i / width as usize);
            (x0, y0, x1, y1) = (x0.min(x), y0.min(y), x1.max(x), y1.max(y));
        }
        (x0, y0, x1, y1)
    }

    #[test]
    fn fits_and_fills_every_size_of_screen() {
        for (w, h) in [(640, 480), (1920, 1080), (1080, 1920), (3840, 2160), (320, 200), (2160, 3840)] {
            let (x0, y0, x1, y1) = lit(&card("quiet-heron-42"), w, h);
            let (w, h) = (w as usize, h as usize);
            assert!(x0 > 0 && y0 > 0 && x1 + 1 < w && y1 + 1 < h, "{w}x{h}: {:?}", (x0, y0, x1, y1));
            assert!((x1 - x0) * 3 > w && (y1 - y0) * 3 > h.min(w), "{w}x{h}: {:?}", (x0, y0, x1, y1));
            assert!((x0 + x1).abs_diff(w) < w / 20, "{w}x{h}: centred");
        }
    }

    #[test]
    fn a_card_for_pairing_shows_a_code_that_a_telephone_reads() {
        let card = Card { kind: Kind::Pairing, detail: "12345678".into(), ..card("quiet-heron-42") };
        for (w, h) in [(640, 480), (1920, 1080), (1080, 1920), (3840, 2160)] {
            let stride = w as usize * 4;
            let mut rows = vec![0; stride * h as usize];
            assert!(card.draw(&mut rows, stride, w, h));
            let light = |x: usize, y: usize| rows[y * stride + x * 4 + 1];
            let mut picture = rqrr::PreparedImage::prepare_from_greyscale(w as usize, h as usize, light);
            let grids = picture.detect_grids();
            let [grid] = &grids[..] else { panic!("{w}x{h}: one code, not {}", grids.len()) };
            assert_eq!(grid.decode().unwrap().1, "holobooth pair 12345678 --booth 'quiet-heron-42'");
            let (x0, y0, x1, y1) = lit(&card, w, h);
            assert!(x0 > 0 && y0 > 0 && x1 + 1 < w as usize && y1 + 1 < h as usize, "{w}x{h}");
        }
    }

    #[test]
    fn a_notice_is_readable_on_every_size_of_screen() {
        let line =
            "The configuration on the stick has a mistake in line 12: camera.fps is 600; allowed is 1 to 240";
        let notice = |title: &str, lines: usize| {
            let lines = vec![line.to_owned(); lines];
            Card::notice("north", title, &lines, false)
        };
        for (w, h) in [(640, 480), (1920, 1080), (1080, 1920), (3840, 2160), (320, 200), (2160, 3840)] {
            for (title, lines) in [("Configuration applied", 0), ("Nothing was changed", 3), (line, 10)] {
                let (x0, y0, x1, y1) = lit(&notice(title, lines), w, h);
                let (w, h) = (w as usize, h as usize);
                assert!(x0 > 0 && y0 > 0 && x1 + 1 < w && y1 + 1 < h, "{w}x{h}: {:?}", (x0, y0, x1, y1));
                assert!((x0 + x1).abs_diff(w) < w / 20, "{w}x{h}: centred");
                assert!((x1 - x0) * 3 > w, "{w}x{h}: {:?}", (x0, y0, x1, y1));
            }
            let card = notice(line, 10);
            let unit = f64::from(w.min(h).min(h * 16 / 9)) / 100.0;
            let (size, rows) = rows(&card.lines, f64::from(w) / unit);
            assert!(size >= 2.5 && rows.len() as f64 * size * ROW <= ROOM, "{w}x{h}: {size}, {}", rows.len());
            assert_eq!(rows.concat().matches("mistake").count(), 10, "{w}x{h}: all of them have room");
        }
        assert_eq!(notice("", 40).lines.len(), LINES);
    }

    /// What a card draws, an element a line; its QR code, which another test reads, without its modules.
    fn drawn(card: &Card, width: u32, height: u32) -> String {
        let elements = card.svg(width, height).replace("><", ">\n<");
        let modules = |line: &str| line.split_once(" d=\"").map(|(path, _)| format!("{path} …/>"));
        elements.lines().map(|line| modules(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
    }

    #[test]
    fn every_card_is_drawn_as_it_was() {
        let card = |kind, detail: &str| Card {
            kind,
            name: "quiet-heron-42".to_owned(),
            detail: detail.to_owned(),
            lines: Vec::new(),
            levels: Vec::new(),
        };
        let lines = ["camera.fps is 600; allowed is 1 to 240".to_owned(), "Nothing was changed.".to_owned()];
        let notice = |trouble| Card::notice("quiet-heron-42", "The file has a mistake", &lines, trouble);
        let level = |label: &str, db| Level { label: label.to_owned(), db };
        let levels = |loudspeaker, microphone| {
            let levels = vec![level("Loudspeaker", loudspeaker), level("Microphone", microphone)];
            Card::levels("quiet-heron-42", "Sound check: please be quiet", levels)
        };
        let cards = [
            ("first", Card::starting()),
            ("starting", card(Kind::Starting, "trying the codecs")),
            ("no-camera", card(Kind::NoCamera, "no camera is plugged in")),
            ("pairing", card(Kind::Pairing, "12345678")),
            ("pairing-wait", card(Kind::Pairing, "")),
            ("looking", card(Kind::Looking, "on this network and at relay.example.org:443")),
            ("reconnecting", card(Kind::Reconnecting, "busy-otter-7 does not answer")),
            ("no-picture", card(Kind::NoPicture, "busy-otter-7")),
            ("notice", notice(false)),
            ("trouble", notice(true)),
            ("levels", levels(-12, -31)),
            ("levels-ends", levels(-120, 2)),
        ];
        for (name, card) in cards {
            // A new kind has to be listed above.
            match card.kind {
                Kind::Starting | Kind::NoCamera | Kind::Pairing | Kind::Looking => {}
                Kind::Reconnecting | Kind::NoPicture | Kind::Notice | Kind::Trouble | Kind::Levels => {}
            }
            insta::assert_snapshot!(name, drawn(&card, 1920, 1080));
        }
        insta::assert_snapshot!("levels-upright", drawn(&levels(-12, -31), 1080, 1920));
        insta::assert_snapshot!("trouble-upright", drawn(&notice(true), 1080, 1920));
    }

    #[test]
    fn levels_are_bars_on_every_size_of_screen() {
        let card = |db| {
            let level = |label: &str| Level { label: label.to_owned(), db };
            Card::levels(
                "north",
                "Sound check: please be quiet",
                vec![level("Loudspeaker"), level("Microphone")],
            )
        };
        for (w, h) in [(640, 480), (1920, 1080), (1080, 1920), (3840, 2160), (320, 200)] {
            let (x0, y0, x1, y1) = lit(&card(-12), w, h);
            let (width, height) = (w as usize, h as usize);
            assert!(x0 > 0 && y0 > 0 && x1 + 1 < width && y1 + 1 < height, "{w}x{h}");
            assert!((x0 + x1).abs_diff(width) < width / 20 && (x1 - x0) * 10 > width * 8, "{w}x{h}");
            // The bright part of a bar is as long as the level is high.
            let bright = |db| {
                let stride = width * 4;
                let mut rows = vec![0; stride * height];
                assert!(card(db).draw(&mut rows, stride, w, h));
                let unit = width.min(height * 16 / 9).min(height).min(width * 6 / 5) as f64 / 100.0;
                let row = (height as f64 / 2.0 - 12.0 * unit) as usize;
                let row = &rows[row * stride..(row + 1) * stride];
                row.chunks_exact(4).filter(|pixel| pixel[1] > 100).count() as f64 / width as f64
            };
            for (db, share) in [(-120, 0.0), (-60, 0.0), (-30, 0.42), (0, 0.84), (6, 0.84)] {
                assert!((bright(db) - share).abs() < 0.01, "{w}x{h}: {db} dB: {}", bright(db));
            }
        }
    }

    #[test]
    fn trouble_has_its_own_colour() {
        let colours = [false, true].map(|trouble| {
            let mut rows = vec![0; 640 * 480 * 4];
            assert!(Card::notice("north", "A", &["b".into()], trouble).draw(&mut rows, 640 * 4, 640, 480));
            let sum =
                |channel: usize| rows.iter().skip(channel).step_by(4).map(|&v| u64::from(v)).sum::<u64>();
            (sum(1), sum(2))
        });
        assert!(colours[0].0 > colours[0].1 && colours[1].1 > colours[1].0, "green, red: {colours:?}");
    }

    #[test]
    fn rows_are_cut_between_words_and_none_is_lost() {
        assert_eq!(wrap("a bc  def", 4), ["a bc", "def"]);
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("", 4), [""]);
        let endless = vec!["word ".repeat(1000)];
        let (size, rows) = rows(&endless, 100.0);
        assert!(rows.len() as f64 * size * ROW <= ROOM && rows.last().is_some_and(|row| row == "…"));
    }

    #[test]
    fn words_cannot_break_the_drawing() {
        let long = "<&\"\u{0}".repeat(80);
        let (x0, _, x1, _) = lit(&card(&long), 640, 480);
        assert!(x0 > 0 && x1 < 639);
    }
}
