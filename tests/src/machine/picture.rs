//! What a machine's screen shows, and how a card is known on it.

use std::path::Path;

use super::error::{Error, system};

/// Brighter than this is lit, darker than the other is dark.
const LIT: u8 = 180;
const DARK: u8 = 60;

/// Which way bars lie on a screen of `width` by `height`: both patterns begin with white and end with black.
/// `at` gives a pixel's colour.
pub fn bars(width: usize, height: usize, at: impl Fn(usize, usize) -> [u8; 3]) -> &'static str {
    // The camera's picture is wider than the screen: above and below it is black.
    let (shown, above) = (width * 9 / 16, (height - (width * 9 / 16).min(height)) / 2);
    let at = |x: usize, y: usize| {
        let pixel = at(width * x / 16, above + shown * y / 16);
        if pixel.iter().all(|&v| v > LIT) {
            'w'
        } else if pixel.iter().all(|&v| v < DARK) {
            'b'
        } else {
            '-'
        }
    };
    match (at(1, 1), at(15, 1), at(1, 15), at(15, 15)) {
        ('w', 'w', 'b', 'b') => LYING,
        ('w', 'b', 'w', 'b') => UPRIGHT,
        _ => "something else",
    }
}

/// What [`bars`] says of either pattern.
pub const LYING: &str = "lying bars";
/// The other one.
pub const UPRIGHT: &str = "upright bars";

/// The colour of the ring on the cards of a booth that is well.
pub const WELL: [u8; 3] = [0x7f, 0xd1, 0xff];

/// A picture of a screen: rows of R, G, B.
pub struct Screenshot {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    rgb: Vec<u8>,
}

impl Screenshot {
    /// Reads a PPM (P6, eight bits), as QEMU writes it.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(file).map_err(system(file.display().to_string()))?;
        Self::parse(&bytes).ok_or_else(|| Error::Refused(format!("{} is no PPM", file.display())))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        // Magic, width, height and depth, each followed by one blank.
        let mut rest = bytes;
        let mut words = [0; 3];
        let mut word = || {
            let end = rest.iter().position(u8::is_ascii_whitespace)?;
            let (word, after) = rest.split_at(end);
            rest = &after[1..];
            Some(word)
        };
        (word()? == b"P6").then_some(())?;
        for slot in &mut words {
            *slot = std::str::from_utf8(word()?).ok()?.parse().ok()?;
        }
        let [width, height, depth] = words;
        (depth == 255 && rest.len() == width * height * 3).then(|| Self { width, height, rgb: rest.to_vec() })
    }

    /// Red, green and blue of a pixel.
    #[must_use]
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * 3;
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    /// Whether it shows one of the booth's cards: black at the edges, and the ring above the middle in
    /// `colour`.
    #[must_use]
    pub fn is_card(&self, colour: [u8; 3]) -> bool {
        let near = |pixel: [u8; 3]| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 24);
        // The ring stands in the middle, a fifth of the smaller side above it.
        let (x, y) = (self.width / 2, self.height / 2 - self.height / 5);
        let radius = self.height * 6 / 100;
        let on_ring = [(x - radius, y), (x + radius, y), (x, y - radius), (x, y + radius)];
        let dark = [(2, 2), (self.width - 3, 2), (2, self.height - 3), (self.width - 3, self.height - 3)];
        self.width > 100
            && on_ring.iter().all(|&(x, y)| near(self.pixel(x, y)))
            && dark.iter().all(|&(x, y)| self.pixel(x, y).iter().all(|&v| v < 16))
    }

    /// Which [`bars`] it shows.
    #[must_use]
    pub fn bars(&self) -> &'static str {
        bars(self.width, self.height, |x, y| self.pixel(x, y))
    }

    /// The words of a QR code on it.
    #[must_use]
    pub fn qr(&self) -> Option<String> {
        let light = |x: usize, y: usize| self.pixel(x, y)[1];
        let mut picture = rqrr::PreparedImage::prepare_from_greyscale(self.width, self.height, light);
        let grids = picture.detect_grids();
        grids.first()?.decode().ok().map(|(_, words)| words)
    }

    /// Keeps it as a PNG.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&self, file: &Path) -> Result<(), Error> {
        let out = std::fs::File::create(file).map_err(system(file.display().to_string()))?;
        let mut encoder =
            png::Encoder::new(std::io::BufWriter::new(out), self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&self.rgb))
            .map_err(|e| Error::Refused(format!("{}: {e}", file.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_is_no_bars_and_each_pattern_is_known() {
        let show = |at: fn(usize, usize) -> u8| bars(64, 64, |x, y| [at(x, y); 3]);
        assert_eq!(show(|_, _| 0), "something else");
        assert_eq!(show(|x, _| if x < 32 { 255 } else { 0 }), UPRIGHT);
        assert_eq!(show(|_, y| if y < 32 { 255 } else { 0 }), LYING);
    }

    #[test]
    fn a_ppm_is_read_and_anything_else_is_not() {
        let picture = Screenshot::parse(b"P6\n2 1\n255\n\x01\x02\x03\x0a\x0b\x0c").unwrap();
        assert_eq!((picture.width, picture.height, picture.pixel(1, 0)), (2, 1, [10, 11, 12]));
        for bad in
            [&b"P5\n2 1\n255\n123456"[..], b"P6\n2 1\n255\n12345", b"P6\n2", b"", b"P6\n2 1\n65535\n123456"]
        {
            assert!(Screenshot::parse(bad).is_none());
        }
    }
}
