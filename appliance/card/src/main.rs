//! `holobooth-card`: the starting card, while the system is not up yet. It runs in the initrd, and draws on
//! whatever the kernel has for a console: the firmware's own framebuffer on a PC, as long as no driver has
//! taken it over. It ends when the initrd does.
//!
//! Source: Linux, Documentation/fb/framebuffer.rst; Documentation/ABI/testing/sysfs-class-graphics.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use holobooth_card::Card;

/// How often a framebuffer is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The kernel's first framebuffer.
const SYSFS: &str = "/sys/class/graphics/fb0";
const DEVICE: &str = "/dev/fb0";

/// A framebuffer of 32 bits a pixel.
#[derive(Debug, PartialEq, Eq)]
struct Framebuffer {
    /// Its driver's name: with another driver it is another one, and black.
    name: String,
    width: u32,
    height: u32,
    /// Bytes a row.
    stride: usize,
}

impl Framebuffer {
    /// The one that sysfs describes in `folder`; none, when there is none that can be drawn on.
    fn find(folder: &Path) -> Option<Self> {
        let text = |file: &str| fs::read_to_string(folder.join(file)).ok();
        let number = |file: &str| text(file)?.trim().parse::<usize>().ok();
        (number("bits_per_pixel")? == 32).then_some(())?;
        let size = text("virtual_size")?;
        let (width, height) = size.trim().split_once(',')?;
        let (width, virtual_height): (u32, u32) = (width.parse().ok()?, height.parse().ok()?);
        // There may be more rows than are seen.
        let height =
            text("modes").and_then(|modes| seen_height(&modes)).unwrap_or(virtual_height).min(virtual_height);
        let stride = number("stride")?;
        let fits =
            width > 0 && height > 0 && stride >= width as usize * 4 && stride <= 1 << 20 && height <= 1 << 14;
        fits.then(|| Self { name: text("name").unwrap_or_default(), width, height, stride })
    }

    fn show(&self, card: &Card, device: &Path) -> std::io::Result<()> {
        let mut rows = vec![0; self.stride * self.height as usize];
        card.draw(&mut rows, self.stride, self.width, self.height);
        fs::File::options().write(true).open(device)?.write_all(&rows)
    }
}

/// The height in `U:1920x1080p-60`.
fn seen_height(modes: &str) -> Option<u32> {
    let size = modes.lines().next()?.split_once(':')?.1.split_once('x')?.1;
    size.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn main() {
    let card = Card::starting();
    let mut shown = None;
    loop {
        let found = Framebuffer::find(Path::new(SYSFS));
        if found.is_some() && found != shown {
            // Its node may come a moment after its description: then it is tried again.
            let drawn = found.as_ref().map(|framebuffer| framebuffer.show(&card, Path::new(DEVICE)));
            if matches!(drawn, Some(Ok(()))) {
                shown = found;
            }
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framebuffer_as_the_kernel_describes_it() {
        let folder = std::env::temp_dir().join(format!("holobooth-card-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(Framebuffer::find(&folder), None);
        let files = [
            ("name", "EFI VGA\n"),
            ("bits_per_pixel", "32\n"),
            ("virtual_size", "640,960\n"),
            ("modes", "U:640x480p-0\n"),
            ("stride", "2560\n"),
        ];
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        let found = Framebuffer::find(&folder).unwrap();
        assert_eq!((found.width, found.height, found.stride), (640, 480, 2560));
        let device = folder.join("fb0");
        fs::write(&device, "").unwrap();
        found.show(&Card::starting(), &device).unwrap();
        let drawn = fs::read(&device).unwrap();
        assert_eq!(drawn.len(), 2560 * 480);
        assert!(drawn.iter().any(|&byte| byte > 200));
        fs::write(folder.join("bits_per_pixel"), "16").unwrap();
        assert_eq!(Framebuffer::find(&folder), None);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn heights_are_read_from_modes() {
        assert_eq!(seen_height("U:1920x1080p-60\nV:640x480p-60\n"), Some(1080));
        assert_eq!((seen_height(""), seen_height("U:x"), seen_height("1920")), (None, None, None));
    }
}
