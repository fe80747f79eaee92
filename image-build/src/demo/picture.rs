//! One picture of both screens, side by side.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail};
use png::{BitDepth, ColorType};

/// Dark, as the room around a hologram is.
const GROUND: [u8; 3] = [24, 24, 28];
/// Around and between the screens, in pixels.
const GAP: usize = 16;

/// An image in memory.
struct Image {
    width: usize,
    height: usize,
    /// Rows of red, green, blue.
    rgb: Vec<u8>,
}

/// Puts two PNG files beside each other into a third.
///
/// # Errors
/// When one cannot be read, or the third not be written.
pub(crate) fn side_by_side(left: &Path, right: &Path, to: &Path) -> Result<()> {
    let images = [read(left)?, read(right)?];
    let width = images.iter().map(|image| image.width + GAP).sum::<usize>() + GAP;
    let height = images.iter().map(|image| image.height).max().unwrap_or(0) + 2 * GAP;
    let mut whole = Image { width, height, rgb: GROUND.repeat(width * height) };
    let mut x = GAP;
    for image in &images {
        let y = (height - image.height) / 2;
        for row in 0..image.height {
            let from = row * image.width * 3;
            let at = ((y + row) * width + x) * 3;
            whole.rgb[at..at + image.width * 3].copy_from_slice(&image.rgb[from..from + image.width * 3]);
        }
        x += image.width + GAP;
    }
    write(&whole, to).with_context(|| format!("cannot write {}", to.display()))
}

fn read(file: &Path) -> Result<Image> {
    let name = || file.display().to_string();
    let mut decoder = png::Decoder::new(BufReader::new(File::open(file).with_context(name)?));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().with_context(name)?;
    let mut pixels = vec![0; reader.output_buffer_size().with_context(name)?];
    let info = reader.next_frame(&mut pixels).with_context(name)?;
    pixels.truncate(info.buffer_size());
    let rgb = match info.color_type {
        ColorType::Rgb => pixels,
        ColorType::Rgba => pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
        other => bail!("{}: a picture in {other:?}, not in red, green and blue", name()),
    };
    Ok(Image { width: info.width.try_into()?, height: info.height.try_into()?, rgb })
}

fn write(image: &Image, file: &Path) -> Result<()> {
    let mut encoder =
        png::Encoder::new(File::create(file)?, image.width.try_into()?, image.height.try_into()?);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.write_header()?.write_image_data(&image.rgb)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_in_the_picture() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&Image { width: 4, height: 2, rgb: vec![200; 24] }, &at("a")).unwrap();
        write(&Image { width: 2, height: 6, rgb: vec![100; 36] }, &at("b")).unwrap();
        side_by_side(&at("a"), &at("b"), &at("c")).unwrap();
        let whole = read(&at("c")).unwrap();
        assert_eq!((whole.width, whole.height), (4 + 2 + 3 * GAP, 6 + 2 * GAP));
        let pixel = |x: usize, y: usize| whole.rgb[(y * whole.width + x) * 3];
        assert_eq!((pixel(0, 0), pixel(GAP, GAP + 2), pixel(2 * GAP + 4, GAP)), (GROUND[0], 200, 100));
    }
}
