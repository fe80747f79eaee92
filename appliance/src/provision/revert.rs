//! Back to the configuration before the last stick's.

use super::answer::Answer;
use super::error::Error;
use super::places::Places;
use super::store::Store;

/// Puts the configuration before in force again; once more, and the one after is. What was done, in a line.
///
/// # Errors
/// [`Error`]; then nothing has changed, unless it says so.
pub fn revert(places: &Places) -> Result<String, Error> {
    let locked = Store::lock(&places.store)?;
    let state = locked.state()?;
    let new = state.revert()?;
    locked.commit(&new)?;
    drop(locked);
    let which =
        if new.current.is_some() { "the configuration before" } else { "the image's own configuration" };
    let line = format!("{which} is in force again; `holobooth revert` once more goes forth again");
    Answer::good("Configuration put back", vec![line.clone()]).leave(places);
    places.take_effect()?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health;

    #[test]
    fn the_store_s_sections_are_over_the_image_s() {
        let folder = std::env::temp_dir().join(format!("holobooth-places-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("notices")).unwrap();
        let places = Places {
            image: folder.join("image.toml"),
            store: folder.join("store"),
            notices: folder.join("notices"),
            root: folder.join("root"),
        };
        assert!(places.in_force().unwrap_err().to_string().contains("image.toml: cannot be read"));
        let socket = folder.join("no.sock");
        let image =
            format!("[booth]\nname = \"north\"\n[health]\nsocket = {:?}\n", socket.display().to_string());
        std::fs::write(&places.image, image).unwrap();
        assert!(revert(&places).unwrap_err().to_string().contains("nothing to go back to"));
        let locked = Store::lock(&places.store).unwrap();
        let state = locked.state().unwrap().apply("[booth]\nname = \"south\"\n".into(), "1".into(), None);
        locked.commit(&state).unwrap();
        drop(locked);
        let name = || places.in_force().unwrap().booth.name.unwrap().into_inner();
        assert_eq!(name(), "south");
        revert(&places).unwrap();
        assert_eq!(name(), "north");
        revert(&places).unwrap();
        assert_eq!(name(), "south");
        assert!(folder.join("root/run/systemd/network/50-holobooth-port.network").exists());
        assert_eq!(health::Notice::read(&places.notices).unwrap().title, "Configuration put back");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
