//! The configuration in force: a stick's file over the image's, section by section.

use std::path::Path;

use super::{Config, Error, check};

/// A file: its path, for errors, and its text.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Where it lies, or what it is called.
    pub path: &'a Path,
    /// What stands in it.
    pub text: &'a str,
}

impl Config {
    /// What `store` says, and of the sections (tables at the top) that it does not mention, what `image`
    /// says. So a stick with nothing but `[network]` keeps the room key that came with the image. A section
    /// is taken whole: keys that it leaves out have their defaults.
    ///
    /// # Errors
    /// As [`Config::load`]; the file named is the one in which the mistake is.
    pub fn in_force(image: Source<'_>, store: Option<Source<'_>>) -> Result<Self, Error> {
        let own = Self::parse(image.path, image.text)?;
        let Some(store) = store else { return Ok(own) };
        let refuse = |e: &toml::de::Error| Error::syntax(store.path, store.text, e);
        let mentioned: toml::Table = toml::from_str(store.text).map_err(|e| refuse(&e))?;
        let over: Self = toml::from_str(store.text).map_err(|e| refuse(&e))?;
        // The image's places are moved behind the store's, so that a refusal's place says in which of the two
        // it is.
        let moved = format!("{}{}", "\n".repeat(store.text.len() + 1), image.text);
        let under: Self = toml::from_str(&moved).map_err(|e| Error::syntax(image.path, image.text, &e))?;
        let config = over.over(under, |section| mentioned.contains_key(section));
        check::limits(&config).map_err(|(span, reason)| {
            match span.start.checked_sub(store.text.len() + 1) {
                Some(start) => Error::at(image.path, image.text, start..start, reason),
                None => Error::at(store.path, store.text, span, reason),
            }
        })?;
        Ok(config)
    }

    fn over(self, under: Self, mentions: impl Fn(&str) -> bool) -> Self {
        macro_rules! sections {
            ($($section:ident),*) => {
                // Every section has to be named here, or this does not compile.
                Self {
                    $($section: if mentions(stringify!($section)) { self.$section } else { under.$section }),*
                }
            };
        }
        sections!(
            booth, camera, codec, link, room, peer, relay, screen, sound, health, operator, network, update,
            time, check
        )
    }
}

/// Both files as one table, as [`Config::in_force`] takes them together: for telling what changed.
pub(crate) fn tables(image: &str, store: Option<&str>) -> Result<toml::Table, toml::de::Error> {
    let mut table: toml::Table = toml::from_str(image)?;
    if let Some(store) = store {
        table.extend(toml::from_str::<toml::Table>(store)?);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairing::RoomKey;

    fn in_force(image: &str, store: &str) -> Result<Config, String> {
        let source = |path, text| Source { path: Path::new(path), text };
        Config::in_force(source("image.toml", image), Some(source("store.toml", store)))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn sections_that_are_not_mentioned_stay() {
        let key = RoomKey::of([3; 32]);
        let image =
            format!("[room]\nkey = \"{}\"\n[camera]\nfps = 25\nwidth = 640\nheight = 480\n", key.text());
        let config = in_force(&image, "[network]\ninterface = \"enp1s0\"\n[camera]\nfps = 50\n").unwrap();
        assert_eq!(config.room.unwrap().key.unwrap().into_inner(), key);
        assert_eq!(config.network.interface.unwrap().into_inner(), "enp1s0");
        assert_eq!(
            (*config.camera.fps.get_ref(), *config.camera.width.get_ref()),
            (50, 1920),
            "a section is whole"
        );
        let config = in_force(&image, "camera = { fps = 50 }").unwrap();
        assert_eq!(*config.camera.fps.get_ref(), 50);
        assert_eq!(*in_force(&image, "").unwrap().camera.fps.get_ref(), 25);
    }

    #[test]
    fn a_mistake_is_named_in_its_own_file() {
        let key = RoomKey::of([3; 32]).text();
        let e = in_force("[camera]\nfps = 25\n", "\n[camera]\nfps = 1000\n").unwrap_err();
        assert!(e.starts_with("config: store.toml:3:7: `camera.fps`"), "{e}");
        let e = in_force("[camera]\nfps = 1000\n", "# a comment that is long enough\n[codec]\n").unwrap_err();
        assert!(e.starts_with("config: image.toml:2:7: `camera.fps`"), "{e}");
        let e = in_force("[camera]\nfsp = 25\n", "[codec]\n").unwrap_err();
        assert!(e.starts_with("config: image.toml:2:1: unknown field `fsp`"), "{e}");
        let e = in_force("", "[kodec]\n").unwrap_err();
        assert!(
            e.starts_with("config: store.toml:1:2: unknown field `kodec`") && e.contains("mean `codec`"),
            "{e}"
        );
        // Each is fine alone; together they are not, and the place is where the image says it.
        let image = format!("\n[relay]\naddress = \"10.0.0.1:443\"\n[room]\nkey = \"{key}\"\n");
        let e = in_force(&image, "[link]\nlisten = \"[::]:4433\"\n").unwrap_err();
        assert!(
            e.starts_with("config: image.toml:3:11: `relay.address` is 10.0.0.1:443; `link.listen`"),
            "{e}"
        );
    }
}
